//! Synthetic interrupt sources (TLFS 11.9).

/// SINTs a virtual processor has.
pub const COUNT: usize = 16;
/// The SINT that VMBus uses (`VMBUS_MESSAGE_SINT` in Linux).
pub const VMBUS: u8 = 2;
/// Vector that Linux programs into it (`HYPERVISOR_CALLBACK_VECTOR`).
pub const LINUX_VECTOR: u8 = 0xf3;
/// Register value after reset: masked.
pub const RESET_VALUE: u64 = 1 << 16;

/// One SINT register, split into its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SintRegister {
    /// Bits 7:0.
    pub vector: u8,
    /// Bit 16.
    pub masked: bool,
    /// Bit 17.
    pub auto_eoi: bool,
    /// Bit 18: the guest polls, so no interrupt is raised.
    pub polling: bool,
}

impl From<u64> for SintRegister {
    fn from(value: u64) -> Self {
        Self {
            vector: (value & 0xff) as u8,
            masked: value & (1 << 16) != 0,
            auto_eoi: value & (1 << 17) != 0,
            polling: value & (1 << 18) != 0,
        }
    }
}
