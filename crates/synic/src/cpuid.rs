//! CPUID leaves 0x40000000 to 0x40000005 that go with each kind of SynIC, as data.
//!
//! The set is small on purpose: what Linux needs to find VMBus and to keep a good clock, and nothing that
//! changes which driver paths run. Every leaf of KVM's own signature must be gone from the guest's CPUID, or
//! Linux takes the larger base (`arch/x86/kernel/cpu/hypervisor.c:detect_hypervisor_vendor`).

use hv_abi::cpuid::{
    Features, Hints, INTERFACE_SIGNATURE, LEAF_ENLIGHTENMENTS, LEAF_FEATURES, LEAF_INTERFACE, LEAF_LIMITS,
    LEAF_VENDOR, LEAF_VERSION, MIN_MAX_LEAF, NO_SPIN_NOTIFY, PartitionPrivileges, Privileges,
    VENDOR_SIGNATURE,
};

/// Build number that the guest prints, the one KVM reports.
const BUILD: u32 = 0x3839;
/// Version 10.0: major in the upper half.
const VERSION: u32 = 0x000a_0000;

/// One CPUID leaf without subleaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// EAX on input.
    pub function: u32,
    /// EAX on output.
    pub eax: u32,
    /// EBX on output.
    pub ebx: u32,
    /// ECX on output.
    pub ecx: u32,
    /// EDX on output.
    pub edx: u32,
}

impl Leaf {
    const fn new(function: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> Self {
        Self { function, eax, ebx, ecx, edx }
    }
}

/// Leaves for a SynIC in the kernel, which also keeps the reference clock and the synthetic timers.
///
/// `tsc_invariant`: KVM lists [`Privileges::TSC_INVARIANT`] in `KVM_GET_SUPPORTED_HV_CPUID`. The guest
/// writes the MSR unchecked when the bit is set, so it must not be set on a guess.
pub fn kernel_synic(vps: u32, tsc_invariant: bool) -> [Leaf; 6] {
    let mut privileges = Privileges::VP_RUNTIME
        | Privileges::TIME_REF_COUNT
        | Privileges::SYNIC
        | Privileges::SYNTIMER
        | Privileges::APIC_ACCESS
        | Privileges::HYPERCALL
        | Privileges::VP_INDEX
        | Privileges::RESET
        | Privileges::REFERENCE_TSC
        | Privileges::FREQUENCY_MSRS;
    privileges.set(Privileges::TSC_INVARIANT, tsc_invariant);
    leaves(vps, privileges, Features::FREQUENCY_MSRS | Features::GUEST_CRASH | Features::SYNTIMER_DIRECT)
}

/// Leaves for [`crate::user::UserSynic`].
///
/// No reference counter and no reference page, because every read of the counter would exit; the guest uses
/// its TSC, which TSC_INVARIANT makes it trust. No timers: the LAPIC timer does.
pub fn user_synic(vps: u32) -> [Leaf; 6] {
    let privileges = Privileges::SYNIC
        | Privileges::APIC_ACCESS
        | Privileges::HYPERCALL
        | Privileges::VP_INDEX
        | Privileges::FREQUENCY_MSRS
        | Privileges::TSC_INVARIANT;
    leaves(vps, privileges, Features::FREQUENCY_MSRS | Features::GUEST_CRASH)
}

fn leaves(vps: u32, privileges: Privileges, features: Features) -> [Leaf; 6] {
    let [vendor_b, vendor_c, vendor_d] = VENDOR_SIGNATURE;
    let calls = PartitionPrivileges::POST_MESSAGES | PartitionPrivileges::SIGNAL_EVENTS;
    [
        Leaf::new(LEAF_VENDOR, [MIN_MAX_LEAF, vendor_b, vendor_c, vendor_d]),
        Leaf::new(LEAF_INTERFACE, [INTERFACE_SIGNATURE, 0, 0, 0]),
        Leaf::new(LEAF_VERSION, [BUILD, VERSION, 0, 0]),
        Leaf::new(LEAF_FEATURES, [privileges.bits(), calls.bits(), 0, features.bits()]),
        Leaf::new(LEAF_ENLIGHTENMENTS, [Hints::DEPRECATING_AUTO_EOI.bits(), NO_SPIN_NOTIFY, 0, 0]),
        Leaf::new(LEAF_LIMITS, [vps, vps, 0, 0]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(leaves: [Leaf; 6], function: u32) -> Option<[u32; 4]> {
        leaves.iter().find(|leaf| leaf.function == function).map(|l| [l.eax, l.ebx, l.ecx, l.edx])
    }

    #[test]
    fn user_synic_offers_no_clock_that_it_does_not_keep() {
        let leaves = user_synic(2);
        assert_eq!(registers(leaves, LEAF_FEATURES), Some([0x8874, 0x30, 0, 0x500]));
        assert_eq!(registers(leaves, LEAF_ENLIGHTENMENTS), Some([0x200, u32::MAX, 0, 0]));
        assert_eq!(registers(leaves, LEAF_LIMITS), Some([2, 2, 0, 0]));
    }

    #[test]
    fn kernel_synic_offers_timers_and_invariant_tsc_only_if_kvm_has_it() {
        assert_eq!(registers(kernel_synic(1, false), LEAF_FEATURES), Some([0x0aff, 0x30, 0, 0x8_0500]));
        assert_eq!(registers(kernel_synic(1, true), LEAF_FEATURES), Some([0x8aff, 0x30, 0, 0x8_0500]));
    }

    #[test]
    fn vendor_leaf_spells_microsoft_and_names_the_last_leaf() {
        let leaves = user_synic(1);
        let [max, rest @ ..] = registers(leaves, LEAF_VENDOR).expect("vendor leaf");
        let name: Vec<u8> = rest.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(name, b"Microsoft Hv");
        assert_eq!(leaves.map(|leaf| leaf.function).iter().max(), Some(&max));
    }
}
