//! Whether one guest does better than another, workload by workload, number by number.
//!
//! [`compare`] is a function of two lists of measurements and of nothing else. With [`MIN_RUNS`] or more on each side the
//! verdicts come of an exact permutation test ([`permutation`]) over *all* numbers at once; with fewer only counts are judged,
//! by a tolerance. [`Rule`] says which of the two it was.

pub mod permutation;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measurement::{Better, Kind, Measurement, QUANTITIES, Quantity};
use crate::report::LabClock;

/// Value of [`Comparison::schema`].
pub const SCHEMA: &str = "vmbus-emu.comparison/1";
/// Fewest runs of each side from which a test can tell anything at [`LEVEL`]: of 70 ways to divide 8 runs into two halves, 2 are
/// as extreme as the most extreme one.
pub const MIN_RUNS: usize = 4;
/// How likely one comparison of a guest with itself is to find any difference at all, at most.
pub const LEVEL: f64 = 0.05;

/// Two guests, side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// The guest that is compared with.
    pub a: Side,
    /// The guest that is judged.
    pub b: Side,
    /// How verdicts came about.
    pub rule: Rule,
    /// One row for each number of each workload that both have.
    pub rows: Vec<Row>,
    /// What this comparison cannot know, one sentence each.
    pub limits: Vec<String>,
}

/// One of the two guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Kernel release and driver, as the first run has them.
    pub guest: String,
    /// Its measurements.
    pub runs: usize,
}

/// How verdicts came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Permutation test over all numbers.
    Permutation,
    /// Too few runs: counts alone, by a tolerance.
    Tolerance,
}

/// One number of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The workload.
    pub workload: String,
    /// The quantity's name.
    pub quantity: String,
    /// Its values in A; null if some run does not have it.
    pub a: Option<Sample>,
    /// Its values in B.
    pub b: Option<Sample>,
    /// From A's median to B's, in percent of A's; null if A's is 0.
    pub change_percent: Option<f64>,
    /// How often runs divided at random differ so much in any number; null where no test was made.
    pub p: Option<f64>,
    /// B against A.
    pub verdict: Verdict,
    /// The verdict comes of a tolerance and no test: another run of the same guest may give another one.
    pub hint: bool,
}

/// Values of one number in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// B against A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B does better.
    Better,
    /// B does worse.
    Worse,
    /// B differs in something that is neither good nor bad.
    Different,
    /// Nothing says that they differ.
    NotDistinguishable,
    /// One of them does not have the number, or not in every run.
    NotMeasured,
    /// Too few runs to judge a time.
    TooFewRuns,
}

impl Comparison {
    /// The numbers in which B does worse. A hint is none.
    pub fn worse(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Worse && !row.hint)
    }
}

/// Compares the runs of B with those of A. Only workloads that ran to their end in every run are in the rows.
#[must_use]
pub fn compare(a: &[Measurement], b: &[Measurement]) -> Comparison {
    let rule = if a.len().min(b.len()) >= MIN_RUNS { Rule::Permutation } else { Rule::Tolerance };
    let mut limits = Vec::new();
    let mut rows: Vec<(&'static Quantity, Row, Values)> = Vec::new();
    for name in workloads(a, b, &mut limits) {
        for quantity in &QUANTITIES {
            let values = Values { a: values(a, &name, quantity), b: values(b, &name, quantity) };
            if values.a.is_none() && values.b.is_none() {
                continue;
            }
            rows.push((quantity, Row::new(&name, quantity, &values), values));
        }
    }
    match rule {
        Rule::Permutation => judge_by_permutation(&mut rows, a.len(), b.len()),
        Rule::Tolerance => rows.iter_mut().for_each(|(quantity, row, _)| row.judge_by_tolerance(quantity)),
    }
    limits.extend(what_is_not_known(a, b, rule));
    Comparison {
        schema: SCHEMA.to_owned(),
        a: Side::of(a),
        b: Side::of(b),
        rule,
        rows: rows.into_iter().map(|(_, row, _)| row).collect(),
        limits,
    }
}

/// Values of one number, one for each run.
struct Values {
    a: Option<Vec<f64>>,
    b: Option<Vec<f64>>,
}

/// How far two medians must lie apart, in parts of the larger, before they are called different: runs of the same guest
/// agree within this.
#[must_use]
pub fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::Mistakes => 0.0,
        Kind::Count => 0.05,
        Kind::Time => 0.10,
    }
}

/// How many events a count may differ by before a *single* run is called different: one refresh more at either end.
const SINGLE_RUN_EVENTS: f64 = 2.0;

/// Workloads that all runs of both sides have, in A's order; of the others `limits` gets a sentence.
fn workloads(a: &[Measurement], b: &[Measurement], limits: &mut Vec<String>) -> Vec<String> {
    // The runs of a side in which it ran to its end, and those in which it was to.
    let mut ran: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut order = Vec::new();
    for measurement in a.iter().chain(b) {
        for workload in &measurement.workloads {
            let counts = ran.entry(&workload.name).or_insert_with(|| {
                order.push(workload.name.clone());
                (0, 0)
            });
            counts.0 += usize::from(workload.not_run.is_none());
            counts.1 += 1;
        }
    }
    let runs = a.len() + b.len();
    order.retain(|name| {
        let (done, asked) = ran.get(name.as_str()).copied().unwrap_or_default();
        if done < runs {
            limits.push(format!(
                "{name} is not compared: it ran to its end in {done} of {runs} runs, and was asked for in {asked}"
            ));
        }
        done == runs
    });
    order
}

