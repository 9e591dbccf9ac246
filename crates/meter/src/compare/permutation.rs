//! An exact permutation test of many numbers at once.
//!
//! If A and B are the same guest, then any other division of the runs into two groups of these sizes was as likely as the one that
//! was made. So every division is tried, and for each the *largest* distance of all numbers is noted. The p value of a number is the
//! share of divisions whose largest distance is at least the number's own. That keeps the chance that *any* number is
//! found to differ, of however many, at the level (Westfall and Young's single-step maxT), without an assumption on how
//! values are distributed.
//!
//! The distance of a number is the difference of the two means, by the spread within the groups plus the tolerance's share
//! of the mean: a count that hardly varies at all does not stand out by a difference that nobody cares about.
//!
//! Up to [`MAX_DIVISIONS`] all divisions are tried; beyond it so many that a generator with a fixed seed draws, and the one that was
//! made.

/// Most divisions that are tried. Nine runs of each side have 48,620.
pub const MAX_DIVISIONS: u64 = 50_000;

/// One number, measured in every run.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// A's runs, then B's; all finite.
    pub values: Vec<f64>,
    /// Part of the mean below which a difference is of no interest.
    pub tolerance: f64,
}

/// The p value of each number, in order. The values of each are `a_runs` of A and `b_runs` of B.
#[must_use]
pub fn test(numbers: &[Number], a_runs: usize, b_runs: usize) -> Vec<f64> {
    let runs = a_runs + b_runs;
    let made: Vec<bool> = (0..runs).map(|run| run < a_runs).collect();
    let observed: Vec<f64> = numbers.iter().map(|number| distance(number, &made)).collect();
    let mut as_far = vec![0_u64; numbers.len()];
    let mut tried = 0_u64;
    let mut try_one = |division: &[bool]| {
        let largest = numbers.iter().map(|number| distance(number, division)).fold(0.0, f64::max);
        for (count, observed) in as_far.iter_mut().zip(&observed) {
            // Sums in another order differ in their last bits.
            *count += u64::from(largest >= observed * (1.0 - 1e-9));
        }
        tried += 1;
    };
    if divisions(runs, a_runs) <= MAX_DIVISIONS {
        each_division(runs, a_runs, &mut try_one);
    } else {
        try_one(&made);
        let mut drawn = made;
        let mut random = SplitMix64(0x0057_6569_2048_7531);
        for _ in 1..MAX_DIVISIONS {
            shuffle(&mut drawn, &mut random);
            try_one(&drawn);
        }
    }
    as_far.into_iter().map(|count| count as f64 / tried.max(1) as f64).collect()
}

/// How far the two groups of `division` (true is A) lie apart in `number`.
fn distance(number: &Number, division: &[bool]) -> f64 {
    let mut groups = [Moments::default(), Moments::default()];
    for (value, in_a) in number.values.iter().zip(division) {
        groups[usize::from(*in_a)].add(*value);
    }
    let [b, a] = groups;
    let apart = (a.mean() - b.mean()).abs();
    let within = (a.squares() + b.squares()).max(0.0) / (a.count + b.count - 2.0).max(1.0);
    let mean = (a.sum.abs() + b.sum.abs()) / (a.count + b.count);
    let spread = within.sqrt() + number.tolerance * mean;
    if apart == 0.0 {
        0.0
    } else if spread == 0.0 {
        f64::MAX
    } else {
        apart / spread
    }
}

#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// Sum of the squares of the distances from the mean.
    fn squares(&self) -> f64 {
        let rest = self.sum_of_squares - self.sum * self.mean();
        // What is left of equal values is rounding.
        if rest <= self.sum_of_squares * 1e-12 { 0.0 } else { rest }
    }
}

/// Ways to choose `a_runs` of `runs`; saturates.
fn divisions(runs: usize, a_runs: usize) -> u64 {
    let mut ways = 1_u64;
    for step in 0..a_runs.min(runs - a_runs) {
        ways = match ways.checked_mul((runs - step) as u64) {
            Some(product) => product / (step as u64 + 1),
            None => return u64::MAX,
        };
    }
    ways
}

