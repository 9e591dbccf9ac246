//! The guest's physical memory: RAM from zero, and an MMIO window that VRAM can be put into.

use std::sync::Arc;

use surface::vram::{GuestRamWindow, RegionWindow};
use surface::{VramBytes, VramKind, VramMapError, VramMapper};
use thiserror::Error;
use vm_memory::mmap::{FromRangesError, MmapRegionError};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, MmapRegion, VolatileMemory};

use crate::write_log::SimWriteLog;

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;

/// RAM and MMIO window of a simulated guest; clones share both.
///
/// The window is memory too, since the guest writes its VRAM without anybody's help. The host sees it only
/// after [`SimVramMapper::map`].
#[derive(Clone, Debug)]
pub struct SimMemory {
    ram: Arc<GuestMemoryMmap>,
    window: Arc<MmapRegion>,
    window_gpa: u64,
    writes: SimWriteLog,
}

/// The memory could not be had.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// RAM.
    #[error("cannot map {bytes:#x} bytes of guest RAM: {source}")]
    Ram {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: FromRangesError,
    },
    /// The MMIO window.
    #[error("cannot map an MMIO window of {bytes:#x} bytes: {source}")]
    Window {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: MmapRegionError,
    },
}

impl SimMemory {
    /// `ram_bytes` of RAM at zero and `window_bytes` of MMIO window at `window_gpa`; untouched pages cost nothing.
    ///
    /// *Errors*: [`MemoryError`].
    pub fn new(ram_bytes: usize, window_gpa: u64, window_bytes: usize) -> Result<Self, MemoryError> {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), ram_bytes)])
            .map_err(|source| MemoryError::Ram { bytes: ram_bytes, source })?;
        let window = MmapRegion::new(window_bytes)
            .map_err(|source| MemoryError::Window { bytes: window_bytes, source })?;
        Ok(Self { ram: Arc::new(ram), window: Arc::new(window), window_gpa, writes: SimWriteLog::default() })
    }

    /// The RAM alone, as the SynIC and the bus see it.
    #[must_use]
    pub fn ram(&self) -> &Arc<GuestMemoryMmap> {
        &self.ram
    }

    /// Guest physical address of the MMIO window.
    #[must_use]
    pub fn window_gpa(&self) -> u64 {
        self.window_gpa
    }

    /// Bytes of the MMIO window.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.window.size() as u64
    }

    /// The log of what [`Self::write`] writes. Rings and SynIC pages are not in it.
    #[must_use]
    pub fn writes(&self) -> &SimWriteLog {
        &self.writes
    }

    /// Writes `bytes` at `gpa` as the guest's processor does; false if neither RAM nor the window holds them all.
    pub fn write(&self, gpa: u64, bytes: &[u8]) -> bool {
        // First the bytes: a log that is read in between names the page once more.
        let is_done = self.store(gpa, bytes);
        if is_done {
            self.writes.written(gpa, bytes.len() as u64);
        }
        is_done
    }

    fn store(&self, gpa: u64, bytes: &[u8]) -> bool {
        if let Some(offset) = self.window_offset(gpa, bytes.len() as u64) {
            return self.window.get_slice(offset, bytes.len()).is_ok_and(|slice| {
                slice.copy_from(bytes);
                true
            });
        }
        self.ram.write_slice(bytes, GuestAddress(gpa)).is_ok()
    }

    /// Where `[gpa, gpa + len)` starts in the window, if all of it lies there.
    fn window_offset(&self, gpa: u64, len: u64) -> Option<usize> {
        let offset = gpa.checked_sub(self.window_gpa)?;
        let end = offset.checked_add(len)?;
        (end <= self.window_bytes()).then(|| usize::try_from(offset).ok()).flatten()
    }
}

/// Shows the host the VRAM that the simulated guest declared: a part of the MMIO window, or of RAM.
#[derive(Clone, Debug)]
pub struct SimVramMapper {
    memory: SimMemory,
    kind: Option<VramKind>,
}

