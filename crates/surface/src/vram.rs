//! The memory that a guest declares to be its VRAM, as the host reads it.
//!
//! A guest may write while we read: every read is a copy, and nothing here hands out a reference.

use std::fmt;
use std::sync::Arc;

use synthvid::Size;
use vm_memory::bitmap::Bitmap;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{Bytes, GuestAddress, GuestMemory, MmapRegion, Permissions, VolatileMemory};

/// A guest's VRAM, readable from any thread.
pub trait VramBytes: Send + Sync {
    /// Bytes in it.
    fn len(&self) -> u64;

    /// There is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `buf.len()` bytes, from `offset` on, to `buf`. A byte that the guest is writing may come old or new.
    ///
    /// *Errors*: [`VramError::OutOfRange`], with `buf` unchanged; [`VramError::Memory`].
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError>;
}

/// Where VRAM lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VramKind {
    /// In an aperture that has no RAM of its own: the host backs it with a memory slot.
    Mmio,
    /// In the guest's RAM, which the guest set aside (Generation 1 with 4 MiB or less).
    Ram,
}

impl fmt::Display for VramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mmio => "mmio",
            Self::Ram => "ram",
        })
    }
}

/// Backs the VRAM that a guest declares.
pub trait VramMapper: Send {
    /// Backs `len` bytes at the guest physical address `gpa`, in the place of what was mapped before.
    ///
    /// When it returns, the guest can write there without an exit: the acknowledgement that follows promises that.
    ///
    /// *Errors*: [`VramMapError`]; then nothing is mapped.
    fn map(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError>;

    /// Releases what was mapped, if anything. A window that is still held stays readable.
    fn unmap(&mut self);

    /// Where the mapped VRAM lies; `None` if none is mapped.
    fn kind(&self) -> Option<VramKind>;
}

/// Why VRAM cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VramError {
    /// The range leaves VRAM.
    #[error("{bytes} bytes at offset {offset:#x} of VRAM, limit is {limit:#x}")]
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Bytes.
        bytes: u64,
        /// Bytes of VRAM.
        limit: u64,
    },
    /// The situation is not the one that the surface was made for.
    #[error("surface of {surface} for a situation of {situation}")]
    SizeMismatch {
        /// What the surface has.
        surface: Size,
        /// What the situation asks for.
        situation: Size,
    },
    /// The memory itself failed.
    #[error("reading VRAM at offset {offset:#x}: {reason}")]
    Memory {
        /// First byte.
        offset: u64,
        /// What it said.
        reason: String,
    },
}

/// Why VRAM cannot be backed.
#[derive(Debug, thiserror::Error)]
pub enum VramMapError {
    /// The range is not one that a guest may use: neither all RAM nor all inside of a window.
    #[error("VRAM at {gpa:#x} with {len:#x} bytes lies neither in RAM nor in {window}")]
    NotAllowed {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        len: u64,
        /// The windows that would do, in words.
        window: String,
    },
    /// The range is in RAM, where this machine's guests may have no VRAM.
    #[error("VRAM at {gpa:#x} with {len:#x} bytes lies in RAM, must lie in {window}")]
    InRam {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        len: u64,
        /// The windows that would do, in words.
        window: String,
    },
    /// The address or the length is not a whole number of pages.
    #[error("VRAM at {gpa:#x} with {len:#x} bytes, both must be multiples of 0x1000")]
    Unaligned {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        len: u64,
    },
    /// The memory could not be had.
    #[error("mapping {len:#x} bytes of VRAM: {source}")]
    Mmap {
        /// Bytes.
        len: u64,
        /// What the system said.
        source: MmapRegionError,
    },
    /// The hypervisor or the system refused.
    #[error("backing VRAM at {gpa:#x}: {operation}: {source}")]
    System {
        /// Guest physical address.
        gpa: u64,
        /// What was tried.
        operation: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// VRAM inside of the guest's RAM. It may span regions that follow each other without a gap.
#[derive(Clone, Debug)]
pub struct GuestRamWindow<M> {
    memory: M,
    gpa: u64,
    len: u64,
}

impl<M: GuestMemory> GuestRamWindow<M> {
    /// The window of `len` bytes at `gpa`.
    ///
    /// `memory` is kept for as long as the window lives; a clone of `GuestMemoryMmap` costs a count a region.
    ///
    /// *Errors*: [`VramMapError::NotAllowed`] unless every byte is RAM.
    pub fn new(memory: M, gpa: u64, len: u64) -> Result<Self, VramMapError> {
        let is_ram = usize::try_from(len)
            .is_ok_and(|count| memory.check_range(GuestAddress(gpa), count, Permissions::Read));
        if !is_ram || len == 0 {
            return Err(VramMapError::NotAllowed { gpa, len, window: String::from("any window") });
        }
        Ok(Self { memory, gpa, len })
    }

    /// Guest physical address of its first byte.
    #[must_use]
    pub fn gpa(&self) -> u64 {
        self.gpa
    }
}

impl<M: GuestMemory + Send + Sync> VramBytes for GuestRamWindow<M> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        check_range(offset, buf.len(), self.len)?;
        // Cannot overflow: the whole window was checked to be RAM.
        let address = GuestAddress(self.gpa.wrapping_add(offset));
        self.memory
            .read_slice(buf, address)
            .map_err(|error| VramError::Memory { offset, reason: error.to_string() })
    }
}

