//! What this host's KVM can do, capability by capability.
//!
//! Nothing else in the crate asks KVM for a capability: back ends take a [`HostCaps`] and check it before
//! they issue an ioctl that an older or smaller KVM does not have.

use std::fmt;

use kvm_bindings as kvm;
use kvm_ioctls::Kvm;

use crate::SynicMode;

/// KVM API version that every kernel since 2.6.22 reports; another value means an unknown interface.
pub const API_VERSION: i32 = 12;

/// Who cannot do without a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The machine itself, with either SynIC.
    Machine,
    /// The in-kernel SynIC.
    KernelSynic,
    /// The user-space SynIC.
    UserSynic,
    /// Nobody; used when present.
    Optional,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Machine => "machine",
            Self::KernelSynic => "kernel SynIC",
            Self::UserSynic => "user SynIC",
            Self::Optional => "optional",
        })
    }
}

/// One capability: what KVM says about it, and what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name without the `KVM_CAP_` prefix.
    pub name: &'static str,
    /// Number for KVM_CHECK_EXTENSION.
    pub number: u32,
    /// What KVM_CHECK_EXTENSION returned; 0 or less means absent, the meaning of larger values varies.
    pub value: i32,
    /// Who needs it.
    pub need: Need,
    /// What this program does with it.
    pub purpose: &'static str,
    /// Kernel version, option or module that brings it.
    pub provided_by: &'static str,
}

impl Capability {
    /// Whether KVM has it at all.
    #[must_use]
    pub fn present(&self) -> bool {
        self.value > 0
    }
}