impl SimVramMapper {
    /// A mapper over `memory` with nothing mapped.
    #[must_use]
    pub fn new(memory: SimMemory) -> Self {
        Self { memory, kind: None }
    }
}

impl VramMapper for SimVramMapper {
    fn map(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        self.kind = None;
        if !gpa.is_multiple_of(PAGE_BYTES) || !len.is_multiple_of(PAGE_BYTES) {
            return Err(VramMapError::Unaligned { gpa, len });
        }
        let outside = || VramMapError::NotAllowed {
            gpa,
            len,
            window: format!(
                "the window of {:#x} bytes at {:#x}",
                self.memory.window_bytes(),
                self.memory.window_gpa
            ),
        };
        if let Some(start) = self.memory.window_offset(gpa, len).filter(|_| len > 0) {
            let len = usize::try_from(len).map_err(|_| outside())?;
            let window =
                RegionWindow::new(Arc::clone(&self.memory.window), start, len).map_err(|_| outside())?;
            self.kind = Some(VramKind::Mmio);
            return Ok(Arc::new(window));
        }
        let window = GuestRamWindow::new((*self.memory.ram).clone(), gpa, len).map_err(|_| outside())?;
        self.kind = Some(VramKind::Ram);
        Ok(Arc::new(window))
    }

    fn unmap(&mut self) {
        self.kind = None;
    }

    fn kind(&self) -> Option<VramKind> {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 0xf800_0000;

    fn memory() -> SimMemory {
        SimMemory::new(0x10_0000, WINDOW, 0x10_0000).expect("memory")
    }

    #[test]
    fn host_reads_what_the_guest_wrote_to_its_window() {
        let (memory, mut buf) = (memory(), [0; 4]);
        let vram = SimVramMapper::new(memory.clone()).map(WINDOW + 0x1000, 0x1000).expect("in the window");
        assert!(memory.write(WINDOW + 0x1004, &[1, 2, 3, 4]));
        vram.read(4, &mut buf).expect("in VRAM");
        assert_eq!(buf, [1, 2, 3, 4]);
    }

    #[test]
    fn host_reads_what_the_guest_wrote_to_vram_in_ram() {
        let (memory, mut buf) = (memory(), [0; 2]);
        let mut mapper = SimVramMapper::new(memory.clone());
        let vram = mapper.map(0x8000, 0x1000).expect("in RAM");
        assert_eq!(mapper.kind(), Some(VramKind::Ram));
        assert!(memory.write(0x8ffe, &[5, 6]));
        vram.read(0xffe, &mut buf).expect("in VRAM");
        assert_eq!(buf, [5, 6]);
        mapper.unmap();
        assert_eq!(mapper.kind(), None);
    }

    #[test]
    fn vram_that_is_neither_ram_nor_window_is_refused() {
        let mut mapper = SimVramMapper::new(memory());
        for (gpa, len) in [(WINDOW, 0x10_1000), (WINDOW - 0x1000, 0x2000), (0xf_f000, 0x2000), (WINDOW, 0)] {
            let refused = mapper.map(gpa, len).map(drop);
            assert!(matches!(refused, Err(VramMapError::NotAllowed { .. })), "{gpa:#x}+{len:#x}");
            assert_eq!(mapper.kind(), None);
        }
        assert!(matches!(mapper.map(WINDOW + 1, 0x1000).map(drop), Err(VramMapError::Unaligned { .. })));
        assert!(matches!(mapper.map(WINDOW, 0x1001).map(drop), Err(VramMapError::Unaligned { .. })));
    }

    #[test]
    fn write_outside_of_ram_and_window_does_not_happen() {
        let memory = memory();
        assert!(!memory.write(0x10_0000 - 2, &[0; 4]));
        assert!(!memory.write(WINDOW + 0x10_0000 - 2, &[0; 4]));
        assert!(!memory.write(u64::MAX - 1, &[0; 4]));
    }
}
