//! Where things are in a ring (`struct hv_ring_buffer` in `include/linux/hyperv.h`).

use crate::PAGE_SIZE;
use crate::packet::{DESCRIPTOR_SIZE, TRAILER_SIZE};

/// A 32-bit field of the header page; the discriminant is its byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderField {
    /// Byte offset into the data where the next packet goes; written by the producer.
    WriteIndex = 0,
    /// Byte offset of the next packet to read; written by the consumer.
    ReadIndex = 4,
    /// 1 while the consumer wants no signals.
    InterruptMask = 8,
    /// Bytes that the producer waits for, or 0; written by the producer.
    PendingSendSize = 12,
    /// Bit 0: the consumer side honours [`Self::PendingSendSize`]. Written by the guest in both rings.
    Features = 64,
}

impl HeaderField {
    /// Byte offset in the header page.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self as u32
    }
}

/// [`HeaderField::Features`]: pending send size is supported.
pub(super) const FEATURE_PENDING_SEND_SIZE: u32 = 1;

/// Smallest data area: one page.
pub const MIN_DATA_BYTES: u32 = PAGE_SIZE;
/// Largest data area, so that sums of two ring offsets stay far from the end of u32.
pub const MAX_DATA_BYTES: u32 = 1 << 30;

/// Everything in a ring is a multiple of this.
pub(super) const ALIGN: u32 = 8;

/// Smallest packet: a descriptor without payload, and its trailer.
pub(super) const MIN_PACKET: u32 = DESCRIPTOR_SIZE + TRAILER_SIZE;

/// Bytes of data in a ring of `pages` pages, header included; `None` if a ring cannot have that size.
#[must_use]
pub const fn ring_data_bytes(pages: u64) -> Option<u32> {
    if pages < 2 || pages - 1 > (MAX_DATA_BYTES / PAGE_SIZE) as u64 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_DATA_BYTES / PAGE_SIZE")]
    let data_pages = (pages - 1) as u32;
    Some(data_pages * PAGE_SIZE)
}

/// `offset + len`, wrapped. Both below `data_len`, or `len` equal to it.
#[inline]
pub(super) const fn advance(offset: u32, len: u32, data_len: u32) -> u32 {
    let sum = offset + len;
    if sum >= data_len { sum - data_len } else { sum }
}

/// Bytes from `read` to `write`, both below `data_len`.
#[inline]
pub(super) const fn used(write: u32, read: u32, data_len: u32) -> u32 {
    if write >= read { write - read } else { write + (data_len - read) }
}

/// Whether an index from the other end may be used.
#[inline]
pub(super) const fn index_valid(index: u32, data_len: u32) -> bool {
    index < data_len && index.is_multiple_of(ALIGN)
}

/// `len` rounded up to eight.
#[inline]
pub(super) const fn padded(len: u32) -> u32 {
    (len + (ALIGN - 1)) & !(ALIGN - 1)
}
