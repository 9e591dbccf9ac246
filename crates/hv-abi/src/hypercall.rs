//! Hypercall input and result words (TLFS 3, "Hypercall Interface"), 64-bit ABI.
//!
//! RCX is the control word; RDX and R8 are input and output addresses, or the first sixteen input bytes of
//! a fast call; RAX is the result.

/// Call code of HvCallPostMessage.
pub const POST_MESSAGE: u16 = 0x5c;
/// Call code of HvCallSignalEvent.
pub const SIGNAL_EVENT: u16 = 0x5d;

/// The control word, split into its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Bits 15:0.
    pub code: u16,
    /// Bit 16: input in registers.
    pub fast: bool,
    /// Bits 26:17: variable header in eight-byte units.
    pub var_header_qwords: u16,
    /// Bits 43:32.
    pub rep_count: u16,
    /// Bits 59:48.
    pub rep_start: u16,
    /// Some reserved bit (30:27, 31 "nested", 47:44, 63:60) was set.
    pub reserved: bool,
}

impl From<u64> for Control {
    fn from(word: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "every field is at most 16 bits wide")]
        let bits = |shift: u32, width: u32| ((word >> shift) & ((1 << width) - 1)) as u16;
        Self {
            code: bits(0, 16),
            fast: bits(16, 1) != 0,
            var_header_qwords: bits(17, 10),
            rep_count: bits(32, 12),
            rep_start: bits(48, 12),
            reserved: word & 0xf000_f000_f800_0000 != 0,
        }
    }
}

/// Status in bits 15:0 of the result (TLFS Appendix B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// The call did what it should.
    Success = 0,
    /// Unknown call code.
    InvalidHypercallCode = 2,
    /// Control word makes no sense for this call.
    InvalidHypercallInput = 3,
    /// Input or output address is not aligned, or crosses a page.
    InvalidAlignment = 4,
    /// A parameter is out of range.
    InvalidParameter = 5,
    /// The partition lacks the privilege.
    AccessDenied = 6,
    /// Not enough memory; Linux retries.
    InsufficientMemory = 0xb,
    /// Unknown port.
    InvalidPortId = 0x11,
    /// Unknown connection. For INITIATE_CONTACT Linux takes it as "version refused".
    InvalidConnectionId = 0x12,
    /// The host's queue is full; Linux retries up to 100 times.
    InsufficientBuffers = 0x13,
}

/// HvCallPostMessage input: offsets and size of the block that RDX points to.
pub mod post_message {
    /// Bytes in the block, payload area included.
    pub const SIZE: usize = 256;
    /// u32 connection id, 24 bits used.
    pub const CONNECTION_ID: usize = 0;
    /// u32 message type.
    pub const MESSAGE_TYPE: usize = 8;
    /// u32 payload size.
    pub const PAYLOAD_SIZE: usize = 12;
    /// Payload.
    pub const PAYLOAD: usize = 16;
}

/// The connection id that a fast HvCallSignalEvent carries in RDX, and the flag number beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalEventInput {
    /// Bits 31:0; 24 bits are valid.
    pub connection_id: u32,
    /// Bits 47:32; VMBus uses zero only.
    pub flag_number: u16,
    /// Bits 63:48 must be zero.
    pub reserved: u16,
}

impl From<u64> for SignalEventInput {
    fn from(word: u64) -> Self {
        Self {
            connection_id: (word & 0xffff_ffff) as u32,
            flag_number: ((word >> 32) & 0xffff) as u16,
            reserved: (word >> 48) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_signal_event_word_is_fast_with_code_5d() {
        let control = Control::from(0x1_005d);
        assert_eq!(control.code, SIGNAL_EVENT);
        assert!(control.fast && !control.reserved);
        assert_eq!((control.rep_count, control.var_header_qwords), (0, 0));
    }

    #[test]
    fn reserved_and_rep_bits_are_told_apart() {
        assert!(Control::from(1 << 31).reserved);
        let control = Control::from(0x0002_0001_0000_005c);
        assert_eq!((control.rep_start, control.rep_count, control.reserved), (2, 1, false));
    }
}
