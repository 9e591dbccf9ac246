//! The bus's only source of time, so that a simulated guest can run in virtual time.

use std::time::Instant;

/// Nanoseconds that never go back.
pub trait Clock: Send {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

/// The host's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

impl Default for MonotonicClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
