//! VRAM where the guest wants it: in its own RAM, or in an aperture that we back.
//!
//! hyperv_fb on a Generation 1 VM with 4 MiB or less takes VRAM from its own RAM; a slot must not be laid over
//! it. In every other case the driver picks an address in a VMBus MMIO window, and nothing is there until we
//! put memory behind it. Generation 2 knows the second case only ([`KvmVramMapper::in_windows_only`]).
//!
//! A firmware may have drawn there before any driver ([`KvmVramMapper::mapped_by_firmware`]).

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use surface::{GuestRamWindow, RegionWindow, VramBytes, VramKind, VramMapError, VramMapper};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, MmapRegion, VolatileMemory};

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
    first_declared: Mutex<Option<FirstDeclared>>,
}

/// What the aperture held when the guest's driver took over from the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDeclared {
    /// Where the driver said that its VRAM is.
    pub gpa: u64,
    /// Pixels of the firmware's screen, 32 bits each, that were not zero.
    pub drawn_px: u64,
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
        Ok(Arc::new(Self {
            file,
            region: Arc::new(region),
            location: Mutex::default(),
            first_declared: Mutex::default(),
        }))
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

    /// The first place that the guest's driver declared, where a firmware had mapped the aperture before.
    #[must_use]
    pub fn first_declared(&self) -> Option<FirstDeclared> {
        *self.first_declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every byte zero, whether the aperture is mapped or not.
    ///
    /// # Errors
    /// The system refuses; the content is as before.
    pub fn zero(&self) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&*self.file, flags, 0, self.bytes())?)
    }

    /// Notes where the driver declared its VRAM, the first time that it did, and what lay on the firmware's screen of
    /// `screen_bytes` by then.
    fn note_declared(&self, gpa: u64, screen_bytes: u64) {
        let mut first = self.first_declared.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(FirstDeclared { gpa, drawn_px: self.drawn_px(screen_bytes) });
        }
    }

    fn drawn_px(&self, screen_bytes: u64) -> u64 {
        let length = usize::try_from(screen_bytes.min(self.bytes())).unwrap_or(usize::MAX);
        const AT_ONCE: usize = 4096;
        let (mut drawn, mut page, mut at) = (0, [0; AT_ONCE], 0);
        let slice = self.region.as_volatile_slice();
        while at < length {
            let bytes = page.len().min(length - at);
            let Some(part) = page.get_mut(..bytes) else { break };
            if slice.read_slice(part, at).is_err() {
                break;
            }
            drawn += part.as_chunks::<4>().0.iter().filter(|pixel| **pixel != [0; 4]).count() as u64;
            at += bytes;
        }
        drawn
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
    /// Bytes of the firmware's screen, if there was one.
    firmware_bytes: Option<u64>,
}

impl fmt::Debug for KvmVramMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmVramMapper")
            .field("aperture", &self.aperture)
            .field("slot", &self.slot)
            .field("ram_allowed", &self.ram_allowed)
            .field("firmware_bytes", &self.firmware_bytes)
            .finish_non_exhaustive()
    }
}

impl KvmVramMapper {
    /// A mapper with nothing mapped, that takes VRAM in RAM and in the windows.
    #[must_use]
    pub fn new(slots: Arc<MemorySlots>, aperture: Arc<Aperture>) -> Self {
        Self { slots, aperture, slot: None, backed: None, ram_allowed: true, firmware_bytes: None }
    }

    /// The same, but a range that starts in RAM is refused with [`VramMapError::InRam`], as the host of a
    /// Generation 2 VM does.
    #[must_use]
    pub fn in_windows_only(mut self) -> Self {
        self.ram_allowed = false;
        self
    }

    /// Maps `len` bytes of the aperture at `gpa` before the guest runs, as a firmware does that has a screen of `screen_bytes` there.
    /// For the device nothing is mapped yet.
    ///
    /// From now on the aperture stays where it was last mapped, whether a driver is bound or not: a host does not notice that
    /// another kernel has started, and the next one draws where its own `screen_info` says. Only another declaration moves it.
    ///
    /// # Errors
    /// [`VramMapError`], as for VRAM of the guest's.
    pub fn mapped_by_firmware(mut self, gpa: u64, len: u64, screen_bytes: u64) -> Result<Self, VramMapError> {
        let bytes = self.map_aperture(gpa, len)?;
        self.backed = Some((gpa..gpa.saturating_add(len), bytes));
        self.firmware_bytes = Some(screen_bytes);
        Ok(self)
    }

    /// Takes the slot away, and the aperture from the guest.
    fn remove_slot(&mut self) {
        self.backed = None;
        if let Some(slot) = self.slot.take()
            && let Err(error) = self.slots.remove(slot)
        {
            tracing::error!(%error, "VRAM stays mapped");
            self.slot = Some(slot);
        }
    }

    /// The guest's VRAM lies here now.
    fn declared(&self, range: Range<u64>, kind: VramKind) {
        if let Some(screen_bytes) = self.firmware_bytes {
            self.aperture.note_declared(range.start, screen_bytes);
        }
        self.aperture.set_location(Some(VramLocation { gpa: range, kind }));
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
            self.declared(range, VramKind::Mmio);
            return Ok(bytes);
        }
        self.aperture.set_location(None);
        self.remove_slot();
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
        self.declared(range, kind);
        Ok(bytes)
    }

    fn unmap(&mut self) {
        self.aperture.set_location(None);
        if self.firmware_bytes.is_none() {
            self.remove_slot();
        }
    }

    fn kind(&self) -> Option<VramKind> {
        self.aperture.location().map(|location| location.kind)
    }
}

impl Drop for KvmVramMapper {
    fn drop(&mut self) {
        self.aperture.set_location(None);
        self.remove_slot();
    }
}
