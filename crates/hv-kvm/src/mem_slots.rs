//! KVM memory slots: guest RAM, and device memory laid at an address of the guest's choice.
#![expect(unsafe_code, reason = "KVM_SET_USER_MEMORY_REGION hands host memory to the guest")]

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, KVM_MEM_LOG_DIRTY_PAGES,
    kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::VmFd;
use rustix::mm::{Advice, madvise};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MmapRegion};
use vmm_sys_util::errno;

use crate::caps::HostCaps;
use crate::ioctl::{self, PAGES_PER_WORD};
use crate::layout::{MmioWindows, PAGE_BYTES, RESERVED, overlap};

/// Slots for device memory, beside those of RAM. One VRAM aperture needs one.
pub const MAX_DEVICE_SLOTS: usize = 8;

/// Why memory could not be given to the guest, or taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// Address or length is not a multiple of the page size, or the length is zero.
    #[error("range {gpa:#x}+{bytes:#x} is empty or not on page boundaries")]
    Unaligned {
        /// First address.
        gpa: u64,
        /// Length.
        bytes: u64,
    },
    /// The range ends above the address space.
    #[error("range {gpa:#x}+{bytes:#x} wraps around the address space")]
    Wraps {
        /// First address.
        gpa: u64,
        /// Length.
        bytes: u64,
    },
    /// Some of the range belongs to somebody else.
    #[error("range {start:#x}..{end:#x} overlaps {owner}")]
    Overlap {
        /// First address.
        start: u64,
        /// Address after the last one.
        end: u64,
        /// Who is there.
        owner: &'static str,
    },
    /// The range is neither RAM nor inside a declared window.
    #[error("range {start:#x}..{end:#x} lies outside the MMIO windows {windows}")]
    OutsideWindows {
        /// First address.
        start: u64,
        /// Address after the last one.
        end: u64,
        /// The windows of the machine.
        windows: MmioWindows,
    },
    /// More addresses than memory to lay over them.
    #[error("range of {bytes:#x} bytes for memory of {held:#x}")]
    Short {
        /// Length of the range.
        bytes: u64,
        /// Length of the memory.
        held: u64,
    },
    /// All device slots are taken.
    #[error("all {MAX_DEVICE_SLOTS} device memory slots are in use")]
    Full,
    /// No single slot holds this range.
    #[error("no memory slot holds {0:#x}..{1:#x}")]
    NoSlot(u64, u64),
    /// The slot has been removed, or is one of RAM where only device memory will do.
    #[error("memory slot {} is not in use for device memory", .0.0)]
    Gone(SlotId),
    /// KVM refused.
    #[error("KVM refused {operation} on memory slot {slot}: {source}")]
    Kvm {
        /// What was asked.
        operation: &'static str,
        /// Of which slot.
        slot: u32,
        /// The kernel's error.
        source: errno::Error,
    },
}

/// Names one slot of one [`MemorySlots`] for ever: unlike KVM's number it is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId(u64);

/// One slot as KVM has it. Owns its memory, so that the guest never outlives the mapping it writes to.
#[derive(Debug)]
struct Slot {
    id: SlotId,
    /// KVM's number, reused after removal.
    number: u32,
    range: Range<u64>,
    region: Arc<MmapRegion>,
    device: bool,
    /// Dirty logs that are kept of it; KVM logs while there is one.
    logs: u32,
}

impl Slot {
    fn pages(&self) -> u64 {
        (self.range.end - self.range.start) / PAGE_BYTES
    }
}

/// Where in which slot a range of guest addresses lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotRange {
    pub(crate) slot: SlotId,
    /// Pages of the slot before the range.
    pub(crate) first_page: u64,
    pub(crate) pages: u64,
    /// Pages of the whole slot.
    pub(crate) slot_pages: u64,
}

/// The memory slots of one VM.
///
/// All slots are removed from KVM when this is dropped; the memory of a slot that KVM will not let go is
/// leaked rather than unmapped below a running guest.
#[derive(Debug)]
pub struct MemorySlots {
    vm: Arc<VmFd>,
    ram: GuestMemoryMmap,
    windows: MmioWindows,
    manual_clear: bool,
    slots: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    created: u64,
}

impl Table {
    fn find(&mut self, id: SlotId) -> Result<&mut Slot, SlotError> {
        self.slots.iter_mut().find(|slot| slot.id == id).ok_or(SlotError::Gone(id))
    }
}