/// Calls `act` with each way to choose `a_runs` of `runs`.
fn each_division(runs: usize, a_runs: usize, act: &mut dyn FnMut(&[bool])) {
    fn choose(division: &mut Vec<bool>, runs: usize, left: usize, act: &mut dyn FnMut(&[bool])) {
        let rest = runs - division.len();
        if rest == 0 {
            act(division);
            return;
        }
        for (in_a, possible) in [(true, left > 0), (false, rest > left)] {
            if possible {
                division.push(in_a);
                choose(division, runs, left - usize::from(in_a), act);
                division.pop();
            }
        }
    }
    choose(&mut Vec::with_capacity(runs), runs, a_runs, act);
}

/// Sebastiano Vigna's generator; any does, if only it is the same each time.
struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap_or(0)
    }
}

fn shuffle(division: &mut [bool], random: &mut SplitMix64) {
    for last in (1..division.len()).rev() {
        division.swap(last, random.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(values: &[f64]) -> Number {
        Number { values: values.to_vec(), tolerance: 0.05 }
    }

    #[test]
    fn four_against_four_has_seventy_divisions() {
        let mut count = 0;
        each_division(8, 4, &mut |division| {
            assert_eq!(division.iter().filter(|in_a| **in_a).count(), 4);
            count += 1;
        });
        assert_eq!((count, divisions(8, 4)), (70, 70));
        assert_eq!(divisions(18, 9), 48_620);
        assert_eq!(divisions(400, 200), u64::MAX);
    }

    #[test]
    fn clear_difference_has_the_least_p_that_there_can_be() {
        let p = test(&[number(&[20.0, 21.0, 20.0, 20.0, 60.0, 61.0, 62.0, 60.0])], 4, 4);
        assert_eq!(p, [2.0 / 70.0]);
    }

    #[test]
    fn equal_values_have_p_of_one() {
        assert_eq!(test(&[number(&[7.0; 8])], 4, 4), [1.0]);
        assert_eq!(test(&[number(&[0.0; 8])], 4, 4), [1.0]);
    }

    #[test]
    fn separated_number_among_many_noisy_ones_is_no_finding() {
        // 1 of 70 divisions separates each of these by chance; among sixty of them some division always does.
        let mut random = SplitMix64(7);
        let noisy: Vec<Number> = (0..60)
            .map(|_| number(&(0..8).map(|_| 100.0 + random.below(1_000) as f64).collect::<Vec<_>>()))
            .collect();
        let p = test(&noisy, 4, 4);
        assert!(p.iter().all(|p| *p > 0.05), "{p:?}");
    }

    #[test]
    fn clear_difference_is_found_among_many_noisy_numbers() {
        let mut random = SplitMix64(7);
        let mut numbers: Vec<Number> = (0..60)
            .map(|_| number(&(0..8).map(|_| 100.0 + random.below(50) as f64).collect::<Vec<_>>()))
            .collect();
        numbers.push(number(&[20.0, 20.0, 20.0, 20.0, 60.0, 60.0, 60.0, 60.0]));
        assert!(test(&numbers, 4, 4)[60] <= 0.05);
    }

    #[test]
    fn guest_compared_with_itself_is_rarely_different() {
        let mut random = SplitMix64(11);
        let rounds = 200;
        let found = (0..rounds)
            .filter(|_| {
                let numbers: Vec<Number> = (0..10)
                    .map(|_| number(&(0..8).map(|_| random.below(1_000) as f64).collect::<Vec<_>>()))
                    .collect();
                test(&numbers, 4, 4).iter().any(|p| *p <= 0.05)
            })
            .count();
        // 5 % are 10; the seed is fixed.
        assert!(found <= 12, "{found} of {rounds}");
    }

    #[test]
    fn many_runs_are_sampled_and_still_tell() {
        let values: Vec<f64> =
            (0..24).map(|run| if run < 12 { 10.0 } else { 20.0 + f64::from(run) }).collect();
        assert!(test(&[number(&values)], 12, 12)[0] < 0.001);
    }

    #[test]
    fn mistakes_in_every_run_of_one_side_alone_are_found() {
        let missed = Number { values: vec![0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0], tolerance: 0.0 };
        assert_eq!(test(&[missed], 4, 4), [2.0 / 70.0]);
    }
}
