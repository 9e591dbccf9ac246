//! One workload done more than once in the same guest: how far its windows agree, and what the oracle costs it.

use serde::{Deserialize, Serialize};

use super::{Kind, QUANTITIES, WorkloadResult};

/// Counts that the guest alone decides. Others, as written pages and doorbells, depend on when the host looked as well.
const AGREEING: [&str; 3] = ["dirt_messages", "declared_px", "changed_px"];

/// How far the windows of one workload agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// Windows, the first included.
    pub windows: u64,
    /// Largest [`CountSpread::spread_percent`] of the counts that the guest alone decides: DIRT messages, declared and changed
    /// pixels.
    pub spread_percent: f64,
    /// Every count that all windows have.
    pub counts: Vec<CountSpread>,
}

/// One count over all windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountSpread {
    /// The quantity's name.
    pub quantity: String,
    /// Its value in each window, in their order.
    pub values: Vec<f64>,
    /// Least.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// Most.
    pub max: f64,
    /// From the least to the most, in percent of the most; 0 if all are 0.
    pub spread_percent: f64,
}

impl Repeats {
    /// Of the windows of one workload.
    #[must_use]
    pub fn of(windows: &[WorkloadResult]) -> Self {
        let counts: Vec<CountSpread> = QUANTITIES
            .iter()
            .filter(|quantity| quantity.kind != Kind::Time)
            .filter_map(|quantity| {
                let finite = |window| quantity.of(window).filter(|value| value.is_finite());
                let values: Vec<f64> = windows.iter().map(finite).collect::<Option<_>>()?;
                CountSpread::of(quantity.name, values)
            })
            .collect();
        let agreeing = counts.iter().filter(|count| AGREEING.contains(&count.quantity.as_str()));
        let spread_percent = agreeing.map(|count| count.spread_percent).fold(0.0, f64::max);
        Self { windows: windows.len() as u64, spread_percent, counts }
    }
}

impl CountSpread {
    /// None without a value.
    fn of(quantity: &str, values: Vec<f64>) -> Option<Self> {
        let Extent { min, median, max } = Extent::of(&values)?;
        let spread_percent = if max > 0.0 { (max - min) * 100.0 / max } else { 0.0 };
        Some(Self { quantity: quantity.to_owned(), values, min, median, max, spread_percent })
    }
}

/// What one workload costs with the oracle and without it, done in turn in the same guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OracleOverhead {
    /// Passes of each kind.
    pub rounds: u64,
    /// Processor time of the threads that run the guest, in microseconds, KVM's work for it included.
    #[serde(default)]
    pub vcpu_cpu_us: WithAndWithout,
    /// Processor time in the guest, in milliseconds, by its own count.
    pub guest_cpu_ms: WithAndWithout,
    /// From the request to the guest's answer, in milliseconds.
    pub duration_ms: WithAndWithout,
    /// Processor time of the event thread, in microseconds, the oracle's included.
    pub host_cpu_us: WithAndWithout,
}

/// One number with the oracle and without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WithAndWithout {
    /// Values of the passes with it, in their order.
    pub with: Vec<f64>,
    /// Of those without.
    pub without: Vec<f64>,
    /// Median with it by median without; null if nothing was measured.
    pub ratio: Option<f64>,
    /// Least ratio of a round.
    pub ratio_min: Option<f64>,
    /// Largest ratio of a round.
    pub ratio_max: Option<f64>,
}

impl WithAndWithout {
    /// Of the rounds: each one value with the oracle and one without.
    #[must_use]
    pub fn of(rounds: &[(f64, f64)]) -> Self {
        let (with, without): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let ratio = |with: f64, without: f64| (without > 0.0).then(|| with / without);
        let medians = Extent::of(&with).zip(Extent::of(&without));
        let ratios: Option<Vec<f64>> = rounds.iter().map(|&(with, without)| ratio(with, without)).collect();
        let extent = ratios.and_then(|ratios| Extent::of(&ratios));
        Self {
            ratio: medians.and_then(|(with, without)| ratio(with.median, without.median)),
            ratio_min: extent.map(|extent| extent.min),
            ratio_max: extent.map(|extent| extent.max),
            with,
            without,
        }
    }
}

#[derive(Clone, Copy)]
struct Extent {
    min: f64,
    median: f64,
    max: f64,
}

impl Extent {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { min: *sorted.first()?, median: f64::midpoint(lower, upper), max: *sorted.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(dirt_messages: u64, signals: u64, changed_px: Option<u64>) -> WorkloadResult {
        WorkloadResult {
            dirt_messages,
            declared_px: dirt_messages * 1_000,
            signals: Some(signals),
            changed_px,
            duration_ms: dirt_messages as f64,
            ..WorkloadResult::default()
        }
    }

    fn count<'a>(repeats: &'a Repeats, name: &str) -> Option<&'a CountSpread> {
        repeats.counts.iter().find(|count| count.quantity == name)
    }

    #[test]
    fn spread_is_that_of_the_counts_which_the_guest_decides() {
        let windows = [window(20, 10, Some(7)), window(19, 40, Some(7)), window(20, 30, Some(7))];
        let repeats = Repeats::of(&windows);
        assert_eq!((repeats.windows, repeats.spread_percent), (3, 5.0));
        let dirt = count(&repeats, "dirt_messages").expect("it was counted");
        assert_eq!((dirt.min, dirt.median, dirt.max, dirt.spread_percent), (19.0, 20.0, 20.0, 5.0));
        assert_eq!(dirt.values, [20.0, 19.0, 20.0]);
        assert_eq!(count(&repeats, "signals").expect("it was counted").spread_percent, 75.0);
        assert_eq!(count(&repeats, "changed_px").expect("it was counted").spread_percent, 0.0);
        assert_eq!(count(&repeats, "duration_ms"), None, "a time is no count");
    }

    #[test]
    fn count_that_a_window_lacks_is_left_out_and_one_that_comes_from_nothing_spreads_wholly() {
        let repeats = Repeats::of(&[window(0, 1, None), window(3, 1, Some(7))]);
        assert_eq!(count(&repeats, "changed_px"), None);
        assert_eq!(repeats.spread_percent, 100.0);
        let silent = Repeats::of(&[window(0, 0, Some(0)), window(0, 0, Some(0))]);
        assert_eq!(silent.spread_percent, 0.0);
    }

    #[test]
    fn ratio_is_of_medians_and_its_spread_is_that_of_rounds() {
        let both = WithAndWithout::of(&[(110.0, 100.0), (90.0, 100.0), (104.0, 100.0), (102.0, 100.0)]);
        assert_eq!((both.ratio, both.ratio_min, both.ratio_max), (Some(1.03), Some(0.9), Some(1.1)));
        assert_eq!(both.with, [110.0, 90.0, 104.0, 102.0]);
    }

    #[test]
    fn ratio_to_nothing_is_none() {
        let both = WithAndWithout::of(&[(10.0, 0.0), (10.0, 0.0)]);
        assert_eq!((both.ratio, both.ratio_min), (None, None));
        assert_eq!(WithAndWithout::of(&[]).ratio, None);
    }
}
