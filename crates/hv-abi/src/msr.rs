//! Synthetic MSRs (TLFS Appendix F) that a Linux guest touches at boot or through its VMBus drivers.

/// First MSR of the synthetic range.
pub const BASE: u32 = 0x4000_0000;
/// MSRs in the range that a user-space SynIC claims.
pub const COUNT: u32 = 0x200;

/// Guest OS identity; zero disables the hypercall page.
pub const GUEST_OS_ID: u32 = 0x4000_0000;
/// Hypercall page: bit 0 enable, bit 1 locked, bits 63:12 page number.
pub const HYPERCALL: u32 = 0x4000_0001;
/// Index of the virtual processor that reads it.
pub const VP_INDEX: u32 = 0x4000_0002;
/// Writing bit 0 resets the VM.
pub const RESET: u32 = 0x4000_0003;
/// Run time of this VP in 100 ns.
pub const VP_RUNTIME: u32 = 0x4000_0010;
/// Partition reference counter in 100 ns.
pub const TIME_REF_COUNT: u32 = 0x4000_0020;
/// Reference TSC page.
pub const REFERENCE_TSC: u32 = 0x4000_0021;
/// TSC frequency in Hz.
pub const TSC_FREQUENCY: u32 = 0x4000_0022;
/// LAPIC timer input in Hz.
pub const APIC_FREQUENCY: u32 = 0x4000_0023;
/// VP assist page; every Linux CPU writes it without testing a feature.
pub const VP_ASSIST_PAGE: u32 = 0x4000_0073;
/// SynIC control: bit 0 enables it.
pub const SCONTROL: u32 = 0x4000_0080;
/// SynIC version.
pub const SVERSION: u32 = 0x4000_0081;
/// Event flags page: bit 0 enable, bits 63:12 page number.
pub const SIEFP: u32 = 0x4000_0082;
/// Message page: bit 0 enable, bits 63:12 page number.
pub const SIMP: u32 = 0x4000_0083;
/// End of message: the guest freed a slot whose "pending" flag was set.
pub const EOM: u32 = 0x4000_0084;
/// First of sixteen SINT registers.
pub const SINT0: u32 = 0x4000_0090;
/// Last SINT register.
pub const SINT15: u32 = 0x4000_009f;
/// First of five crash parameters.
pub const CRASH_P0: u32 = 0x4000_0100;
/// Last crash parameter.
pub const CRASH_P4: u32 = 0x4000_0104;
/// Crash control: bit 63 reports the crash, bit 62 says that P3 and P4 name a page of text.
pub const CRASH_CTL: u32 = 0x4000_0105;
/// TSC invariant control; Linux writes 1 when offered, unchecked.
pub const TSC_INVARIANT_CONTROL: u32 = 0x4000_0118;

/// Bit 0 of HYPERCALL, SIEFP, SIMP, SCONTROL and the page MSRs: enabled.
pub const ENABLE: u64 = 1;
/// Page-address bits of the page MSRs.
pub const PAGE_MASK: u64 = !0xfff;
/// [`CRASH_CTL`]: notify the host.
pub const CRASH_NOTIFY: u64 = 1 << 63;
/// [`CRASH_CTL`]: P3 holds the address and P4 the length of a message.
pub const CRASH_MESSAGE: u64 = 1 << 62;
