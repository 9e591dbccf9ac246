//! Time that passes only when somebody says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds shared by everybody who holds a clone; they never go back.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nanoseconds since the clock was made.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Moves the clock to `at_ns`; a time that has passed leaves it where it is.
    pub fn advance_to(&self, at_ns: u64) {
        self.0.fetch_max(at_ns, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_time_and_it_never_goes_back() {
        let clock = VirtualClock::new();
        let other = clock.clone();
        clock.advance_to(48);
        other.advance_to(7);
        assert_eq!((clock.now_ns(), other.now_ns()), (48, 48));
    }
}