/// VRAM inside of a mapping of our own, such as the memory slot behind an aperture.
#[derive(Debug)]
pub struct RegionWindow<B = ()> {
    region: Arc<MmapRegion<B>>,
    start: usize,
    len: usize,
}

impl<B: Bitmap> RegionWindow<B> {
    /// The whole region.
    #[must_use]
    pub fn whole(region: Arc<MmapRegion<B>>) -> Self {
        let len = region.size();
        Self { region, start: 0, len }
    }

    /// `len` bytes from byte `start` on.
    ///
    /// *Errors*: [`VramError::OutOfRange`].
    pub fn new(region: Arc<MmapRegion<B>>, start: usize, len: usize) -> Result<Self, VramError> {
        check_range(start as u64, len, region.size() as u64)?;
        Ok(Self { region, start, len })
    }
}

impl<B: Bitmap + Send + Sync> VramBytes for RegionWindow<B> {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        check_range(offset, buf.len(), VramBytes::len(self))?;
        let at = usize::try_from(offset).ok().and_then(|offset| self.start.checked_add(offset));
        let slice = at.map(|at| self.region.get_slice(at, buf.len()));
        match slice {
            Some(Ok(slice)) => {
                slice.copy_to(buf);
                Ok(())
            }
            Some(Err(error)) => Err(VramError::Memory { offset, reason: error.to_string() }),
            None => {
                Err(VramError::OutOfRange { offset, bytes: buf.len() as u64, limit: VramBytes::len(self) })
            }
        }
    }
}

fn check_range(offset: u64, bytes: usize, limit: u64) -> Result<(), VramError> {
    let bytes = bytes as u64;
    match offset.checked_add(bytes) {
        Some(end) if end <= limit => Ok(()),
        _ => Err(VramError::OutOfRange { offset, bytes, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::GuestMemoryMmap;

    fn two_regions() -> GuestMemoryMmap {
        let memory =
            GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000), (GuestAddress(0x2000), 0x2000)])
                .unwrap();
        let bytes: Vec<u8> = (0..0x4000u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        memory.write_slice(&bytes, GuestAddress(0)).unwrap();
        memory
    }

    #[test]
    fn window_over_two_regions_reads_across_the_seam() {
        let memory = two_regions();
        let window = GuestRamWindow::new(memory.clone(), 0x1000, 0x2000).unwrap();
        let (mut got, mut expected) = ([0; 64], [0; 64]);
        window.read(0xff0, &mut got).unwrap();
        memory.read_slice(&mut expected, GuestAddress(0x1ff0)).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn window_beyond_ram_is_refused() {
        for (gpa, len) in [(0x3000, 0x2000), (0x8000, 0x1000), (0, 0), (u64::MAX, 2), (0, u64::MAX)] {
            let refused = GuestRamWindow::new(two_regions(), gpa, len);
            assert!(matches!(refused, Err(VramMapError::NotAllowed { .. })), "{gpa:#x}+{len:#x}");
        }
    }

    #[test]
    fn window_with_a_hole_is_refused() {
        let memory =
            GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1000), (GuestAddress(0x2000), 0x1000)])
                .unwrap();
        assert!(GuestRamWindow::new(memory, 0, 0x3000).is_err());
    }

    #[test]
    fn read_past_the_end_is_out_of_range_and_leaves_the_buffer() {
        let window = GuestRamWindow::new(two_regions(), 0, 0x1000).unwrap();
        for offset in [0xffd, 0x1000, u64::MAX] {
            let mut buf = [0xee; 4];
            let error = window.read(offset, &mut buf).unwrap_err();
            assert!(matches!(error, VramError::OutOfRange { limit: 0x1000, bytes: 4, .. }), "{error}");
            assert_eq!(buf, [0xee; 4]);
        }
    }

    #[test]
    fn region_window_counts_from_its_own_start() {
        let region = Arc::new(MmapRegion::<()>::new(0x3000).unwrap());
        region.get_slice(0x1010, 4).unwrap().copy_from(&[1u8, 2, 3, 4]);
        let window = RegionWindow::new(region, 0x1000, 0x1000).unwrap();
        let mut buf = [0; 4];
        window.read(0x10, &mut buf).unwrap();
        assert_eq!(buf, [1, 2, 3, 4]);
        assert!(matches!(window.read(0xffe, &mut buf), Err(VramError::OutOfRange { limit: 0x1000, .. })));
    }

    #[test]
    fn region_window_larger_than_its_region_is_refused() {
        let region = Arc::new(MmapRegion::<()>::new(0x1000).unwrap());
        assert!(RegionWindow::new(Arc::clone(&region), 0x800, 0x801).is_err());
        assert!(RegionWindow::new(Arc::clone(&region), usize::MAX, 2).is_err());
        assert_eq!(VramBytes::len(&RegionWindow::whole(region)), 0x1000);
    }
}