/// Everything in [`Capability`] but the answer.
type Entry = (&'static str, u32, Need, &'static str, &'static str);

const HYPERV: &str = "CONFIG_KVM_HYPERV (always in before 6.8)";

const TABLE: &[Entry] = &[
    ("IRQCHIP", kvm::KVM_CAP_IRQCHIP, Need::Machine, "LAPIC, IOAPIC and PIC in the kernel", "any x86 KVM"),
    ("USER_MEMORY", kvm::KVM_CAP_USER_MEMORY, Need::Machine, "guest RAM and VRAM slots", "any KVM"),
    ("IRQFD", kvm::KVM_CAP_IRQFD, Need::Machine, "interrupts by eventfd", "CONFIG_HAVE_KVM_IRQCHIP"),
    ("IOEVENTFD", kvm::KVM_CAP_IOEVENTFD, Need::UserSynic, "doorbells without a user-space exit", "any KVM"),
    ("SIGNAL_MSI", kvm::KVM_CAP_SIGNAL_MSI, Need::UserSynic, "raises a SINT's vector", "CONFIG_HAVE_KVM_MSI"),
    (
        "X86_USER_SPACE_MSR",
        kvm::KVM_CAP_X86_USER_SPACE_MSR,
        Need::UserSynic,
        "refused MSR accesses exit to user space",
        "Linux 5.10",
    ),
    (
        "X86_MSR_FILTER",
        kvm::KVM_CAP_X86_MSR_FILTER,
        Need::UserSynic,
        "refuses the synthetic MSRs, 0x40000000 and up",
        "Linux 5.10",
    ),
    ("HYPERV", kvm::KVM_CAP_HYPERV, Need::KernelSynic, "synthetic MSRs and hypercalls in the kernel", HYPERV),
    (
        "HYPERV_SYNIC",
        kvm::KVM_CAP_HYPERV_SYNIC,
        Need::Optional,
        "first SynIC; zeroes the pages itself",
        HYPERV,
    ),
    (
        "HYPERV_SYNIC2",
        kvm::KVM_CAP_HYPERV_SYNIC2,
        Need::KernelSynic,
        "SynIC, pages owned by user space",
        HYPERV,
    ),
    (
        "HYPERV_VP_INDEX",
        kvm::KVM_CAP_HYPERV_VP_INDEX,
        Need::KernelSynic,
        "VP index chosen by user space",
        HYPERV,
    ),
    (
        "HYPERV_EVENTFD",
        kvm::KVM_CAP_HYPERV_EVENTFD,
        Need::KernelSynic,
        "HvCallSignalEvent rings an eventfd without an exit",
        HYPERV,
    ),
    (
        "HYPERV_CPUID",
        kvm::KVM_CAP_HYPERV_CPUID,
        Need::KernelSynic,
        "lists the Hyper-V leaves that KVM implements",
        HYPERV,
    ),
    (
        "SYS_HYPERV_CPUID",
        kvm::KVM_CAP_SYS_HYPERV_CPUID,
        Need::KernelSynic,
        "the same list before any vCPU exists",
        "Linux 5.11 and CONFIG_KVM_HYPERV",
    ),
    (
        "HYPERV_ENFORCE_CPUID",
        kvm::KVM_CAP_HYPERV_ENFORCE_CPUID,
        Need::Optional,
        "KVM refuses MSRs and hypercalls that CPUID does not offer",
        "Linux 5.14 and CONFIG_KVM_HYPERV",
    ),
    (
        "IRQFD_RESAMPLE",
        kvm::KVM_CAP_IRQFD_RESAMPLE,
        Need::KernelSynic,
        "an eventfd tells that the guest freed a message slot",
        "CONFIG_HAVE_KVM_IRQFD",
    ),
    (
        "IRQ_ROUTING",
        kvm::KVM_CAP_IRQ_ROUTING,
        Need::KernelSynic,
        "binds an interrupt line to one SINT of one VP",
        "CONFIG_HAVE_KVM_IRQ_ROUTING",
    ),
    (
        "MANUAL_DIRTY_LOG_PROTECT2",
        kvm::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
        Need::Optional,
        "dirty log cleared range by range",
        "Linux 5.2",
    ),
    (
        "IMMEDIATE_EXIT",
        kvm::KVM_CAP_IMMEDIATE_EXIT,
        Need::Optional,
        "stops a vCPU without losing a wake-up",
        "Linux 4.13",
    ),
    (
        "BINARY_STATS_FD",
        kvm::KVM_CAP_BINARY_STATS_FD,
        Need::Optional,
        "counts exits that the kernel handles by itself",
        "Linux 5.14",
    ),
    (
        "COALESCED_MMIO",
        kvm::KVM_CAP_COALESCED_MMIO,
        Need::Optional,
        "the ring for COALESCED_PIO",
        "CONFIG_KVM_MMIO",
    ),
    (
        "COALESCED_PIO",
        kvm::KVM_CAP_COALESCED_PIO,
        Need::Optional,
        "letters on the serial console without an exit each",
        "Linux 4.20",
    ),
    (
        "GET_TSC_KHZ",
        kvm::KVM_CAP_GET_TSC_KHZ,
        Need::Optional,
        "frequency MSRs tell the exact TSC rate",
        "any KVM",
    ),
    (
        "TSC_CONTROL",
        kvm::KVM_CAP_TSC_CONTROL,
        Need::Optional,
        "sets the guest's TSC rate",
        "TSC scaling in the CPU",
    ),
    ("X2APIC_API", kvm::KVM_CAP_X2APIC_API, Need::Optional, "APIC ids above 254; not used", "Linux 4.8"),
    ("SYNC_REGS", kvm::KVM_CAP_SYNC_REGS, Need::Optional, "registers in kvm_run; not used yet", "Linux 4.17"),
    (
        "HYPERV_TLBFLUSH",
        kvm::KVM_CAP_HYPERV_TLBFLUSH,
        Need::Optional,
        "enlightened TLB flush; not offered to guests",
        HYPERV,
    ),
    (
        "HYPERV_SEND_IPI",
        kvm::KVM_CAP_HYPERV_SEND_IPI,
        Need::Optional,
        "enlightened IPI; not offered to guests",
        HYPERV,
    ),
    (
        "DIRTY_LOG_RING",
        kvm::KVM_CAP_DIRTY_LOG_RING,
        Need::Optional,
        "dirty pages as a ring; one VRAM slot does not need it",
        "Linux 5.11",
    ),
];

/// The answers of one host, taken once.
///
/// `Display` prints a table with one row a capability, as `vmbus-emu doctor` shows it.
#[derive(Clone, Debug)]
pub struct HostCaps {
    api_version: i32,
    entries: Vec<Capability>,
}

impl HostCaps {
    /// Asks `/dev/kvm` for every capability that some part of the program uses.
    #[must_use]
    pub fn probe(system: &Kvm) -> Self {
        Self::from_answers(system.get_api_version(), |number| system.check_extension_raw(u64::from(number)))
    }

    /// The capabilities of a host that answers KVM_CHECK_EXTENSION with `answer`: for hosts that are not this one.
    #[must_use]
    pub fn from_answers(api_version: i32, mut answer: impl FnMut(u32) -> i32) -> Self {
        let entries = TABLE
            .iter()
            .map(|&(name, number, need, purpose, provided_by)| Capability {
                name,
                number,
                value: answer(number),
                need,
                purpose,
                provided_by,
            })
            .collect();
        Self { api_version, entries }
    }

    /// Version of the KVM interface; anything but [`API_VERSION`] is unusable.
    #[must_use]
    pub fn api_version(&self) -> i32 {
        self.api_version
    }

    /// All capabilities, in the order in which they are printed.
    #[must_use]
    pub fn entries(&self) -> &[Capability] {
        &self.entries
    }

    /// Whether KVM has the capability of this number; false for one that the program never probes.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        self.entries.iter().any(|entry| entry.number == number && entry.present())
    }

    /// Capabilities whose absence rules out `mode`; empty when it can be used.
    #[must_use]
    pub fn missing_for(&self, mode: SynicMode) -> Vec<Capability> {
        let need = match mode {
            SynicMode::Kernel => Need::KernelSynic,
            SynicMode::User => Need::UserSynic,
        };
        let missing =
            |entry: &&Capability| (entry.need == Need::Machine || entry.need == need) && !entry.present();
        self.entries.iter().filter(missing).copied().collect()
    }

    /// The SynIC to use when nobody asked for one: the kernel's where it is complete, else the user-space
    /// one, else `None` (this host cannot run a guest at all).
    #[must_use]
    pub fn recommended_synic(&self) -> Option<SynicMode> {
        [SynicMode::Kernel, SynicMode::User].into_iter().find(|&mode| self.missing_for(mode).is_empty())
    }
}

