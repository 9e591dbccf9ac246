//! CPUID of each processor: the SynIC library's, plus what only a machine knows.

use hv_kvm::KvmSynic;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm};

use super::error::MachineError;

/// KVM's CPUID, asked for once and then made into one for each processor.
pub(super) struct CpuidTemplate {
    supported: CpuId,
    tsc_deadline: bool,
    vcpus: u32,
}

impl CpuidTemplate {
    pub(super) fn new(system: &Kvm, vcpus: u32) -> Result<Self, MachineError> {
        let supported = system
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(MachineError::kvm("list the CPUID that it supports"))?;
        Ok(Self { supported, tsc_deadline: system.check_extension(Cap::TscDeadlineTimer), vcpus })
    }

    /// The CPUID of processor `id`, whose APIC id is the same number.
    pub(super) fn of(&self, id: u32, synic: &dyn KvmSynic) -> Result<CpuId, MachineError> {
        let mut cpuid = hv_kvm::cpuid::guest_cpuid(&self.supported, &synic.cpuid(), id, self.vcpus)?;
        for entry in cpuid.as_mut_slice() {
            if entry.function == 1 && self.tsc_deadline {
                // KVM leaves the bit out of its list, because it needs the in-kernel LAPIC, which we have.
                entry.ecx |= TSC_DEADLINE_ECX;
            }
        }
        Ok(cpuid)
    }
}

/// CPUID.1:ECX: the LAPIC timer takes TSC deadlines.
const TSC_DEADLINE_ECX: u32 = 1 << 24;
