//! Percentiles of durations, in bounded memory.

use core::fmt;

use hdrhistogram::Histogram;

/// Longest duration told apart, in microseconds: one hour. Longer ones count as one hour.
pub const LONGEST_US: u64 = 3_600_000_000;
/// Significant decimal digits that percentiles keep.
const DIGITS: u8 = 3;

/// Durations in microseconds and their percentiles.
///
/// *Units*: microseconds, cut to whole ones. *Resolution*: a percentile is rounded down by at most 0.1 %; the
/// maximum is exact. *Bound*: at most some 200 KiB, allocated at the first duration.
#[derive(Clone, Default)]
pub struct Distribution {
    durations: Option<Histogram<u64>>,
    longest_us: u64,
}

impl Distribution {
    /// Takes one duration of `ns` nanoseconds.
    pub fn record_ns(&mut self, ns: u64) {
        let us = ns / 1_000;
        self.longest_us = self.longest_us.max(us);
        if self.durations.is_none() {
            self.durations = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok();
        }
        if let Some(durations) = &mut self.durations {
            durations.saturating_record(us);
        }
    }

    /// Durations taken.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.durations.as_ref().map_or(0, Histogram::len)
    }

    /// The duration that `share` (0.5 is the median) of all do not exceed, or `None` before the first one.
    #[must_use]
    pub fn percentile_us(&self, share: f64) -> Option<u64> {
        let durations = self.durations.as_ref().filter(|durations| !durations.is_empty())?;
        Some(durations.lowest_equivalent(durations.value_at_quantile(share)))
    }

    /// The longest duration, or `None` before the first one.
    #[must_use]
    pub fn longest_us(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.longest_us)
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("p50_us", &self.percentile_us(0.5))
            .field("p99_us", &self.percentile_us(0.99))
            .field("longest_us", &self.longest_us())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(durations_us: impl IntoIterator<Item = u64>) -> Distribution {
        let mut distribution = Distribution::default();
        durations_us.into_iter().for_each(|us| distribution.record_ns(us.saturating_mul(1_000)));
        distribution
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        let nothing = Distribution::default();
        assert_eq!((nothing.count(), nothing.percentile_us(0.5), nothing.longest_us()), (0, None, None));
    }

    #[test]
    fn one_duration_is_every_percentile() {
        let one = distribution([48_000]);
        assert_eq!((one.percentile_us(0.5), one.percentile_us(0.99)), (Some(48_000), Some(48_000)));
        assert_eq!(one.longest_us(), Some(48_000));
    }

    #[test]
    fn percentiles_of_one_to_a_thousand_are_where_they_should_be() {
        let thousand = distribution(1..=1_000);
        assert_eq!(thousand.percentile_us(0.5), Some(500));
        assert_eq!(thousand.percentile_us(0.99), Some(990));
        assert_eq!(thousand.longest_us(), Some(1_000));
    }

    #[test]
    fn zero_is_a_duration() {
        let zeros = distribution([0, 0, 7]);
        assert_eq!(
            (zeros.count(), zeros.percentile_us(0.5), zeros.percentile_us(1.0)),
            (3, Some(0), Some(7))
        );
    }

    #[test]
    fn rounding_stays_below_a_thousandth() {
        let exact = 1_234_567;
        let rounded = distribution([exact]).percentile_us(0.5).expect("one duration");
        assert!(rounded <= exact && (exact - rounded) * 1_000 <= exact, "{rounded}");
    }

    #[test]
    fn duration_beyond_an_hour_counts_as_an_hour_and_the_maximum_stays_exact() {
        let long = distribution([2 * LONGEST_US]);
        let p50 = long.percentile_us(0.5).expect("one duration");
        assert!(p50 <= LONGEST_US && (LONGEST_US - p50) * 1_000 <= LONGEST_US, "{p50}");
        assert_eq!(long.longest_us(), Some(2 * LONGEST_US));
        assert_eq!(distribution([u64::MAX]).count(), 1);
    }
}
