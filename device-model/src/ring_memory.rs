//! One ring of a channel in guest memory, found through the pages of its GPADL.

use std::sync::atomic::Ordering;

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};
use vmbus::PAGE_SIZE;
use vmbus::ring::{HeaderField, MAX_DATA_BYTES, RingMem, ring_data_bytes};

/// Bytes in a page, as an address is counted.
const PAGE: u64 = PAGE_SIZE as u64;

/// The guest's pages cannot hold a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RingMemoryFault {
    /// A ring is a header page and at least one data page.
    #[error("ring of {pages} pages, limit is 2 to {limit}", limit = MAX_DATA_BYTES / PAGE_SIZE + 1)]
    Pages {
        /// Pages of the ring.
        pages: usize,
    },
    /// A page is not RAM.
    #[error("page {index} of a ring at {gpa:#x} is not guest RAM")]
    NotRam {
        /// Which page of the ring.
        index: usize,
        /// Guest physical address.
        gpa: u64,
    },
}

/// A ring whose pages were all found to be RAM when it was built.
///
/// RAM of a running machine never goes away, so access cannot fail after that; should it fail all the same, reads
/// give zeros and writes are lost, and the ring's own checks find the damage.
#[derive(Debug)]
pub struct GpadlRing<M> {
    memory: M,
    header: GuestAddress,
    data: Box<[DataPage]>,
    data_len: u32,
}

/// A page of the data area, and how far memory goes on behind its start without a jump.
#[derive(Clone, Copy, Debug)]
struct DataPage {
    gpa: u64,
    run_bytes: u64,
}

impl<M: GuestMemory> GpadlRing<M> {
    /// The ring of the pages `gpns`, the header page first.
    ///
    /// *Errors*: [`RingMemoryFault`]; refuse the open.
    pub fn new(memory: M, gpns: &[u64]) -> Result<Self, RingMemoryFault> {
        let fault = RingMemoryFault::Pages { pages: gpns.len() };
        let data_len = ring_data_bytes(gpns.len() as u64).ok_or(fault)?;
        for (index, gpn) in gpns.iter().enumerate() {
            let gpa = gpn.checked_mul(PAGE).unwrap_or(u64::MAX);
            let ram = gpa != u64::MAX
                && memory.check_range(GuestAddress(gpa), PAGE_SIZE as usize, Permissions::ReadWrite);
            if !ram {
                return Err(RingMemoryFault::NotRam { index, gpa });
            }
        }
        let (header, rest) = gpns.split_first().ok_or(fault)?;
        let mut data = vec![DataPage { gpa: 0, run_bytes: 0 }; rest.len()].into_boxed_slice();
        let mut behind: Option<DataPage> = None;
        for (page, gpn) in data.iter_mut().zip(rest).rev() {
            let gpa = gpn * PAGE;
            let run_bytes = match behind {
                Some(next) if next.gpa == gpa + PAGE => next.run_bytes + PAGE,
                _ => PAGE,
            };
            *page = DataPage { gpa, run_bytes };
            behind = Some(*page);
        }
        Ok(Self { memory, header: GuestAddress(header * PAGE), data, data_len })
    }

    /// The longest piece of memory at `offset`, up to `len` bytes.
    #[inline]
    fn piece(&self, offset: u32, len: usize) -> Option<(GuestAddress, usize)> {
        let page = self.data.get((offset / PAGE_SIZE) as usize)?;
        let inside = u64::from(offset % PAGE_SIZE);
        let count = usize::try_from(page.run_bytes - inside).unwrap_or(usize::MAX).min(len);
        Some((GuestAddress(page.gpa + inside), count))
    }

    fn field(&self, field: HeaderField) -> GuestAddress {
        GuestAddress(self.header.0 + u64::from(field.offset()))
    }
}

impl<M: GuestMemory> RingMem for GpadlRing<M> {
    #[inline]
    fn data_len(&self) -> u32 {
        self.data_len
    }

    #[inline]
    fn read(&self, mut offset: u32, mut buf: &mut [u8]) {
        while let Some((at, count)) = self.piece(offset, buf.len()).filter(|(_, count)| *count > 0) {
            let (head, rest) = buf.split_at_mut(count);
            if self.memory.read_slice(head, at).is_err() {
                head.fill(0);
            }
            buf = rest;
            offset = offset.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    #[inline]
    fn write(&self, mut offset: u32, mut bytes: &[u8]) {
        while let Some((at, count)) = self.piece(offset, bytes.len()).filter(|(_, count)| *count > 0) {
            let (head, rest) = bytes.split_at(count);
            if self.memory.write_slice(head, at).is_err() {
                tracing::error!("a page of a ring at {:#x} is no RAM any more", at.0);
            }
            bytes = rest;
            offset = offset.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    #[inline]
    fn load(&self, field: HeaderField) -> u32 {
        self.memory.load::<u32>(self.field(field), Ordering::Acquire).map_or(0, u32::from_le)
    }

    #[inline]
    fn store(&self, field: HeaderField, value: u32) {
        if self.memory.store(value.to_le(), self.field(field), Ordering::Release).is_err() {
            tracing::error!("the header of a ring is no RAM any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::GuestMemoryMmap;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x8000), (GuestAddress(0x10000), 0x8000)]).unwrap()
    }

    #[test]
    fn data_of_scattered_pages_reads_in_the_order_of_the_list() {
        let memory = memory();
        let ring = GpadlRing::new(memory.clone(), &[0, 0x10, 0x11, 3]).unwrap();
        assert_eq!(ring.data_len(), 3 * 4096);
        let bytes: Vec<u8> = (0..3 * 4096_u32).map(|index| (index % 251) as u8).collect();
        ring.write(0, &bytes);
        let mut read = vec![0; bytes.len() - 100];
        ring.read(100, &mut read);
        assert_eq!(read, bytes[100..]);
        let mut third = [0; 4];
        memory.read_slice(&mut third, GuestAddress(0x3000)).unwrap();
        assert_eq!(third, bytes[8192..8196]);
    }

    #[test]
    fn header_fields_are_little_endian_words_of_the_first_page() {
        let memory = memory();
        let ring = GpadlRing::new(memory.clone(), &[2, 3]).unwrap();
        ring.store(HeaderField::InterruptMask, 1);
        assert_eq!(memory.read_obj::<u32>(GuestAddress(0x2008)).unwrap(), 1);
        memory.write_obj(0x40_u32, GuestAddress(0x2000)).unwrap();
        assert_eq!(ring.load(HeaderField::WriteIndex), 0x40);
    }

    #[test]
    fn page_that_is_no_ram_is_named() {
        let fault = GpadlRing::new(memory(), &[0, 1, 9]).unwrap_err();
        assert_eq!(fault, RingMemoryFault::NotRam { index: 2, gpa: 0x9000 });
        let fault = GpadlRing::new(memory(), &[0, u64::MAX]).unwrap_err();
        assert_eq!(fault, RingMemoryFault::NotRam { index: 1, gpa: u64::MAX });
    }

    #[test]
    fn ring_without_data_pages_is_refused() {
        assert_eq!(GpadlRing::new(memory(), &[0]).unwrap_err(), RingMemoryFault::Pages { pages: 1 });
        assert_eq!(GpadlRing::new(memory(), &[]).unwrap_err(), RingMemoryFault::Pages { pages: 0 });
    }
}
