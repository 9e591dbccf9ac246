//! The pages of a range that the guest has written, from KVM's dirty log.
//!
//! KVM's log sees guest writes only; what the VMM writes into guest memory itself is not in it. A page
//! counts as written once no matter how often it was, and page tables inside the range count too (the CPU
//! sets accessed and dirty bits), which is why VRAM has a slot of its own.

use std::ops::Range;
use std::sync::Arc;

use crate::ioctl::PAGES_PER_WORD;
use crate::mem_slots::{MemorySlots, SlotError, SlotRange};

/// The pages of one collection, counted from the start of the logged range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyPages {
    words: Vec<u64>,
    pages: u64,
}

impl DirtyPages {
    /// How many pages were written.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Pages in the logged range, written or not.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether page `page` of the range was written; false beyond the range.
    #[must_use]
    pub fn contains(&self, page: u64) -> bool {
        bit(&self.words, page)
    }

    /// The pages written, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.pages).filter(|&page| self.contains(page))
    }
}

/// Dirty logging of one range of guest addresses. KVM stops to log a slot when the last log of it is dropped.
///
/// The log belongs to the whole slot: while two of these share a slot on a KVM without
/// MANUAL_DIRTY_LOG_PROTECT2 ([`MemorySlots::manual_clear`]), each takes the other's pages away.
#[derive(Debug)]
pub struct DirtyLog {
    slots: Arc<MemorySlots>,
    range: SlotRange,
}

impl DirtyLog {
    /// Starts logging the slot that holds `gpa`; the log is empty at first.
    ///
    /// `gpa` is widened to whole pages.
    ///
    /// # Errors
    /// [`SlotError::NoSlot`] when no single slot holds the range; [`SlotError::Kvm`] when KVM refuses.
    pub fn start(slots: Arc<MemorySlots>, gpa: &Range<u64>) -> Result<Self, SlotError> {
        let range = slots.locate(gpa).ok_or(SlotError::NoSlot(gpa.start, gpa.end))?;
        slots.start_logging(range.slot)?;
        Ok(Self { slots, range })
    }

    /// Takes the pages written since the last call, and clears them in KVM.
    ///
    /// A page that is written while this runs is in this answer or in the next one, never in none.
    ///
    /// # Errors
    /// [`SlotError::Kvm`] when KVM refuses, for one because the slot is gone.
    pub fn collect(&self) -> Result<DirtyPages, SlotError> {
        let whole = self.slots.dirty_bitmap(self.range.slot)?;
        let SlotRange { slot, first_page, pages, slot_pages } = self.range;
        let collected = extract(&whole, first_page, pages);
        if self.slots.manual_clear() && collected.count() != 0 {
            let end = first_page + pages;
            let first_word = first_page / PAGES_PER_WORD;
            let end_word = end.div_ceil(PAGES_PER_WORD);
            let mut clear: Vec<u64> =
                (first_word..end_word).map(|word| masked(&whole, word, first_page, end)).collect();
            let clear_pages = (end_word * PAGES_PER_WORD).min(slot_pages) - first_word * PAGES_PER_WORD;
            let clear_pages = u32::try_from(clear_pages).unwrap_or(u32::MAX);
            self.slots.clear_dirty(slot, first_word * PAGES_PER_WORD, clear_pages, &mut clear)?;
        }
        Ok(collected)
    }
}

impl Drop for DirtyLog {
    fn drop(&mut self) {
        // The slot may be gone already, and then there is nothing to switch off.
        let _ = self.slots.stop_logging(self.range.slot);
    }
}

fn bit(words: &[u64], page: u64) -> bool {
    let word = usize::try_from(page / PAGES_PER_WORD).ok().and_then(|index| words.get(index));
    word.is_some_and(|word| word & (1 << (page % PAGES_PER_WORD)) != 0)
}

/// Word `word` of `whole` with only the pages of `first..end` left in it.
fn masked(whole: &[u64], word: u64, first: u64, end: u64) -> u64 {
    let base = word * PAGES_PER_WORD;
    (0..PAGES_PER_WORD)
        .filter(|bit_index| (first..end).contains(&(base + bit_index)) && bit(whole, base + bit_index))
        .fold(0, |bits, bit_index| bits | 1 << bit_index)
}

fn extract(whole: &[u64], first_page: u64, pages: u64) -> DirtyPages {
    let words = (0..pages.div_ceil(PAGES_PER_WORD))
        .map(|word| {
            let base = word * PAGES_PER_WORD;
            (0..PAGES_PER_WORD.min(pages - base))
                .filter(|bit_index| bit(whole, first_page + base + bit_index))
                .fold(0, |bits, bit_index| bits | 1 << bit_index)
        })
        .collect();
    DirtyPages { words, pages }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_inside_a_slot_is_counted_from_its_own_start() {
        let whole = [1 << 63, 0b101, u64::MAX];
        let dirty = extract(&whole, 63, 4);
        assert_eq!(dirty.iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((dirty.count(), dirty.pages()), (3, 4));
        assert!(!dirty.contains(4), "page 67 of the slot is outside the range");
    }

    #[test]
    fn clearing_leaves_the_neighbours_of_the_range_alone() {
        let whole = [u64::MAX, u64::MAX];
        assert_eq!(masked(&whole, 0, 60, 66), 0xf << 60);
        assert_eq!(masked(&whole, 1, 60, 66), 0b11);
    }
}
