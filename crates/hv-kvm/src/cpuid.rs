//! The CPUID that a guest sees: KVM's, without a trace of KVM, with Hyper-V's leaves in its place.
//!
//! Linux asks every hypervisor detector and the largest answer wins; KVM's signature at 0x40000100 would
//! beat Hyper-V's at 0x40000000 (`arch/x86/kernel/cpu/hypervisor.c:detect_hypervisor_vendor`). So the whole
//! range 0x40000000 to 0x4fffffff is taken out before ours is put in.

use hv_abi::cpuid::{Features, HYPERVISOR_PRESENT_ECX_BIT, LEAF_FEATURES, Privileges};
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use synic::cpuid::Leaf;

/// Highest APIC id that a VP may have: the MSI address of the user-space SynIC has eight bits for it, and
/// 255 means "all".
pub const MAX_APIC_ID: u32 = 254;

/// Leaves that belong to hypervisors.
const HYPERVISOR_LEAVES: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4fff_ffff;

/// Why no CPUID could be made for a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuidError {
    /// Too many entries for one KVM_SET_CPUID2.
    #[error("{0} CPUID entries do not fit one table")]
    TooMany(usize),
    /// The APIC id cannot be addressed.
    #[error("APIC id {0} is above the limit of {MAX_APIC_ID}")]
    ApicId(u32),
}

/// Hyper-V's leaves for a guest on the in-kernel SynIC: [`synic::cpuid::kernel_synic`], less what `supported`
/// (the answer of KVM_GET_SUPPORTED_HV_CPUID) does not have.
#[must_use]
pub fn kernel_synic_leaves(supported: &[kvm_cpuid_entry2], vps: u32) -> Vec<kvm_cpuid_entry2> {
    let features =
        supported.iter().find(|entry| entry.function == LEAF_FEATURES).copied().unwrap_or_default();
    let reported = Privileges::from_bits_truncate(features.eax);
    let mut leaves = synic::cpuid::kernel_synic(vps, reported.contains(Privileges::TSC_INVARIANT));
    for leaf in leaves.iter_mut().filter(|leaf| leaf.function == LEAF_FEATURES) {
        let (privileges, extras) = consistent(
            Privileges::from_bits_truncate(leaf.eax) & reported,
            Features::from_bits_truncate(leaf.edx) & Features::from_bits_truncate(features.edx),
        );
        leaf.eax = privileges.bits();
        leaf.ebx &= features.ebx;
        leaf.edx = extras.bits();
    }
    leaves.iter().map(entry).collect()
}

/// Hyper-V's leaves for a guest on the user-space SynIC: [`synic::cpuid::user_synic`].
#[must_use]
pub fn user_synic_leaves(vps: u32) -> Vec<kvm_cpuid_entry2> {
    synic::cpuid::user_synic(vps).iter().map(entry).collect()
}

/// Takes out whatever is useless without a bit that KVM lacks.
fn consistent(mut privileges: Privileges, mut features: Features) -> (Privileges, Features) {
    // A timer that posts messages would share slots with VMBus, written by KVM behind our back.
    if !(privileges.contains(Privileges::SYNTIMER) && features.contains(Features::SYNTIMER_DIRECT)) {
        privileges -= Privileges::SYNTIMER;
        features -= Features::SYNTIMER_DIRECT;
    }
    // Linux believes in the frequency MSRs when both bits are there.
    if !(privileges.contains(Privileges::FREQUENCY_MSRS) && features.contains(Features::FREQUENCY_MSRS)) {
        privileges -= Privileges::FREQUENCY_MSRS;
        features -= Features::FREQUENCY_MSRS;
    }
    (privileges, features)
}

fn entry(leaf: &Leaf) -> kvm_cpuid_entry2 {
    let Leaf { function, eax, ebx, ecx, edx } = *leaf;
    kvm_cpuid_entry2 { function, eax, ebx, ecx, edx, ..Default::default() }
}

/// The CPUID of one vCPU, complete for KVM_SET_CPUID2.
///
/// Takes `supported` (the answer of KVM_GET_SUPPORTED_CPUID), removes every hypervisor leaf, sets the
/// hypervisor bit and x2APIC, writes `apic_id` and a flat topology (one package, `vcpus` cores, one thread
/// each) wherever CPUID speaks of them, and adds `hyperv`, the answer of
/// [`KvmSynic::cpuid`](crate::KvmSynic::cpuid).
///
/// # Errors
/// [`CpuidError`] for an APIC id above [`MAX_APIC_ID`] or a table that is too long.
pub fn guest_cpuid(
    supported: &CpuId,
    hyperv: &[kvm_cpuid_entry2],
    apic_id: u32,
    vcpus: u32,
) -> Result<CpuId, CpuidError> {
    if apic_id > MAX_APIC_ID {
        return Err(CpuidError::ApicId(apic_id));
    }
    let topology = |entry: &&kvm_cpuid_entry2| matches!(entry.function, 0xb | 0x1f);
    let mut entries: Vec<kvm_cpuid_entry2> = supported
        .as_slice()
        .iter()
        .filter(|entry| !HYPERVISOR_LEAVES.contains(&entry.function) && !topology(entry))
        .copied()
        .collect();
    for entry in &mut entries {
        place(entry, apic_id, vcpus);
    }
    let max_leaf = entries.iter().find(|entry| entry.function == 0).map_or(0, |entry| entry.eax);
    for leaf in [0xb, 0x1f] {
        if max_leaf >= leaf {
            entries.extend(flat_topology(leaf, apic_id, vcpus));
        }
    }
    entries.extend_from_slice(hyperv);
    CpuId::from_entries(&entries).map_err(|_| CpuidError::TooMany(entries.len()))
}

