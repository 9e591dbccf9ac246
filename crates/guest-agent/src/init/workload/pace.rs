//! A pace of absolute deadlines, so that one late step does not delay all that come after it.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Steps at equal distances from a start on.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    period: Duration,
    steps: u32,
    late: u32,
    latest: Duration,
}

impl Pace {
    /// From now on, one step a `period`.
    pub(super) fn every(period: Duration) -> Self {
        Self { start: Instant::now(), period, steps: 0, late: 0, latest: Duration::ZERO }
    }

    /// From now on, one step in so many milliseconds.
    pub(super) fn every_ms(ms: u64) -> Self {
        Self::every(Duration::from_millis(ms))
    }

    /// Waits until the present step's time is over.
    pub(super) fn wait(&mut self) {
        self.steps = self.steps.saturating_add(1);
        let end = self.period.saturating_mul(self.steps);
        let now = self.start.elapsed();
        match end.checked_sub(now) {
            Some(left) => thread::sleep(left),
            None => {
                self.late += 1;
                self.latest = self.latest.max(now.saturating_sub(end));
            }
        }
    }

    /// How far it fell behind, if it did.
    pub(super) fn lateness(&self) -> Option<String> {
        (self.late != 0).then(|| {
            format!(
                "the guest was late for {} of {} steps of {} ms, by {} ms at most",
                self.late,
                self.steps,
                self.period.as_millis(),
                self.latest.as_millis()
            )
        })
    }
}
