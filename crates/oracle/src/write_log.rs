//! Which pages of VRAM the guest wrote: what the oracle asks of a hypervisor.

use std::ops::Range;

use thiserror::Error;

/// Bytes of a page of a write log.
pub const PAGE_BYTES: u64 = 4096;

/// A log of the pages that the guest wrote.
///
/// The host's own writes are not in it. A page counts once, however often it was written.
pub trait WriteLog: Send {
    /// Follows `vram` (guest physical addresses, half-open) from now on, and nothing else; `None` stops it.
    ///
    /// The log is empty then. The oracle reads the pixels only afterwards, so that no write falls in between.
    ///
    /// *Errors*: [`WriteLogError`]; nothing is followed then.
    fn restart(&mut self, vram: Option<Range<u64>>) -> Result<(), WriteLogError>;

    /// Takes the pages written since the last call, counted from the start of VRAM, into `written`, which is empty and
    /// as large as VRAM.
    ///
    /// A page that is written meanwhile is in this answer or in the next one, never in none.
    ///
    /// *Errors*: [`WriteLogError`]; the oracle then compares all pixels, and says so.
    fn collect(&mut self, written: &mut WrittenPages) -> Result<(), WriteLogError>;
}

/// The log cannot be read or started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the log of written pages is not to be had: {reason}")]
pub struct WriteLogError {
    /// What whoever keeps it said.
    pub reason: String,
}

impl WriteLogError {
    /// An error with this reason.
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Pages of VRAM, a bit each, counted from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenPages {
    words: Vec<u64>,
    pages: u64,
}

impl WrittenPages {
    /// No page of `pages`.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        let mut this = Self::default();
        this.reset(pages);
        this
    }

    /// Forgets what is in it; from now on there are `pages`.
    pub fn reset(&mut self, pages: u64) {
        self.words.clear();
        self.words.resize(usize::try_from(pages.div_ceil(64)).unwrap_or(0), 0);
        self.pages = pages;
    }

    /// Pages that there are, written or not.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Adds page `page`; one beyond the end is left out.
    pub fn insert(&mut self, page: u64) {
        if page < self.pages
            && let Some(word) = usize::try_from(page / 64).ok().and_then(|at| self.words.get_mut(at))
        {
            *word |= 1 << (page % 64);
        }
    }

    /// Adds the pages of a bitmap whose bit 0 is the first page; those beyond the end are left out.
    pub fn insert_words(&mut self, words: &[u64]) {
        for (word, more) in self.words.iter_mut().zip(words) {
            *word |= more;
        }
        let beyond = self.pages % 64;
        if beyond != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << beyond) - 1;
        }
    }

    /// Adds all pages.
    pub fn insert_all(&mut self) {
        self.words.fill(u64::MAX);
        self.insert_words(&[]);
    }

    /// How many are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// No page is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Page `page` is in it.
    #[must_use]
    pub fn contains(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word & 1 << (page % 64) != 0)
    }

    /// The pages, as runs of neighbours in ascending order.
    pub fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, 0)?;
            let end = self.next(start, u64::MAX).unwrap_or(self.pages).min(self.pages);
            from = end;
            Some(start..end)
        })
    }

    /// The first page from `from` on that is in it (`flip` of 0) or is not (`flip` of all ones).
    fn next(&self, from: u64, flip: u64) -> Option<u64> {
        let first = usize::try_from(from / 64).ok()?;
        let mut mask = u64::MAX << (from % 64);
        for (word, base) in self.words.get(first..)?.iter().zip((from / 64..).map(|word| word * 64)) {
            let bits = (word ^ flip) & mask;
            if bits != 0 {
                return Some(base + u64::from(bits.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cross_words_and_end_with_the_pages() {
        let mut written = WrittenPages::new(130);
        for page in [0, 3, 62, 63, 64, 65, 128, 129, 130, u64::MAX] {
            written.insert(page);
        }
        assert_eq!(written.runs().collect::<Vec<_>>(), [0..1, 3..4, 62..66, 128..130]);
        assert_eq!(written.count(), 8);
        assert!(!written.contains(130));
    }

    #[test]
    fn all_pages_are_one_run() {
        for pages in [1, 63, 64, 65, 128] {
            let mut written = WrittenPages::new(pages);
            assert!(written.is_empty());
            written.insert_all();
            assert!(written.runs().eq(std::iter::once(0..pages)));
            assert_eq!(written.count(), pages);
        }
    }

    #[test]
    fn bitmap_longer_than_the_pages_is_cut() {
        let mut written = WrittenPages::new(66);
        written.insert_words(&[1, u64::MAX, u64::MAX]);
        assert_eq!(written.runs().collect::<Vec<_>>(), [0..1, 64..66]);
    }

    #[test]
    fn no_pages_have_no_run() {
        assert_eq!(WrittenPages::new(0).runs().count(), 0);
    }
}
