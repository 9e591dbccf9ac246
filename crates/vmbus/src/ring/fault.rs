//! What can be wrong with a ring.

use thiserror::Error;

use super::layout::{HeaderField, MAX_DATA_BYTES, MIN_DATA_BYTES};

/// A ring cannot be opened as it stands; the guest set it up wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenFault {
    /// Not a size a ring can have.
    #[error(
        "ring has {data_len:#x} data bytes, must be a multiple of {MIN_DATA_BYTES:#x} up to {MAX_DATA_BYTES:#x}"
    )]
    Size {
        /// Bytes.
        data_len: u32,
    },
    /// An index points outside the ring or between packets.
    #[error("{field:?} of the ring is {index:#x}, must be a multiple of 8 below {data_len:#x}")]
    Index {
        /// Which one.
        field: HeaderField,
        /// Its value.
        index: u32,
        /// Bytes in the ring.
        data_len: u32,
    },
}

/// The other end broke the ring. The ring stays unusable: there is no next packet to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RingFault {
    /// The other end's index points outside the ring or between packets.
    #[error("{field:?} of the ring is {index:#x}, must be a multiple of 8 below {data_len:#x}")]
    Index {
        /// Which one.
        field: HeaderField,
        /// Its value.
        index: u32,
        /// Bytes in the ring.
        data_len: u32,
    },
    /// Fewer bytes than the smallest packet.
    #[error("ring holds {available} bytes at {offset:#x}, a packet needs at least 24")]
    Fragment {
        /// Where.
        offset: u32,
        /// Bytes up to the write index.
        available: u32,
    },
    /// The length is below a descriptor or runs past the write index.
    #[error("packet at {offset:#x} declares {len} bytes and a trailer of 8, the ring holds {available}")]
    Length {
        /// Where.
        offset: u32,
        /// Descriptor and payload, without trailer.
        len: u32,
        /// Bytes up to the write index.
        available: u32,
    },
    /// The payload starts inside the descriptor or behind the packet.
    #[error("packet at {offset:#x} puts its payload at {payload_offset}, must be 16..={len}")]
    PayloadOffset {
        /// Where.
        offset: u32,
        /// Payload offset.
        payload_offset: u32,
        /// Descriptor and payload.
        len: u32,
    },
    /// More payload than this channel takes.
    #[error("packet at {offset:#x} carries {len} payload bytes, limit is {limit}")]
    TooLong {
        /// Where.
        offset: u32,
        /// Payload bytes.
        len: u32,
        /// Bytes in the reader's buffer.
        limit: usize,
    },
}

/// Why a packet was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// No space now. The consumer was asked to signal when there is; write the packet again then.
    #[error("ring has {free} bytes free, packet needs {needed} and the ring never fills completely")]
    Full {
        /// Bytes of packet and trailer.
        needed: u32,
        /// Bytes free.
        free: u32,
    },
    /// The other end would truncate it and lose its place for ever. Our own mistake.
    #[error("packet of {len} bytes with its descriptor is too long, limit is {limit}")]
    TooLong {
        /// Descriptor and payload.
        len: usize,
        /// Largest packet.
        limit: u32,
    },
    /// The consumer broke the ring.
    #[error(transparent)]
    Corrupt(#[from] RingFault),
}