impl MemorySlots {
    /// Gives every region of `ram` to the guest, and remembers where device memory may be laid.
    ///
    /// The regions of `ram` are where [`crate::layout::ram_ranges`] puts them; none may lie in `windows`.
    ///
    /// # Errors
    /// [`SlotError`] when a region is not on page boundaries, lies in a window, or KVM refuses it.
    pub fn new(
        vm: Arc<VmFd>,
        caps: &HostCaps,
        ram: GuestMemoryMmap,
        windows: MmioWindows,
    ) -> Result<Arc<Self>, SlotError> {
        let manual_clear = caps.has(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) && {
            let mut cap = kvm_enable_cap { cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, ..Default::default() };
            cap.args[0] = u64::from(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
            vm.enable_cap(&cap).is_ok()
        };
        let this = Self { vm, ram, windows, manual_clear, slots: Mutex::default() };
        for region in this.ram.iter() {
            let range = checked_range(region.start_addr().raw_value(), region.len())?;
            if this.windows.ranges().iter().any(|window| overlap(window, &range)) {
                return Err(SlotError::Overlap {
                    start: range.start,
                    end: range.end,
                    owner: "an MMIO window",
                });
            }
            this.insert(&mut this.locked(), range, region.get_mmap(), false)?;
        }
        Ok(Arc::new(this))
    }

    /// Guest RAM.
    #[must_use]
    pub fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Where device memory may be laid.
    #[must_use]
    pub fn windows(&self) -> &MmioWindows {
        &self.windows
    }

    /// Slots in use, those of RAM included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).slots.len()
    }

    /// The VM that the slots belong to.
    #[must_use]
    pub fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    /// Lays the first `bytes` of `region` over guest addresses from `gpa` on, in a slot of its own.
    ///
    /// *Guest-visible effect*: accesses to the range stop exiting and reach `region`.
    ///
    /// # Errors
    /// [`SlotError`] when the range is not on page boundaries, overlaps RAM, another slot or one of
    /// [`RESERVED`], lies outside the windows, or KVM refuses it. Nothing has changed then.
    pub fn add(&self, gpa: u64, bytes: u64, region: Arc<MmapRegion>) -> Result<SlotId, SlotError> {
        let range = checked_range(gpa, bytes)?;
        let held = region.size() as u64;
        if bytes > held {
            return Err(SlotError::Short { bytes, held });
        }
        let (start, end) = (range.start, range.end);
        if let Some((_, owner)) = RESERVED.iter().find(|(reserved, _)| overlap(reserved, &range)) {
            return Err(SlotError::Overlap { start, end, owner });
        }
        let mut table = self.locked();
        if let Some(slot) = table.slots.iter().find(|slot| overlap(&slot.range, &range)) {
            let owner = if slot.device { "another device's memory" } else { "guest RAM" };
            return Err(SlotError::Overlap { start, end, owner });
        }
        if !self.windows.contain(&range) {
            return Err(SlotError::OutsideWindows { start, end, windows: self.windows.clone() });
        }
        if table.slots.iter().filter(|slot| slot.device).count() >= MAX_DEVICE_SLOTS {
            return Err(SlotError::Full);
        }
        self.insert(&mut table, range, region, true)
    }

    /// Takes the device memory of slot `id` away from the guest; accesses exit again.
    ///
    /// # Errors
    /// [`SlotError::Gone`] for an id that is not that of a device slot; [`SlotError::Kvm`] when KVM refuses,
    /// in which case the slot stays.
    pub fn remove(&self, id: SlotId) -> Result<(), SlotError> {
        let mut table = self.locked();
        let slot = table.find(id)?;
        if !slot.device {
            return Err(SlotError::Gone(id));
        }
        self.unset(slot)?;
        table.slots.retain(|slot| slot.id != id);
        Ok(())
    }

    /// Counts one more dirty log of a slot, and makes KVM keep it if it is the first.
    pub(crate) fn start_logging(&self, id: SlotId) -> Result<(), SlotError> {
        let mut table = self.locked();
        let slot = table.find(id)?;
        if slot.logs == 0 {
            self.set(slot, true)?;
        }
        slot.logs = slot.logs.saturating_add(1);
        Ok(())
    }

    /// Slots of which KVM keeps a dirty log now.
    #[must_use]
    pub fn logged(&self) -> usize {
        self.locked().slots.iter().filter(|slot| slot.logs > 0).count()
    }

    /// Takes back one [`Self::start_logging`].
    pub(crate) fn stop_logging(&self, id: SlotId) -> Result<(), SlotError> {
        let mut table = self.locked();
        let slot = table.find(id)?;
        slot.logs = slot.logs.saturating_sub(1);
        if slot.logs == 0 { self.set(slot, false) } else { Ok(()) }
    }

    /// Finds the slot that holds all of `range`, widened to whole pages.
    pub(crate) fn locate(&self, range: &Range<u64>) -> Option<SlotRange> {
        let table = self.locked();
        let holds = |slot: &&Slot| slot.range.start <= range.start && range.end <= slot.range.end;
        let slot = table.slots.iter().find(holds)?;
        let first_page = (range.start - slot.range.start) / PAGE_BYTES;
        let end_page = range.end.checked_sub(slot.range.start)?.div_ceil(PAGE_BYTES);
        Some(SlotRange {
            slot: slot.id,
            first_page,
            pages: end_page.checked_sub(first_page)?,
            slot_pages: slot.pages(),
        })
    }