fn values(runs: &[Measurement], workload: &str, quantity: &Quantity) -> Option<Vec<f64>> {
    let value = |run: &Measurement| quantity.of(run.workload(workload)?).filter(|value| value.is_finite());
    let values: Vec<f64> = runs.iter().map(value).collect::<Option<_>>()?;
    (!values.is_empty()).then_some(values)
}

impl Side {
    fn of(runs: &[Measurement]) -> Self {
        let guest = runs.first().map(|run| {
            let kernel = run.guest.kernel.as_deref().unwrap_or("an unknown kernel");
            let driver = run.guest.driver.as_deref().unwrap_or("no driver");
            format!("{kernel}, {driver}")
        });
        Self { guest: guest.unwrap_or_default(), runs: runs.len() }
    }
}

impl Row {
    fn new(workload: &str, quantity: &Quantity, values: &Values) -> Self {
        let (a, b) = (values.a.as_deref().map(Sample::of), values.b.as_deref().map(Sample::of));
        let change =
            a.zip(b).and_then(|(a, b)| (a.median != 0.0).then(|| (b.median - a.median) * 100.0 / a.median));
        Self {
            workload: workload.to_owned(),
            quantity: quantity.name.to_owned(),
            a,
            b,
            change_percent: change,
            p: None,
            verdict: Verdict::NotMeasured,
            hint: false,
        }
    }

    fn judge_by_tolerance(&mut self, quantity: &Quantity) {
        let Some((a, b)) = self.a.zip(self.b) else { return };
        self.verdict = if quantity.kind == Kind::Time {
            Verdict::TooFewRuns
        } else {
            let slack = if quantity.kind == Kind::Mistakes { 0.0 } else { SINGLE_RUN_EVENTS };
            let apart = (b.median - a.median).abs() > slack;
            verdict(quantity, a.median, b.median, apart)
        };
        let differs = matches!(self.verdict, Verdict::Better | Verdict::Worse | Verdict::Different);
        self.hint = differs && quantity.kind != Kind::Mistakes;
    }
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

fn judge_by_permutation(rows: &mut [(&'static Quantity, Row, Values)], a_runs: usize, b_runs: usize) {
    let mut judged = Vec::new();
    let mut numbers = Vec::new();
    for (index, (quantity, _, values)) in rows.iter().enumerate() {
        if let (Some(a), Some(b)) = (&values.a, &values.b) {
            judged.push(index);
            let pooled = a.iter().chain(b).copied().collect();
            numbers.push(permutation::Number { values: pooled, tolerance: tolerance(quantity.kind) });
        }
    }
    let p_values = permutation::test(&numbers, a_runs, b_runs);
    for (index, p) in judged.into_iter().zip(p_values) {
        let Some((quantity, row, _)) = rows.get_mut(index) else { continue };
        let Some((a, b)) = row.a.zip(row.b) else { continue };
        row.p = Some(p);
        row.verdict = verdict(quantity, a.median, b.median, p <= LEVEL);
    }
}

fn verdict(quantity: &Quantity, a: f64, b: f64, apart: bool) -> Verdict {
    let beyond_tolerance = (b - a).abs() > tolerance(quantity.kind) * a.abs().max(b.abs());
    if !apart || !beyond_tolerance {
        return Verdict::NotDistinguishable;
    }
    match (quantity.better, b < a) {
        (Better::Neither, _) => Verdict::Different,
        (Better::Lower, true) | (Better::Higher, false) => Verdict::Better,
        (Better::Lower, false) | (Better::Higher, true) => Verdict::Worse,
    }
}

/// What makes the two sides unequal beside the guest, and what the rule cannot see.
fn what_is_not_known(a: &[Measurement], b: &[Measurement], rule: Rule) -> Vec<String> {
    let mut limits = Vec::new();
    if rule == Rule::Tolerance {
        limits.push(format!(
            "fewer than {MIN_RUNS} runs of a side: counts are judged by a tolerance, times are not judged; on a loaded host \
             and in the KVM lab a guest that is late sends fewer messages, so a verdict here, but for mistakes, is only a hint"
        ));
    }
    let mut unequal = |what: &str, differs: &dyn Fn(&Measurement, &Measurement) -> bool| {
        if let Some(first) = a.first()
            && a.iter().chain(b).any(|run| differs(first, run))
        {
            limits.push(format!("the runs differ in {what}, which may be what the verdicts are about"));
        }
    };
    unequal("how they were measured (settings)", &|x, y| x.settings != y.settings);
    unequal("the KVM that ran them", &|x, y| x.host.kvm != y.host.kvm);
    unequal("what moved the clock of the lab that ran them", &|x, y| {
        // A report of before there was a choice has none.
        let clock = |run: &Measurement| run.host.lab_clock.unwrap_or(LabClock::Host);
        x.host.kvm == y.host.kvm && clock(x) != clock(y)
    });
    unequal("the SynIC", &|x, y| x.host.synic != y.host.synic);
    unequal("virtual processors", &|x, y| x.host.vcpus != y.host.vcpus);
    unequal("the mode of the screen", &|x, y| x.device.mode != y.device.mode);
    limits
}

#[cfg(test)]
mod tests;