impl fmt::Display for HostCaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26} {:>7}  {:<12}  purpose (provided by)", "capability", "value", "needed by")?;
        for entry in &self.entries {
            let Capability { name, value, need, purpose, provided_by, .. } = entry;
            writeln!(f, "{name:<26} {value:>7}  {need:<12}  {purpose} ({provided_by})")?;
        }
        match self.recommended_synic() {
            Some(mode) => write!(f, "recommended SynIC: {mode}"),
            None => write!(f, "no usable SynIC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps_without(absent: &[u32]) -> HostCaps {
        HostCaps::from_answers(API_VERSION, |number| i32::from(!absent.contains(&number)))
    }

    #[test]
    fn kernel_synic_is_recommended_when_complete() {
        assert_eq!(caps_without(&[]).recommended_synic(), Some(SynicMode::Kernel));
    }

    #[test]
    fn user_synic_is_recommended_without_kvm_hyperv() {
        let caps = caps_without(&[kvm::KVM_CAP_HYPERV_SYNIC2, kvm::KVM_CAP_HYPERV_EVENTFD]);
        assert_eq!(caps.recommended_synic(), Some(SynicMode::User));
        let missing: Vec<_> = caps.missing_for(SynicMode::Kernel).iter().map(|entry| entry.name).collect();
        assert_eq!(missing, ["HYPERV_SYNIC2", "HYPERV_EVENTFD"]);
    }

    #[test]
    fn no_synic_is_recommended_without_msr_filter_and_hyperv() {
        let caps = caps_without(&[kvm::KVM_CAP_HYPERV, kvm::KVM_CAP_X86_MSR_FILTER]);
        assert_eq!(caps.recommended_synic(), None);
        assert!(caps.to_string().ends_with("no usable SynIC"));
    }

    #[test]
    fn table_prints_every_capability_once() {
        let printed = caps_without(&[]).to_string();
        for (name, ..) in TABLE {
            assert_eq!(
                printed.lines().filter(|line| line.split(' ').next() == Some(*name)).count(),
                1,
                "{name}"
            );
        }
    }
}