    /// Reads KVM's dirty bitmap of a whole slot into `bitmap`, which gets as many bits as the slot has pages. Without
    /// [`Self::manual_clear`] reading it also clears it.
    pub(crate) fn dirty_bitmap(&self, id: SlotId, bitmap: &mut Vec<u64>) -> Result<(), SlotError> {
        let mut table = self.locked();
        let slot = table.find(id)?;
        bitmap.clear();
        bitmap.resize(usize::try_from(slot.pages().div_ceil(PAGES_PER_WORD)).unwrap_or(usize::MAX), 0);
        // JUSTIFICATION: see the function.
        // SAFETY: the bitmap has a bit for each page of the slot, and the table's lock keeps the slot as it is.
        let read = unsafe { ioctl::get_dirty_log(&self.vm, slot.number, bitmap) };
        read.map_err(kvm_error("reading the dirty log", slot.number))
    }

    /// Clears the pages of `bitmap`, whose bit 0 is `first_page`.
    pub(crate) fn clear_dirty(
        &self,
        id: SlotId,
        first_page: u64,
        pages: u32,
        bitmap: &mut [u64],
    ) -> Result<(), SlotError> {
        let mut table = self.locked();
        let number = table.find(id)?.number;
        ioctl::clear_dirty_log(&self.vm, number, first_page, pages, bitmap)
            .map_err(kvm_error("clearing the dirty log", number))
    }

    /// Whether reading the dirty log leaves it as it is, so that it can be cleared range by range.
    #[must_use]
    pub fn manual_clear(&self) -> bool {
        self.manual_clear
    }

    fn insert(
        &self,
        table: &mut Table,
        range: Range<u64>,
        region: Arc<MmapRegion>,
        device: bool,
    ) -> Result<SlotId, SlotError> {
        let unused = |number: &u32| table.slots.iter().all(|slot| slot.number != *number);
        let number = (0..).find(unused).ok_or(SlotError::Full)?;
        let id = SlotId(table.created);
        let slot = Slot { id, number, range, region, device, logs: 0 };
        self.set(&slot, false)?;
        table.created += 1;
        table.slots.push(slot);
        Ok(id)
    }

    fn set(&self, slot: &Slot, logged: bool) -> Result<(), SlotError> {
        let flags = if logged { KVM_MEM_LOG_DIRTY_PAGES } else { 0 };
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            flags,
            guest_phys_addr: slot.range.start,
            memory_size: slot.range.end - slot.range.start,
            userspace_addr: slot.region.as_ptr().addr() as u64,
        };
        // JUSTIFICATION: KVM has no other way to give memory to a guest.
        // SAFETY: `range` is no longer than `region` (see `add` and `new`), and `Slot` keeps the mapping alive
        // until KVM has given the slot back. Everybody in this process accesses it through `VolatileSlice`.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(kvm_error("setting up", slot.number))
    }

    fn unset(&self, slot: &Slot) -> Result<(), SlotError> {
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            guest_phys_addr: slot.range.start,
            userspace_addr: slot.region.as_ptr().addr() as u64,
            ..Default::default()
        };
        // JUSTIFICATION: KVM has no other way to take memory from a guest.
        // SAFETY: a size of zero removes the slot; no memory is made accessible.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(kvm_error("removing", slot.number))
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MemorySlots {
    fn drop(&mut self) {
        let slots: Vec<Slot> = self.locked().slots.drain(..).collect();
        for slot in slots {
            if let Err(error) = self.unset(&slot) {
                tracing::error!(%error, "memory of the slot is leaked");
                std::mem::forget(slot);
            }
        }
    }
}

/// Asks the system to back `region`, which is anonymous memory, with huge pages: a fault of the guest's is then one for 2 MiB, if
/// guest and host addresses agree in the bits below that.
///
/// # Errors
/// The system has no huge pages.
pub fn advise_huge_pages(region: &MmapRegion) -> io::Result<()> {
    // JUSTIFICATION: rustix has no safe madvise, because some kinds of advice drop what memory holds.
    // SAFETY: this one changes how memory is backed and nothing that can be seen in it, and the range is a mapping's.
    unsafe { madvise(region.as_ptr().cast(), region.size(), Advice::LinuxHugepage) }?;
    Ok(())
}

fn kvm_error(operation: &'static str, slot: u32) -> impl FnOnce(errno::Error) -> SlotError {
    move |source| SlotError::Kvm { operation, slot, source }
}

fn checked_range(gpa: u64, bytes: u64) -> Result<Range<u64>, SlotError> {
    if bytes == 0 || !gpa.is_multiple_of(PAGE_BYTES) || !bytes.is_multiple_of(PAGE_BYTES) {
        return Err(SlotError::Unaligned { gpa, bytes });
    }
    let end = gpa.checked_add(bytes).ok_or(SlotError::Wraps { gpa, bytes })?;
    Ok(gpa..end)
}
