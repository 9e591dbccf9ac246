//! VRAM where the guest wants it: in its own RAM, or in an aperture that we back.
//!
//! hyperv_fb on a Generation 1 VM with 4 MiB or less takes VRAM from its own RAM; a slot must not be laid over
//! it. In every other case the driver picks an address in a VMBus MMIO window, and nothing is there until we
//! put memory behind it. Generation 2 knows the second case only ([`KvmVramMapper::in_windows_only`]).

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use surface::{GuestRamWindow, RegionWindow, VramBytes, VramKind, VramMapError, VramMapper};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, MmapRegion};

use crate::layout::PAGE_BYTES;
use crate::mem_slots::{MemorySlots, SlotError, SlotId};

/// Where VRAM lies now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VramLocation {
    /// Guest addresses, half-open.
    pub gpa: Range<u64>,
    /// In RAM or in the aperture.
    pub kind: VramKind,
}

/// The memory behind the aperture, and where VRAM lies; shared by the mapper and the machine.
///
/// It is a sealed memfd: nobody can shrink it below a mapping of it.
///
/// *Content*: as in real video memory it stays when the guest closes its channel, moves the aperture or loads
/// its driver anew. Only [`Self::zero`] clears it, at a reset of the machine.
#[derive(Debug)]
pub struct Aperture {
    file: Arc<File>,
    region: Arc<MmapRegion>,
    location: Mutex<Option<VramLocation>>,
}

impl Aperture {
    /// Makes zeroed memory of `bytes`, rounded up to whole pages. No page is used before it is written.
    ///
    /// # Errors
    /// The system has no such memory.
    pub fn new(bytes: u64) -> io::Result<Arc<Self>> {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let size = usize::try_from(bytes).map_err(io::Error::other)?;
        let file =
            File::from(rustix::fs::memfd_create("vram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(bytes)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let file = Arc::new(file);
        let region = MmapRegion::from_file(FileOffset::from_arc(Arc::clone(&file), 0), size)
            .map_err(io::Error::other)?;
        Ok(Arc::new(Self { file, region: Arc::new(region), location: Mutex::default() }))
    }

    /// Bytes behind the aperture, a whole number of pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.region.size() as u64
    }

    /// Where VRAM lies, if the guest has declared it. Changes with [`VramMapper::map`] and `unmap` only.
    #[must_use]
    pub fn location(&self) -> Option<VramLocation> {
        self.location.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes every byte zero, whether the aperture is mapped or not.
    ///
    /// # Errors
    /// The system refuses; the content is as before.
    pub fn zero(&self) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&*self.file, flags, 0, self.bytes())?)
    }

    fn set_location(&self, location: Option<VramLocation>) {
        *self.location.lock().unwrap_or_else(PoisonError::into_inner) = location;
    }
}

/// Backs VRAM through KVM memory slots.
///
/// One mapping at a time, as a guest has one VRAM. Dropping the mapper unmaps.
pub struct KvmVramMapper {
    slots: Arc<MemorySlots>,
    aperture: Arc<Aperture>,
    slot: Option<SlotId>,
    /// What the slot backs, for a guest that declares the same again.
    backed: Option<(Range<u64>, Arc<dyn VramBytes>)>,
    ram_allowed: bool,
}

impl fmt::Debug for KvmVramMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmVramMapper")
            .field("aperture", &self.aperture)
            .field("slot", &self.slot)
            .field("ram_allowed", &self.ram_allowed)
            .finish_non_exhaustive()
    }
}

impl KvmVramMapper {
    /// A mapper with nothing mapped, that takes VRAM in RAM and in the windows.
    #[must_use]
    pub fn new(slots: Arc<MemorySlots>, aperture: Arc<Aperture>) -> Self {
        Self { slots, aperture, slot: None, backed: None, ram_allowed: true }
    }

    /// The same, but a range that starts in RAM is refused with [`VramMapError::InRam`], as the host of a
    /// Generation 2 VM does.
    #[must_use]
    pub fn in_windows_only(mut self) -> Self {
        self.ram_allowed = false;
        self
    }

    fn map_aperture(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        let not_allowed = || VramMapError::NotAllowed {
            gpa,
            len,
            window: format!("{} (at most {:#x} bytes)", self.slots.windows(), self.aperture.bytes()),
        };
        let size = usize::try_from(len).map_err(|_| not_allowed())?;
        let window =
            RegionWindow::new(Arc::clone(&self.aperture.region), 0, size).map_err(|_| not_allowed())?;
        let slot =
            self.slots.add(gpa, len, Arc::clone(&self.aperture.region)).map_err(|error| match error {
                SlotError::Kvm { operation, source, .. } => {
                    VramMapError::System { gpa, operation, source: io::Error::from(source) }
                }
                SlotError::Unaligned { .. } => VramMapError::Unaligned { gpa, len },
                error => {
                    tracing::debug!(%error, "VRAM refused");
                    not_allowed()
                }
            })?;
        self.slot = Some(slot);
        Ok(Arc::new(window))
    }
}

impl VramMapper for KvmVramMapper {
    /// A range that starts in RAM must be RAM throughout and is only read; any other must lie in one window,
    /// clear of all RAM, and gets the aperture's memory from its first byte on. See also
    /// [`KvmVramMapper::in_windows_only`].
    fn map(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        let range = gpa..gpa.saturating_add(len);
        if let Some((backed, bytes)) = &self.backed
            && *backed == range
        {
            // A slot that goes and comes again stops every processor twice; a guest may declare without end.
            let bytes = Arc::clone(bytes);
            self.aperture.set_location(Some(VramLocation { gpa: range, kind: VramKind::Mmio }));
            return Ok(bytes);
        }
        self.unmap();
        if self.slot.is_some() {
            let source = io::Error::other("the slot of the VRAM before it could not be removed");
            return Err(VramMapError::System { gpa, operation: "remove a memory slot", source });
        }
        if len == 0 || !gpa.is_multiple_of(PAGE_BYTES) || !len.is_multiple_of(PAGE_BYTES) {
            return Err(VramMapError::Unaligned { gpa, len });
        }
        let ram = self.slots.ram();
        let in_ram = ram.find_region(GuestAddress(gpa)).is_some();
        if in_ram && !self.ram_allowed {
            return Err(VramMapError::InRam { gpa, len, window: self.slots.windows().to_string() });
        }
        let (bytes, kind): (Arc<dyn VramBytes>, _) = if in_ram {
            (Arc::new(GuestRamWindow::new(ram.clone(), gpa, len)?), VramKind::Ram)
        } else {
            (self.map_aperture(gpa, len)?, VramKind::Mmio)
        };
        // Both branches have checked that the range does not wrap.
        if self.slot.is_some() {
            self.backed = Some((range.clone(), Arc::clone(&bytes)));
        }
        self.aperture.set_location(Some(VramLocation { gpa: range, kind }));
        Ok(bytes)
    }

    fn unmap(&mut self) {
        self.aperture.set_location(None);
        self.backed = None;
        if let Some(slot) = self.slot.take()
            && let Err(error) = self.slots.remove(slot)
        {
            tracing::error!(%error, "VRAM stays mapped");
            self.slot = Some(slot);
        }
    }

    fn kind(&self) -> Option<VramKind> {
        self.aperture.location().map(|location| location.kind)
    }
}

impl Drop for KvmVramMapper {
    fn drop(&mut self) {
        self.unmap();
    }
}
