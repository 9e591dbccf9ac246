//! Message slots of the SIMP page and flags of the SIEFP page (TLFS 11.8, 11.10).

/// Bytes in one message slot; one slot a SINT.
pub const SLOT_SIZE: u64 = 256;
/// Largest payload of a slot.
pub const MAX_PAYLOAD: usize = 240;
/// Bytes in one SINT's block of event flags.
pub const EVENT_FLAGS_SIZE: u64 = 256;
/// Event flags a SINT.
pub const EVENT_FLAG_COUNT: u16 = 2048;

/// Offsets inside a slot.
pub mod slot {
    /// u32 message type; zero means that the slot is free.
    pub const TYPE: u64 = 0;
    /// u8 payload size.
    pub const PAYLOAD_SIZE: u64 = 4;
    /// u8 flags, bit 0 = message pending.
    pub const FLAGS: u64 = 5;
    /// u64 sender.
    pub const SENDER: u64 = 8;
    /// Payload.
    pub const PAYLOAD: u64 = 16;
}

/// Slot flag: another message waits, so write EOM after freeing the slot.
pub const FLAG_PENDING: u8 = 1;

/// Type of an empty slot.
pub const TYPE_NONE: u32 = 0;
/// Type of a VMBus channel message.
pub const TYPE_CHANNEL: u32 = 1;
/// Type of an expired synthetic timer, posted by KVM itself.
pub const TYPE_TIMER_EXPIRED: u32 = 0x8000_0010;
