//! Memory of one ring, as an end of it sees it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::layout::{HeaderField, MAX_DATA_BYTES, MIN_DATA_BYTES};

/// One ring: a header page and a data area that the other end writes to at any time.
///
/// Access cannot fail: an implementation over guest memory checks all pages of the ring when it is built, and
/// keeps them mapped as long as it lives.
pub trait RingMem {
    /// Bytes in the data area; constant, a multiple of 4096, see [`super::ring_data_bytes`].
    fn data_len(&self) -> u32;

    /// Copies out of the data area. The caller never goes past `data_len`: the ring wraps, not the memory.
    fn read(&self, offset: u32, buf: &mut [u8]);

    /// Copies into the data area. The caller never goes past `data_len`.
    fn write(&self, offset: u32, bytes: &[u8]);

    /// Loads a header field with acquire ordering.
    fn load(&self, field: HeaderField) -> u32;

    /// Stores a header field with release ordering.
    fn store(&self, field: HeaderField, value: u32);

    /// A full (sequentially consistent) fence between header accesses.
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

impl<M: RingMem + ?Sized> RingMem for &M {
    fn data_len(&self) -> u32 {
        (**self).data_len()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) {
        (**self).read(offset, buf);
    }

    fn write(&self, offset: u32, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }

    fn load(&self, field: HeaderField) -> u32 {
        (**self).load(field)
    }

    fn store(&self, field: HeaderField, value: u32) {
        (**self).store(field, value);
    }

    fn fence(&self) {
        (**self).fence();
    }
}

/// A ring in plain heap memory; clones share it, so one clone is the producer's and one the consumer's.
///
/// For tests, benches and guests in the same process. Data is kept in 64-bit atomics: torn packets are
/// possible under a race, as in guest memory, undefined behaviour is not.
#[derive(Clone, Debug)]
pub struct HeapRing {
    words: Arc<[AtomicU64]>,
    header: Arc<Header>,
    data_len: u32,
}

#[derive(Debug, Default)]
struct Header {
    write_index: AtomicU32,
    read_index: AtomicU32,
    interrupt_mask: AtomicU32,
    pending_send_size: AtomicU32,
    features: AtomicU32,
}

impl Header {
    const fn field(&self, field: HeaderField) -> &AtomicU32 {
        match field {
            HeaderField::WriteIndex => &self.write_index,
            HeaderField::ReadIndex => &self.read_index,
            HeaderField::InterruptMask => &self.interrupt_mask,
            HeaderField::PendingSendSize => &self.pending_send_size,
            HeaderField::Features => &self.features,
        }
    }
}

impl HeapRing {
    /// An empty ring with `data_len` bytes, brought into range and down to a multiple of 4096, whose features
    /// say that pending send sizes are honoured, as Linux sets them up (`drivers/hv/ring_buffer.c`).
    #[must_use]
    pub fn new(data_len: u32) -> Self {
        let data_len = data_len.clamp(MIN_DATA_BYTES, MAX_DATA_BYTES) & !(MIN_DATA_BYTES - 1);
        let header = Header { features: AtomicU32::new(1), ..Header::default() };
        Self {
            words: (0..data_len / 8).map(|_| AtomicU64::new(0)).collect(),
            header: Arc::new(header),
            data_len,
        }
    }

    /// Words from the one that holds `offset` on.
    #[inline]
    fn words(&self, offset: u32) -> &[AtomicU64] {
        self.words.get((offset / 8) as usize..).unwrap_or_default()
    }

    /// Reads up to the next word, then from there.
    fn read_unaligned(&self, offset: u32, buf: &mut [u8]) {
        let skip = offset % 8;
        let (head, rest) = buf.split_at_mut(buf.len().min(8 - skip as usize));
        let mut word = [0; 8];
        self.read(offset - skip, &mut word);
        copy_prefix(head, &word[skip as usize..]);
        self.read(offset - skip + 8, rest);
    }

    /// Writes up to the next word, then from there.
    fn write_unaligned(&self, offset: u32, bytes: &[u8]) {
        let skip = offset % 8;
        let (head, rest) = bytes.split_at(bytes.len().min(8 - skip as usize));
        replace(self.words(offset).first(), skip as usize, head);
        self.write(offset - skip + 8, rest);
    }
}

impl RingMem for HeapRing {
    #[inline]
    fn data_len(&self) -> u32 {
        self.data_len
    }

    #[inline]
    fn read(&self, offset: u32, buf: &mut [u8]) {
        if !offset.is_multiple_of(8) {
            return self.read_unaligned(offset, buf);
        }
        let (chunks, tail) = buf.as_chunks_mut::<8>();
        let mut words = self.words(offset).iter();
        for (chunk, word) in chunks.iter_mut().zip(&mut words) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if !tail.is_empty() {
            let last = words.next().map_or(0, |word| word.load(Ordering::Relaxed)).to_le_bytes();
            copy_prefix(tail, &last);
        }
    }

    #[inline]
    fn write(&self, offset: u32, bytes: &[u8]) {
        if !offset.is_multiple_of(8) {
            return self.write_unaligned(offset, bytes);
        }
        let (chunks, tail) = bytes.as_chunks::<8>();
        let mut words = self.words(offset).iter();
        for (chunk, word) in chunks.iter().zip(&mut words) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        if !tail.is_empty() {
            replace(words.next(), 0, tail);
        }
    }

    #[inline]
    fn load(&self, field: HeaderField) -> u32 {
        self.header.field(field).load(Ordering::Acquire)
    }

    #[inline]
    fn store(&self, field: HeaderField, value: u32) {
        self.header.field(field).store(value, Ordering::Release);
    }
}

/// Fills `to` from the start of `from`, which is at least as long.
fn copy_prefix(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Overwrites the bytes of a word from `skip` on.
fn replace(word: Option<&AtomicU64>, skip: usize, bytes: &[u8]) {
    let Some(word) = word else { return };
    let mut image = word.load(Ordering::Relaxed).to_le_bytes();
    copy_prefix(
        image.get_mut(skip..).and_then(|image| image.get_mut(..bytes.len())).unwrap_or_default(),
        bytes,
    );
    word.store(u64::from_le_bytes(image), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unaligned_writes_keep_their_neighbours() {
        let ring = HeapRing::new(4096);
        ring.write(0, &[0xff; 32]);
        ring.write(3, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut bytes = [0; 16];
        ring.read(1, &mut bytes);
        assert_eq!(bytes, [255, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 255, 255, 255, 255]);
    }
}
