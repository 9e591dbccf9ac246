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

    /// The pages as a bitmap: bit 0 of the first word is the first page of the range. Bits beyond the range are clear.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether page `page` of the range was written; false beyond the range.
    #[must_use]
    pub fn contains(&self, page: u64) -> bool {
        let word = usize::try_from(page / PAGES_PER_WORD).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word & (1 << (page % PAGES_PER_WORD)) != 0)
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
    /// The bitmap of the whole slot; kept for its allocation, as the one below.
    whole: Vec<u64>,
    /// What is to be cleared of it.
    clear: Vec<u64>,
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
        Ok(Self { slots, range, whole: Vec::new(), clear: Vec::new() })
    }

    /// Takes the pages written since the last call, and clears them in KVM.
    ///
    /// A page that is written while this runs is in this answer or in the next one, never in none.
    ///
    /// # Errors
    /// [`SlotError::Kvm`] when KVM refuses; [`SlotError::Gone`] when the slot is.
    pub fn collect(&mut self) -> Result<DirtyPages, SlotError> {
        let mut pages = DirtyPages::default();
        self.collect_into(&mut pages)?;
        Ok(pages)
    }

    /// The same into `collected`, whose content is replaced and whose memory is used again.
    ///
    /// *Costs*: of a large slot KVM copies the whole bitmap, 32 KiB for a GiB; beyond that only the range is looked at, and
    /// only a range with a written page is cleared.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn collect_into(&mut self, collected: &mut DirtyPages) -> Result<(), SlotError> {
        let SlotRange { slot, first_page, pages, slot_pages } = self.range;
        self.slots.dirty_bitmap(slot, &mut self.whole)?;
        extract(&self.whole, first_page, pages, collected);
        if !self.slots.manual_clear() || collected.words.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let end = first_page + pages;
        let first_word = first_page / PAGES_PER_WORD;
        let end_word = end.div_ceil(PAGES_PER_WORD);
        self.clear.clear();
        self.clear.extend((first_word..end_word).map(|word| masked(&self.whole, word, first_page, end)));
        let clear_pages = (end_word * PAGES_PER_WORD).min(slot_pages) - first_word * PAGES_PER_WORD;
        let clear_pages = u32::try_from(clear_pages).unwrap_or(u32::MAX);
        self.slots.clear_dirty(slot, first_word * PAGES_PER_WORD, clear_pages, &mut self.clear)
    }
}

impl Drop for DirtyLog {
    fn drop(&mut self) {
        // The slot may be gone already, and then there is nothing to switch off.
        let _ = self.slots.stop_logging(self.range.slot);
    }
}

fn word(words: &[u64], index: u64) -> u64 {
    usize::try_from(index).ok().and_then(|index| words.get(index)).copied().unwrap_or(0)
}

/// The lowest `count` bits of a word.
fn low_bits(count: u64) -> u64 {
    if count < PAGES_PER_WORD { (1 << count) - 1 } else { u64::MAX }
}

/// Word `index` of `whole` with only the pages of `first..end` left in it.
fn masked(whole: &[u64], index: u64, first: u64, end: u64) -> u64 {
    let base = index * PAGES_PER_WORD;
    let below = low_bits(first.saturating_sub(base));
    word(whole, index) & low_bits(end.saturating_sub(base)) & !below
}

/// The pages of `whole` from `first_page` on.
fn extract(whole: &[u64], first_page: u64, pages: u64, extracted: &mut DirtyPages) {
    let (first, shift) = (first_page / PAGES_PER_WORD, first_page % PAGES_PER_WORD);
    extracted.pages = pages;
    extracted.words.clear();
    extracted.words.extend((0..pages.div_ceil(PAGES_PER_WORD)).map(|index| {
        let low = word(whole, first + index) >> shift;
        let high = if shift == 0 { 0 } else { word(whole, first + index + 1) << (PAGES_PER_WORD - shift) };
        (low | high) & low_bits(pages - index * PAGES_PER_WORD)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_inside_a_slot_is_counted_from_its_own_start() {
        let whole = [1 << 63, 0b101, u64::MAX];
        let mut dirty = DirtyPages::default();
        extract(&whole, 63, 4, &mut dirty);
        assert_eq!(dirty.iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((dirty.count(), dirty.pages()), (3, 4));
        assert!(!dirty.contains(4), "page 67 of the slot is outside the range");
    }

    #[test]
    fn words_are_taken_as_bit_by_bit() {
        let whole: Vec<u64> = (1..6u64).map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let bit = |page: u64| whole[usize::try_from(page / 64).unwrap()] & 1 << (page % 64) != 0;
        let mut dirty = DirtyPages::default();
        for (first, pages) in [(0, 320), (0, 64), (1, 319), (63, 65), (64, 63), (65, 200), (319, 1), (100, 1)]
        {
            extract(&whole, first, pages, &mut dirty);
            let expected: Vec<u64> = (0..pages).filter(|page| bit(first + page)).collect();
            assert_eq!(dirty.iter().collect::<Vec<_>>(), expected, "{first}+{pages}");
            assert_eq!(dirty.count(), expected.len() as u64, "{first}+{pages}");
            let end = first + pages;
            for index in first / 64..end.div_ceil(64) {
                let kept =
                    (index * 64..index * 64 + 64).filter(|page| (first..end).contains(page) && bit(*page));
                let expected = kept.fold(0, |bits, page| bits | 1 << (page % 64));
                assert_eq!(masked(&whole, index, first, end), expected, "word {index} for {first}+{pages}");
            }
        }
    }

    #[test]
    fn clearing_leaves_the_neighbours_of_the_range_alone() {
        let whole = [u64::MAX, u64::MAX];
        assert_eq!(masked(&whole, 0, 60, 66), 0xf << 60);
        assert_eq!(masked(&whole, 1, 60, 66), 0b11);
    }
}
