//! CPUID leaves that announce the hypervisor (TLFS 2.4, "Microsoft Hypervisor CPUID Leaves").

/// CPUID.1:ECX bit that says "a hypervisor is present".
pub const HYPERVISOR_PRESENT_ECX_BIT: u32 = 31;

/// Signature leaf: EAX is the highest leaf, EBX:ECX:EDX spell "Microsoft Hv".
pub const LEAF_VENDOR: u32 = 0x4000_0000;
/// Interface leaf: EAX is "Hv#1". Linux never reads it; KVM refuses a vCPU's Hyper-V MSRs without it.
pub const LEAF_INTERFACE: u32 = 0x4000_0001;
/// Version leaf, printed by the guest and otherwise unused.
pub const LEAF_VERSION: u32 = 0x4000_0002;
/// Partition privileges (EAX, EBX) and features (EDX).
pub const LEAF_FEATURES: u32 = 0x4000_0003;
/// Recommendations ("hints") in EAX, spinlock retries in EBX.
pub const LEAF_ENLIGHTENMENTS: u32 = 0x4000_0004;
/// Implementation limits: virtual and logical processors.
pub const LEAF_LIMITS: u32 = 0x4000_0005;
/// Lowest maximum leaf at which Linux takes the host for Hyper-V
/// (`arch/x86/kernel/cpu/mshyperv.c:ms_hyperv_platform`).
pub const MIN_MAX_LEAF: u32 = LEAF_LIMITS;

/// EBX, ECX, EDX of [`LEAF_VENDOR`].
pub const VENDOR_SIGNATURE: [u32; 3] = [0x7263_694d, 0x666f_736f, 0x7648_2074];
/// EAX of [`LEAF_INTERFACE`], "Hv#1".
pub const INTERFACE_SIGNATURE: u32 = 0x3123_7648;
/// EBX of [`LEAF_ENLIGHTENMENTS`] for "never call HvCallNotifyLongSpinWait".
pub const NO_SPIN_NOTIFY: u32 = 0xffff_ffff;

bitflags::bitflags! {
    /// [`LEAF_FEATURES`] EAX: which synthetic MSRs the partition may use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Privileges: u32 {
        /// HV_X64_MSR_VP_RUNTIME.
        const VP_RUNTIME = 1 << 0;
        /// HV_X64_MSR_TIME_REF_COUNT. Without [`Self::REFERENCE_TSC`] 6.1 reads it for every sched_clock.
        const TIME_REF_COUNT = 1 << 1;
        /// SynIC MSRs. Linux does not test it; KVM does once CPUID is enforced.
        const SYNIC = 1 << 2;
        /// Synthetic timers.
        const SYNTIMER = 1 << 3;
        /// APIC access MSRs and the VP assist page.
        const APIC_ACCESS = 1 << 4;
        /// Hypercall MSRs; required by Linux.
        const HYPERCALL = 1 << 5;
        /// VP index MSR; required by Linux.
        const VP_INDEX = 1 << 6;
        /// System reset MSR.
        const RESET = 1 << 7;
        /// Reference TSC page.
        const REFERENCE_TSC = 1 << 9;
        /// TSC and APIC frequency MSRs, together with [`Features::FREQUENCY_MSRS`].
        const FREQUENCY_MSRS = 1 << 11;
        /// HV_X64_MSR_TSC_INVARIANT_CONTROL; the guest writes it unchecked when this is set.
        const TSC_INVARIANT = 1 << 15;
    }

    /// [`LEAF_FEATURES`] EBX: hypercalls that the partition may make.
    ///
    /// CPU_MANAGEMENT (bit 12) would make Linux believe that it is the root partition, ACCESS_PARTITION_ID
    /// (bit 1) makes it issue a hypercall whose failure is a BUG, and ISOLATION (bit 22) means a
    /// confidential VM. None of them has a name here, so none can be offered by mistake.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PartitionPrivileges: u32 {
        /// HvCallPostMessage.
        const POST_MESSAGES = 1 << 4;
        /// HvCallSignalEvent.
        const SIGNAL_EVENTS = 1 << 5;
    }

    /// [`LEAF_FEATURES`] EDX.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Pair of [`Privileges::FREQUENCY_MSRS`].
        const FREQUENCY_MSRS = 1 << 8;
        /// Guest crash MSRs.
        const GUEST_CRASH = 1 << 10;
        /// Synthetic timers may interrupt the LAPIC directly, without a message slot.
        const SYNTIMER_DIRECT = 1 << 19;
    }

    /// [`LEAF_ENLIGHTENMENTS`] EAX.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Hints: u32 {
        /// Relaxed timing.
        const RELAXED_TIMING = 1 << 5;
        /// AutoEOI is deprecated: the guest programs SINT2 without it and sends an APIC EOI. Mandatory for
        /// a SynIC outside the kernel, where nobody else could clear the in-service bit.
        const DEPRECATING_AUTO_EOI = 1 << 9;
    }
}
