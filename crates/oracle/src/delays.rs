//! A distribution of delays in bounded memory.

use crate::window::{DelayBar, Delays};

/// Halvings of a power of two: percentiles are rounded down by at most one part in 64.
const STEPS_LOG2: u32 = 6;
const STEPS: u32 = 1 << STEPS_LOG2;
/// Steps for every `u32`.
const BINS: usize = ((32 - STEPS_LOG2 + 1) * STEPS) as usize;

/// Counts of delays, in microseconds. *Bound*: 14 KiB, allocated at the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct DelayCounts {
    bins: Vec<u64>,
    count: u64,
    max_us: u32,
}

impl DelayCounts {
    /// Takes `count` delays of `us` each.
    pub(crate) fn record(&mut self, us: u32, count: u64) {
        if self.bins.is_empty() {
            self.bins.resize(BINS, 0);
        }
        if let Some(bin) = self.bins.get_mut(bin_of(us)) {
            *bin = bin.saturating_add(count);
        }
        self.count = self.count.saturating_add(count);
        self.max_us = self.max_us.max(us);
    }

    /// What was taken.
    pub(crate) fn summary(&self) -> Delays {
        if self.count == 0 {
            return Delays::default();
        }
        Delays {
            count: self.count,
            p50_us: self.percentile(50),
            p99_us: self.percentile(99),
            max_us: Some(f64::from(self.max_us)),
            bars: self.bars(),
        }
    }

    fn percentile(&self, percent: u64) -> Option<f64> {
        // Of 100 values the 50th is the median.
        let rank = self.count.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0u64;
        let found = self.bins.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.map(|bin| from_us(bin).min(f64::from(self.max_us)))
    }

    /// A bar for each power of two.
    fn bars(&self) -> Vec<DelayBar> {
        let mut bars: Vec<DelayBar> = Vec::new();
        for (bin, &count) in self.bins.iter().enumerate().filter(|(_, count)| **count != 0) {
            let from = from_us(bin);
            match bars.last_mut() {
                Some(bar) if from < bar.to_us => bar.count = bar.count.saturating_add(count),
                _ => {
                    let exponent = from.max(0.5).log2().floor();
                    let from_us = if from < 1.0 { 0.0 } else { exponent.exp2() };
                    bars.push(DelayBar { from_us, to_us: (exponent + 1.0).exp2(), count });
                }
            }
        }
        bars
    }
}

/// The bin of a delay: below [`STEPS`] one each, above it [`STEPS`] to a power of two.
fn bin_of(us: u32) -> usize {
    let octave = (32 - us.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    let step = us >> octave;
    (octave * STEPS + step) as usize
}

/// Smallest delay of a bin.
fn from_us(bin: usize) -> f64 {
    let bin = u32::try_from(bin).unwrap_or(u32::MAX);
    // Above the first two octaves the step lies in STEPS..2 * STEPS.
    let octave = (bin / STEPS).saturating_sub(1);
    let step = bin - octave * STEPS;
    f64::from(step) * f64::from(octave).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other_and_hold_their_delays() {
        let samples = (0..4096).chain((0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for us in samples.chain([u32::MAX]) {
            let bin = bin_of(us);
            assert!(bin < BINS, "{us} in bin {bin}");
            assert!(from_us(bin) <= f64::from(us) && f64::from(us) < from_us(bin + 1), "{us} in bin {bin}");
            assert!(f64::from(us) - from_us(bin) <= f64::from(us) / 64.0, "{us} in bin {bin}");
        }
    }

    #[test]
    fn percentiles_of_one_to_a_hundred() {
        let mut delays = DelayCounts::default();
        (1..=100).for_each(|us| delays.record(us, 1));
        let summary = delays.summary();
        assert_eq!((summary.p50_us, summary.p99_us, summary.max_us), (Some(50.0), Some(99.0), Some(100.0)));
        assert_eq!(summary.bars.iter().map(|bar| bar.count).sum::<u64>(), 100);
        assert_eq!(summary.bars.last(), Some(&DelayBar { from_us: 64.0, to_us: 128.0, count: 37 }));
        assert_eq!(summary.bars.first(), Some(&DelayBar { from_us: 1.0, to_us: 2.0, count: 1 }));
    }

    #[test]
    fn delay_of_zero_has_a_bar_and_nothing_has_none() {
        let mut delays = DelayCounts::default();
        assert_eq!(delays.summary(), Delays::default());
        delays.record(0, 3);
        let summary = delays.summary();
        assert_eq!(summary.bars, [DelayBar { from_us: 0.0, to_us: 1.0, count: 3 }]);
        assert_eq!((summary.p50_us, summary.max_us), (Some(0.0), Some(0.0)));
    }
}
