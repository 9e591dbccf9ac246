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

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Durations from here on, in microseconds.
    pub from_us: f64,
    /// Durations below this.
    pub to_us: f64,
    /// How many.
    pub count: u64,
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

    /// A histogram with `per_decade` bars for each power of ten, ascending; bars without a duration are left out. Those
    /// below a microsecond are one bar.
    #[must_use]
    pub fn bars(&self, per_decade: u32) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        let per_decade = f64::from(per_decade.max(1));
        let recorded = self.durations.iter().flat_map(Histogram::iter_recorded);
        for (us, count) in recorded.map(|value| (value.value_iterated_to(), value.count_at_value())) {
            // Exact: no duration is longer than an hour.
            let us = us as f64;
            let step = (us.log10() * per_decade).floor();
            let bound = |step: f64| 10_f64.powf(step / per_decade);
            let (from_us, to_us) = if us < 1.0 { (0.0, 1.0) } else { (bound(step), bound(step + 1.0)) };
            match bars.last_mut() {
                Some(last) if us < last.to_us => last.count += count,
                _ => bars.push(Bar { from_us, to_us, count }),
            }
        }
        bars
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
    fn bars_ascend_hold_their_durations_and_lose_none() {
        let bars = distribution([0, 1, 7, 48_000, 48_100, 3_000_000]).bars(10);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 6);
        assert_eq!((bars[0].from_us, bars[0].to_us, bars[0].count), (0.0, 1.0, 1));
        assert!(bars.windows(2).all(|pair| pair[0].to_us <= pair[1].from_us * (1.0 + 1e-9)), "{bars:?}");
        let twins = bars.iter().find(|bar| bar.count == 2).expect("a bar of two");
        assert!(twins.from_us <= 48_000.0 && 48_100.0 < twins.to_us, "{twins:?}");
        assert_eq!(Distribution::default().bars(10), []);
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
