//! Budgets: limits that a guest's workloads have to keep, and the checks that come of them.
//!
//! A budget is a TOML file. `[default]` holds for every workload, `[workload.NAME]` for one, and its keys win:
//!
//! ```toml
//! [default]
//! max_missed_px = 0
//!
//! [workload.idle]
//! max_dirt_per_s = 6
//! ```
//!
//! A limit of `"none"` lifts the default's. Each key is `max_` and the name of one of the [`QUANTITIES`]. A quantity that has a limit and was not measured fails.

mod parse;
mod stock;

use std::collections::BTreeMap;

pub use parse::BudgetError;

use crate::measurement::{Measurement, QUANTITIES, Quantity, WorkloadResult};
use crate::report::Check;

/// What stands before a quantity's name in a budget.
const PREFIX: &str = "max_";

/// Limits by the quantity's name.
type Limits = BTreeMap<&'static str, Limit>;

/// A limit, or that there is none where the default has one.
type Limit = Option<f64>;

/// Limits for workloads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    default: Limits,
    workloads: BTreeMap<String, Limits>,
}

impl Budget {
    /// The budget that the program has for `driver` of the kernel `release`, or `None` for a driver that it does not know.
    #[must_use]
    pub fn stock(driver: Option<&str>, release: Option<&str>) -> Option<Self> {
        stock::budget(driver?, release)
    }

    /// The same budget without the limits that cannot be judged when nobody compares pixels.
    #[must_use]
    pub fn without_oracle(mut self) -> Self {
        let known = |name: &str| Quantity::named(name).is_some_and(|quantity| !quantity.needs_oracle);
        self.default.retain(|name, _| known(name));
        self.workloads.values_mut().for_each(|limits| limits.retain(|name, _| known(name)));
        self
    }

    /// The workloads that it names.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        self.workloads.keys().map(String::as_str)
    }

    /// The limit of `quantity` under `workload`, if there is one.
    #[must_use]
    pub fn limit(&self, workload: &str, quantity: &str) -> Option<f64> {
        let own = self.of(workload).and_then(|limits| limits.get(quantity));
        own.or_else(|| self.default.get(quantity)).copied().flatten()
    }

    /// The limits for one workload. Those of a program, `exec:PATH`, may stand under `exec`.
    fn of(&self, workload: &str) -> Option<&Limits> {
        let kind = workload.split(':').next().unwrap_or_default();
        self.workloads.get(workload).or_else(|| self.workloads.get(kind))
    }

    /// One check for each limit and each workload of `measurement`.
    ///
    /// A workload that was not run has nothing to be judged; if the budget names it, that is one failed check.
    #[must_use]
    pub fn evaluate(&self, measurement: &Measurement) -> Vec<Check> {
        measurement.workloads.iter().flat_map(|workload| self.evaluate_one(workload)).collect()
    }

    /// The same for one workload.
    #[must_use]
    pub fn evaluate_one(&self, workload: &WorkloadResult) -> Vec<Check> {
        let name = &workload.name;
        if let Some(reason) = &workload.not_run {
            let named = self.of(name).is_some();
            let check = || Check {
                name: format!("{name}.not_run"),
                passed: false,
                detail: format!("{name}: it has a budget and was not run: {reason}"),
            };
            return named.then(check).into_iter().collect();
        }
        let judge = |quantity: &Quantity| Some(judge(workload, quantity, self.limit(name, quantity.name)?));
        QUANTITIES.iter().filter_map(judge).collect()
    }
}

/// The key of `quantity` in a budget.
#[must_use]
pub fn key(quantity: &Quantity) -> String {
    format!("{PREFIX}{}", quantity.name)
}

fn judge(workload: &WorkloadResult, quantity: &Quantity, limit: f64) -> Check {
    let (name, unit) = (&workload.name, quantity.unit);
    let (passed, detail) = match quantity.of(workload) {
        None => (false, format!("{name}: {unit} not measured, limit is {}", number(limit))),
        Some(value) => {
            (value <= limit, format!("{name}: {} {unit}, limit is {}", number(value), number(limit)))
        }
    };
    Check { name: format!("{name}.{}", key(quantity)), passed, detail }
}

/// A number as people write it: whole ones without a point, others with one or two digits behind it.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return "infinitely many".to_owned();
    }
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    // Not rounded onto the limit that it may be compared with.
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests;
