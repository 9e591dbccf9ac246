//! Which pages a simulated guest wrote: what a hypervisor's dirty log is to a real one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::PAGE_BYTES;

/// A log of the pages that the guest wrote in one range of its memory; clones share it.
///
/// *Bound*: the pages of the range. Nothing is logged until [`Self::follow`].
#[derive(Clone, Debug, Default)]
pub struct SimWriteLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    range: Range<u64>,
    pages: BTreeSet<u64>,
}

impl SimWriteLog {
    /// Follows `range` (guest physical addresses) from now on, and nothing else; the log is empty then.
    pub fn follow(&self, range: Option<Range<u64>>) {
        self.with(|log| *log = Log { range: range.unwrap_or_default(), pages: BTreeSet::new() });
    }

    /// The pages written since the last call, ascending, counted from the start of the range.
    #[must_use]
    pub fn take(&self) -> Vec<u64> {
        self.with(|log| std::mem::take(&mut log.pages)).into_iter().collect()
    }

    /// The guest wrote `len` bytes at `gpa`.
    pub(crate) fn written(&self, gpa: u64, len: u64) {
        self.with(|log| {
            let (from, to) = (gpa.max(log.range.start), gpa.saturating_add(len).min(log.range.end));
            if from < to {
                let start = log.range.start;
                log.pages.extend((from - start) / PAGE_BYTES..(to - start).div_ceil(PAGE_BYTES));
            }
        });
    }

    fn with<R>(&self, act: impl FnOnce(&mut Log) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_the_range_and_named_once() {
        let log = SimWriteLog::default();
        log.written(0x5000, 1);
        log.follow(Some(0x4000..0x8000));
        for (gpa, len) in [(0x5ffe, 4), (0x5000, 1), (0x3fff, 1), (0x7fff, 100), (0x8000, 1), (u64::MAX, 9)] {
            log.written(gpa, len);
        }
        assert_eq!(log.take(), [1, 2, 3]);
        assert!(log.take().is_empty());
        log.written(0x4000, 0);
        log.follow(None);
        log.written(0x4000, 1);
        assert!(log.take().is_empty());
    }
}