/// Bits that number `vcpus` cores.
fn core_bits(vcpus: u32) -> u32 {
    vcpus.max(1).next_power_of_two().trailing_zeros()
}

/// Writes APIC id and core count into an entry that carries them, if it does.
fn place(entry: &mut kvm_cpuid_entry2, apic_id: u32, vcpus: u32) {
    const HTT: u32 = 1 << 28;
    const X2APIC: u32 = 1 << 21;
    let others = vcpus.saturating_sub(1);
    match entry.function {
        1 => {
            let ids = (1 << core_bits(vcpus)).min(0xff);
            entry.ebx = entry.ebx & 0xffff | apic_id << 24 | ids << 16;
            entry.ecx |= 1 << HYPERVISOR_PRESENT_ECX_BIT | X2APIC;
            entry.edx = if vcpus > 1 { entry.edx | HTT } else { entry.edx & !HTT };
        }
        // Deterministic cache parameters: levels 1 and 2 belong to one core, level 3 to the package.
        4 if entry.eax & 0x1f != 0 => {
            let sharing = if entry.eax >> 5 & 7 >= 3 { others.min(0xfff) } else { 0 };
            entry.eax = entry.eax & 0x3fff | sharing << 14 | others.min(0x3f) << 26;
        }
        // AMD: number of threads and width of the core id.
        0x8000_0008 => entry.ecx = entry.ecx & !0xf0ff | others.min(0xff) | core_bits(vcpus) << 12,
        // AMD: extended APIC id; core id with one thread; node 0 of 1.
        0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (apic_id, apic_id & 0xff, 0),
        _ => {}
    }
}

/// Extended topology: one thread a core, all cores in one package.
fn flat_topology(function: u32, apic_id: u32, vcpus: u32) -> [kvm_cpuid_entry2; 3] {
    const SMT: u32 = 1 << 8;
    const CORE: u32 = 2 << 8;
    let level = |index, shift, count, kind| kvm_cpuid_entry2 {
        function,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: kind | index,
        edx: apic_id,
        ..Default::default()
    };
    [level(0, 0, 1, SMT), level(1, core_bits(vcpus), vcpus, CORE), level(2, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, eax, ebx, ecx, edx, ..Default::default() }
    }

    fn host() -> CpuId {
        CpuId::from_entries(&[
            entry(0, [0x16, 0, 0, 0]),
            entry(1, [0, 0xff10_0800, 0, 0]),
            entry(0xb, [0, 2, 0x100, 77]),
            entry(0x4000_0000, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
            entry(0x4000_0100, [0x4000_0101, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
        ])
        .unwrap()
    }

    fn find(cpuid: &CpuId, function: u32, index: u32) -> Vec<kvm_cpuid_entry2> {
        let wanted = |entry: &&kvm_cpuid_entry2| entry.function == function && entry.index == index;
        cpuid.as_slice().iter().filter(wanted).copied().collect()
    }

    #[test]
    fn no_trace_of_kvm_is_left() {
        let cpuid = guest_cpuid(&host(), &user_synic_leaves(2), 1, 2).unwrap();
        let kvm_signature = 0x4b4d_564b;
        assert!(cpuid.as_slice().iter().all(|entry| entry.ebx != kvm_signature));
        assert!(find(&cpuid, 0x4000_0100, 0).is_empty());
        let vendor = find(&cpuid, 0x4000_0000, 0);
        assert_eq!(vendor.len(), 1);
        assert_eq!(vendor[0].ebx, hv_abi::cpuid::VENDOR_SIGNATURE[0]);
    }

    #[test]
    fn apic_id_and_topology_are_the_vcpus_own() {
        let cpuid = guest_cpuid(&host(), &[], 2, 3).unwrap();
        let basic = find(&cpuid, 1, 0)[0];
        assert_eq!(basic.ebx, 0x0204_0800, "APIC id 2, ids reserved for 4, CLFLUSH size kept");
        assert_eq!(basic.ecx >> HYPERVISOR_PRESENT_ECX_BIT, 1);
        let core = find(&cpuid, 0xb, 1);
        assert_eq!(core.len(), 1);
        assert_eq!((core[0].eax, core[0].ebx, core[0].ecx, core[0].edx), (2, 3, 0x201, 2));
        assert!(find(&cpuid, 0x1f, 0).is_empty(), "leaf 0x1f is above the host's largest leaf");
    }

    #[test]
    fn apic_id_that_an_msi_cannot_name_is_refused() {
        assert_eq!(guest_cpuid(&host(), &[], 255, 256), Err(CpuidError::ApicId(255)));
    }

    fn features(leaves: &[kvm_cpuid_entry2]) -> [u32; 3] {
        let leaf = leaves.iter().find(|leaf| leaf.function == LEAF_FEATURES).unwrap();
        [leaf.eax, leaf.ebx, leaf.edx]
    }

    #[test]
    fn kernel_synic_offers_all_that_a_complete_kvm_reports() {
        let supported = [entry(LEAF_FEATURES, [u32::MAX; 4])];
        assert_eq!(features(&kernel_synic_leaves(&supported, 1)), [0x8aff, 0x30, 0x8_0500]);
    }

    #[test]
    fn timers_without_direct_mode_are_not_offered() {
        let supported = [entry(LEAF_FEATURES, [0xa7f, 0x30, 0, 0x500])];
        assert_eq!(features(&kernel_synic_leaves(&supported, 1)), [0xa77, 0x30, 0x500]);
    }
}
