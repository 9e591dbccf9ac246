//! Ring buffers in pages of the guest's RAM that lie anywhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmbus::ring::{HeaderField, RingMem, ring_data_bytes};

use crate::memory::PAGE_BYTES;

/// One ring: a header page and data pages, in the order of the GPADL.
#[derive(Clone, Debug)]
pub(crate) struct GuestRing {
    ram: Arc<GuestMemoryMmap>,
    pages: Arc<[u64]>,
    data_len: u32,
}

impl GuestRing {
    /// A ring over `gpns`, header page first; `None` if that is no size for a ring.
    pub(crate) fn new(ram: Arc<GuestMemoryMmap>, gpns: &[u64]) -> Option<Self> {
        let data_len = ring_data_bytes(gpns.len() as u64)?;
        Some(Self { ram, pages: gpns.into(), data_len })
    }

    /// Zeroes the header and says that pending send sizes are honoured, as Linux does after GPADL_CREATED
    /// (`drivers/hv/ring_buffer.c:hv_ringbuffer_init`).
    pub(crate) fn initialise(&self) {
        let zeroes = [0; 4096];
        if let Some(gpn) = self.pages.first() {
            // The pages were taken from RAM; a write to them cannot miss.
            let _ = self.ram.write_slice(&zeroes, GuestAddress(gpn.wrapping_mul(PAGE_BYTES)));
        }
        self.store(HeaderField::Features, 1);
    }

    fn header(&self, field: HeaderField) -> GuestAddress {
        let gpn = self.pages.first().copied().unwrap_or(0);
        GuestAddress(gpn.wrapping_mul(PAGE_BYTES).wrapping_add(field.offset().into()))
    }

    /// Where byte `offset` of the data lies, and how many bytes follow in the same page.
    fn place(&self, offset: u32) -> Option<(GuestAddress, usize)> {
        let offset = u64::from(offset);
        let page = usize::try_from(offset / PAGE_BYTES).ok()?.checked_add(1)?;
        let within = offset % PAGE_BYTES;
        let gpa = self.pages.get(page)?.checked_mul(PAGE_BYTES)?.checked_add(within)?;
        Some((GuestAddress(gpa), usize::try_from(PAGE_BYTES - within).ok()?))
    }
}

impl RingMem for GuestRing {
    fn data_len(&self) -> u32 {
        self.data_len
    }

    fn read(&self, offset: u32, buf: &mut [u8]) {
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let Some((address, room)) = self.place(at) else { return };
            let (head, tail) = rest.split_at_mut(room.min(rest.len()));
            let _ = self.ram.read_slice(head, address);
            at = at.saturating_add(u32::try_from(head.len()).unwrap_or(u32::MAX));
            rest = tail;
        }
    }

    fn write(&self, offset: u32, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let Some((address, room)) = self.place(at) else { return };
            let (head, tail) = rest.split_at(room.min(rest.len()));
            let _ = self.ram.write_slice(head, address);
            at = at.saturating_add(u32::try_from(head.len()).unwrap_or(u32::MAX));
            rest = tail;
        }
    }

    fn load(&self, field: HeaderField) -> u32 {
        self.ram.load(self.header(field), Ordering::Acquire).map_or(0, u32::from_le)
    }

    fn store(&self, field: HeaderField, value: u32) {
        let _ = self.ram.store(value.to_le(), self.header(field), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(gpns: &[u64]) -> GuestRing {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).expect("memory");
        GuestRing::new(Arc::new(ram), gpns).expect("a ring")
    }

    #[test]
    fn data_runs_across_pages_in_the_order_of_the_gpadl() {
        let ring = ring(&[9, 5, 3]);
        ring.write(4094, &[1, 2, 3, 4]);
        let mut buf = [0; 4];
        ring.read(4094, &mut buf);
        assert_eq!(buf, [1, 2, 3, 4]);
        let read = |gpa| ring.ram.read_obj::<u16>(GuestAddress(gpa)).expect("in RAM");
        assert_eq!((read(5 * 4096 + 4094), read(3 * 4096)), (0x0201, 0x0403));
    }

    #[test]
    fn initialised_header_is_empty_and_honours_pending_sizes() {
        let ring = ring(&[2, 4]);
        ring.store(HeaderField::WriteIndex, 77);
        ring.initialise();
        assert_eq!((ring.load(HeaderField::WriteIndex), ring.load(HeaderField::Features)), (0, 1));
        assert_eq!(ring.ram.read_obj::<u32>(GuestAddress(2 * 4096 + 64)).expect("in RAM"), 1);
    }

    #[test]
    fn ring_without_a_data_page_does_not_exist() {
        let ram = Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).expect("memory"));
        assert!(GuestRing::new(ram, &[0]).is_none());
    }
}
