//! Keeps a misbehaving guest from filling the host's log.

/// Lets a burst of lines pass in each interval and counts the rest.
#[derive(Debug)]
pub(crate) struct LogLimit {
    window_start_ns: u64,
    passed: u32,
    suppressed: u64,
}

/// Lines that pass in one interval.
const BURST: u32 = 10;
/// Length of an interval.
const INTERVAL_NS: u64 = 5_000_000_000;

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self { window_start_ns: 0, passed: 0, suppressed: 0 }
    }

    /// `Some(n)` if a line may be written now, `n` lines having been left out since the last one.
    pub(crate) fn admit(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.window_start_ns) >= INTERVAL_NS {
            self.window_start_ns = now_ns;
            self.passed = 0;
        }
        if self.passed >= BURST {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(core::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleventh_line_of_an_interval_is_held_and_counted_in_the_next() {
        let mut limit = LogLimit::new();
        let passed = (0..15).filter(|_| limit.admit(1).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.admit(INTERVAL_NS + 1), Some(5));
        assert_eq!(limit.admit(INTERVAL_NS + 2), Some(0));
    }
}
