//! What a guest can do wrong in a synthetic video message.

use crate::geometry::Size;
use crate::pointer::MAX_POINTER_PX;
use crate::situation::MAX_SCREEN_PX;
use crate::wire::{MAX_GUEST_MESSAGE_BYTES, MessageType};

/// A guest's mistake. The message that holds it has no effect; the caller should count it and close the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// The message ends inside of the video header.
    #[error("message of {len} bytes, the video header alone has 8")]
    NoHeader {
        /// Bytes received.
        len: usize,
    },
    /// The message is longer than any that a guest may send.
    #[error("message of {len} bytes, limit is {MAX_GUEST_MESSAGE_BYTES}")]
    TooLong {
        /// Bytes received.
        len: usize,
    },
    /// The body ends before its fields do.
    #[error("{kind} with a body of {len} bytes, {need} needed")]
    TooShort {
        /// The message.
        kind: MessageType,
        /// Bytes of the body.
        len: usize,
        /// Bytes that its fields take.
        need: usize,
    },
    /// The message is one that hosts send.
    #[error("{0} from the guest, only a host sends it")]
    WrongDirection(MessageType),
    /// No version was agreed upon yet.
    #[error("{0} before a version was accepted")]
    BeforeVersion(MessageType),
    /// A version was asked for when VRAM was already declared.
    #[error("VERSION_REQUEST after VRAM_LOCATION, close the channel first")]
    VersionAfterVram,
    /// The guest left the choice of the address to the host.
    #[error("VRAM_LOCATION without an address (is_vram_gpa_specified = {0}, must be 1)")]
    VramUnspecified(u8),
    /// VRAM does not start on a page.
    #[error("VRAM at {gpa:#x}, must be a multiple of 0x1000")]
    VramUnaligned {
        /// Guest physical address.
        gpa: u64,
    },
    /// VRAM runs past the last address.
    #[error("VRAM at {gpa:#x} with {bytes:#x} bytes runs past 2^64")]
    VramWraps {
        /// Guest physical address.
        gpa: u64,
        /// Bytes of VRAM.
        bytes: u64,
    },
    /// VRAM is not mapped: not declared, refused, or its mapping is not yet confirmed.
    #[error("SITUATION_UPDATE while no VRAM is mapped")]
    SituationBeforeVram,
    /// A number of screens other than one.
    #[error("SITUATION_UPDATE for {0} screens, must be 1")]
    SituationCount(u8),
    /// A depth that no host shows.
    #[error("situation of {0} bits a pixel, 16 and 32 are supported")]
    SituationDepth(u8),
    /// Width or height is 0 or too large.
    #[error("situation of {0}, limit is 1 to {MAX_SCREEN_PX} either way")]
    SituationSize(Size),
    /// A row does not fit between two starts of rows.
    #[error("situation pitch of {pitch} bytes, a row of {width} pixels takes {need}")]
    SituationPitch {
        /// Bytes from one row to the next.
        pitch: u32,
        /// Pixels in a row.
        width: u32,
        /// Bytes of a row.
        need: u32,
    },
    /// The screen runs past the end of VRAM.
    #[error("situation ends at byte {end:#x} of VRAM, limit is {vram_bytes:#x}")]
    SituationOutsideVram {
        /// Offset, and pitch times height.
        end: u64,
        /// Bytes of VRAM.
        vram_bytes: u64,
    },
    /// No situation says what the rectangles mean.
    #[error("DIRT before SITUATION_UPDATE")]
    DirtBeforeSituation,
    /// The count of rectangles is 0 or does not match the length.
    #[error("DIRT of {count} rectangles in {bytes} bytes, must be 1 to 255 of 16 bytes each")]
    DirtCount {
        /// Rectangles by the message's own count.
        count: u8,
        /// Bytes after the count.
        bytes: usize,
    },
    /// A screen that the host does not have.
    #[error("{kind} for output {output}, only 0 exists")]
    UnknownOutput {
        /// The message.
        kind: MessageType,
        /// The screen.
        output: u8,
    },
    /// A pointer without pixels, or too large.
    #[error("pointer of {0}, limit is 1 to {MAX_POINTER_PX} either way")]
    PointerSize(Size),
    /// The pixel that points lies outside of the pointer.
    #[error("pointer hot spot ({x},{y}) outside of {size}")]
    PointerHotSpot {
        /// Column.
        x: u32,
        /// Row.
        y: u32,
        /// The pointer.
        size: Size,
    },
    /// A part of a pointer's shape is missing or came twice.
    #[error("part {got} of a pointer shape, expected part {expected} or the last")]
    PointerPart {
        /// Index received.
        got: u8,
        /// Index that would have come next.
        expected: u8,
    },
    /// The parts of a pointer's shape disagree.
    #[error("part {0} of a pointer shape differs from part 0 in format, size or hot spot")]
    PointerChanged(u8),
    /// The pixels are more or fewer than the size asks for.
    #[error("pointer shape of {got} bytes, size and format ask for {need}")]
    PointerBytes {
        /// Bytes received in all parts so far.
        got: usize,
        /// Bytes that the whole shape takes.
        need: usize,
    },
}
