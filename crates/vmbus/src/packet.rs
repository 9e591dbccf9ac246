//! What stands in front of a payload in a ring: the 16-byte packet descriptor.

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

/// A packet descriptor (`struct vmpacket_descriptor` in `include/linux/hyperv.h`).
///
/// *Shape*: on the wire four 16-bit fields and one of 64 bits, in this order, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// See [`PacketKind`].
    pub kind: PacketKind,
    /// Where the payload starts, from the start of the descriptor, in eight-byte units.
    pub offset8: u16,
    /// Descriptor and padded payload, without the trailer, in eight-byte units.
    pub len8: u16,
    /// See [`FLAG_COMPLETION_REQUESTED`].
    pub flags: u16,
    /// Chosen by the sender, repeated in a completion.
    pub transaction_id: u64,
}

impl Descriptor {
    /// Wire bytes, as two words: put together in registers, because sixteen-bit stores that are read back as
    /// words cost more than all the rest of a small packet.
    #[inline]
    #[must_use]
    pub fn to_wire(self) -> [[u8; 8]; 2] {
        let fields = [self.kind.wire(), self.offset8, self.len8, self.flags];
        let word = fields.into_iter().rev().fold(0, |word, field| word << 16 | u64::from(field));
        [word.to_le_bytes(), self.transaction_id.to_le_bytes()]
    }

    /// The descriptor with these wire bytes; nothing is checked.
    #[inline]
    #[must_use]
    pub fn from_wire(bytes: [[u8; 8]; 2]) -> Self {
        let [word, transaction_id] = bytes.map(u64::from_le_bytes);
        let field = |index: u32| {
            #[expect(clippy::cast_possible_truncation, reason = "the other fields are cut off")]
            let field = (word >> (16 * index)) as u16;
            field
        };
        Self {
            kind: PacketKind::from(field(0)),
            offset8: field(1),
            len8: field(2),
            flags: field(3),
            transaction_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_fields_have_their_place() {
        for (wire, kind) in [
            (6, PacketKind::InBand),
            (7, PacketKind::TransferPages),
            (9, PacketKind::GpaDirect),
            (0xb, PacketKind::Completion),
            (8, PacketKind::Unknown(8)),
        ] {
            let bytes = [[wire, 0, 2, 0, 0x34, 0x12, 1, 0], [8, 7, 6, 5, 4, 3, 2, 1]];
            let transaction_id = 0x0102_0304_0506_0708;
            let descriptor = Descriptor { kind, offset8: 2, len8: 0x1234, flags: 1, transaction_id };
            assert_eq!(Descriptor::from_wire(bytes), descriptor);
            assert_eq!(descriptor.to_wire(), bytes);
        }
    }
}
