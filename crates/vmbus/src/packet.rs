//! What stands in front of a payload in a ring: the 16-byte packet descriptor.

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in a descriptor.
pub const DESCRIPTOR_SIZE: u32 = 16;
/// Bytes after each padded packet: the ring offset at which the packet started, in the upper half.
pub const TRAILER_SIZE: u32 = 8;
/// Descriptor flag: the sender wants a completion packet.
pub const FLAG_COMPLETION_REQUESTED: u16 = 1;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// 6: the payload is in the ring.
    InBand,
    /// 7: the payload names pages of a GPADL.
    TransferPages,
    /// 9: the payload names guest pages.
    GpaDirect,
    /// 0xb: answer to a packet that asked for one.
    Completion,
    /// Anything else.
    Unknown(u16),
}

impl PacketKind {
    /// The wire value.
    #[must_use]
    pub const fn wire(self) -> u16 {
        match self {
            Self::InBand => 6,
            Self::TransferPages => 7,
            Self::GpaDirect => 9,
            Self::Completion => 0xb,
            Self::Unknown(wire) => wire,
        }
    }
}

impl From<u16> for PacketKind {
    fn from(wire: u16) -> Self {
        match wire {
            6 => Self::InBand,
            7 => Self::TransferPages,
            9 => Self::GpaDirect,
            0xb => Self::Completion,
            _ => Self::Unknown(wire),
        }
    }
}

/// Packet descriptor as it stands in the ring (`struct vmpacket_descriptor` in `include/linux/hyperv.h`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Descriptor {
    /// See [`PacketKind`].
    pub kind: U16,
    /// Where the payload starts, from the start of the descriptor, in eight-byte units.
    pub offset8: U16,
    /// Descriptor and padded payload, without the trailer, in eight-byte units.
    pub len8: U16,
    /// See [`FLAG_COMPLETION_REQUESTED`].
    pub flags: U16,
    /// Chosen by the sender, repeated in a completion.
    pub transaction_id: U64,
}

impl Descriptor {
    /// All zero, to read into.
    pub(crate) const EMPTY: Self = Self {
        kind: U16::ZERO,
        offset8: U16::ZERO,
        len8: U16::ZERO,
        flags: U16::ZERO,
        transaction_id: U64::ZERO,
    };
}

const _: () = assert!(size_of::<Descriptor>() == DESCRIPTOR_SIZE as usize);
