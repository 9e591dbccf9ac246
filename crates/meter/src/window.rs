//! The busiest second of a stream of events, in bounded memory.

use std::collections::VecDeque;

/// Resolution of the window in nanoseconds: 100 us.
pub const TICK_NS: u64 = 100_000;
/// Length of the window in ticks: one second.
pub const WINDOW_TICKS: u64 = 10_000;

/// The largest number of events in any one second.
///
/// *Definition*: the time of each event is cut to a whole tick of 100 us, counted from the clock's zero; the
/// value is the largest number of events whose ticks lie in 10,000 consecutive ones. So two events count
/// together if they are less than 1 s apart, give or take one tick.
///
/// *Bound*: one entry for each tick in which something happened, at most 10,000, whatever the rate. An event
/// with a time before its predecessor's is taken to happen at the same time as that one.
#[derive(Clone, Debug, Default)]
pub struct BusiestSecond {
    /// Tick and events in it, oldest first, all within one window of the newest.
    ticks: VecDeque<(u64, u64)>,
    in_window: u64,
    busiest: u64,
}

impl BusiestSecond {
    /// Takes one event at `at_ns`.
    pub fn record(&mut self, at_ns: u64) {
        let newest = self.ticks.back().map_or(0, |&(tick, _)| tick);
        let now = (at_ns / TICK_NS).max(newest);
        match self.ticks.back_mut() {
            Some((tick, events)) if *tick == now => *events = events.saturating_add(1),
            _ => self.ticks.push_back((now, 1)),
        }
        self.in_window = self.in_window.saturating_add(1);
        while let Some(&(tick, events)) = self.ticks.front() {
            if now - tick < WINDOW_TICKS {
                break;
            }
            self.in_window = self.in_window.saturating_sub(events);
            self.ticks.pop_front();
        }
        self.busiest = self.busiest.max(self.in_window);
    }

    /// The largest number of events in one second so far; 0 before the first event.
    #[must_use]
    pub fn busiest(&self) -> u64 {
        self.busiest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn busiest(times: impl IntoIterator<Item = u64>) -> BusiestSecond {
        let mut window = BusiestSecond::default();
        times.into_iter().for_each(|at_ns| window.record(at_ns));
        window
    }

    #[test]
    fn events_exactly_one_second_apart_do_not_share_a_window() {
        assert_eq!(busiest([0, SECOND]).busiest(), 1);
        assert_eq!(busiest([0, SECOND - 1]).busiest(), 2);
        assert_eq!(busiest([50 * TICK_NS, SECOND + 50 * TICK_NS]).busiest(), 1);
    }

    #[test]
    fn two_timers_of_48_ms_make_42_in_their_busiest_second() {
        let first = (0..200).map(|n| n * 48_000_000);
        let second = (0..200).map(|n| n * 48_000_000 + 24_000_000);
        let mut both: Vec<_> = first.clone().chain(second).collect();
        both.sort_unstable();
        assert_eq!(busiest(first).busiest(), 21);
        assert_eq!(busiest(both).busiest(), 42);
    }

    #[test]
    fn busiest_second_is_remembered_after_a_quiet_one() {
        assert_eq!(busiest((0..10).chain([5 * SECOND, 5 * SECOND + 1])).busiest(), 10);
    }

    #[test]
    fn window_that_crosses_a_whole_second_is_found() {
        let burst = |at: u64| (0..5).map(move |n| at + n * 1_000_000);
        assert_eq!(busiest(burst(900_000_000).chain(burst(1_100_000_000))).busiest(), 10);
    }

    #[test]
    fn flood_is_counted_whole_and_kept_in_bounded_memory() {
        let window = busiest((0..3_000_000).map(|n| n * 1_000));
        assert_eq!(window.busiest(), 1_000_000);
        assert!(window.ticks.len() <= 10_000, "{}", window.ticks.len());
    }

    #[test]
    fn time_that_goes_back_counts_as_now() {
        assert_eq!(busiest([3 * SECOND, 0, 1]).busiest(), 3);
        assert_eq!(BusiestSecond::default().busiest(), 0);
        assert_eq!(busiest([u64::MAX, u64::MAX]).busiest(), 2);
    }
}
