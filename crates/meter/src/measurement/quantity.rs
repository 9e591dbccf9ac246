//! Numbers of a workload that budgets bound and comparisons compare, each under one name.

use super::{TimelinePoint, WorkloadResult};

/// Which way a quantity had better go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither: it says what was done, not how well.
    Neither,
}

/// How much a quantity differs from one run to the next of the same guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counted: two runs nearly agree.
    Count,
    /// A count of mistakes: one is one too many.
    Mistakes,
    /// Timed: host and neighbours are in it.
    Time,
}

/// A number that one workload has.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Its name; `max_` before it gives the key in a budget.
    pub name: &'static str,
    /// What follows its value in a sentence.
    pub unit: &'static str,
    /// Which way it had better go.
    pub better: Better,
    /// How it came to be.
    pub kind: Kind,
    /// It is only known where pixels were compared.
    pub needs_oracle: bool,
    /// What it is, as a sentence without a full stop.
    pub meaning: &'static str,
    value: fn(&WorkloadResult) -> Option<f64>,
}

impl Quantity {
    /// Its value in `workload`, or `None` if nobody measured it. Infinite for a ratio whose base is nothing.
    #[must_use]
    pub fn of(&self, workload: &WorkloadResult) -> Option<f64> {
        (self.value)(workload).filter(|value| !value.is_nan())
    }

    /// The quantity called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        QUANTITIES.iter().find(|quantity| quantity.name == name)
    }
}

const PLAIN: Quantity = Quantity {
    name: "",
    unit: "",
    better: Better::Lower,
    kind: Kind::Count,
    needs_oracle: false,
    meaning: "",
    value: |_| None,
};

const MISTAKES: Quantity = Quantity { kind: Kind::Mistakes, ..PLAIN };
const ORACLE: Quantity = Quantity { needs_oracle: true, ..PLAIN };
const TIME: Quantity = Quantity { kind: Kind::Time, ..PLAIN };

/// Every quantity.
pub const QUANTITIES: [Quantity; 31] = [
    Quantity {
        name: "dirt_messages",
        unit: "DIRT",
        meaning: "DIRT messages",
        value: |w| count(w.dirt_messages),
        ..PLAIN
    },
    Quantity {
        name: "dirt_per_s",
        unit: "DIRT/s",
        meaning: "DIRT messages a second during the workload and the 160 ms after it, in which a last refresh may come; less than a second counts as one",
        value: |w| per_second(w.dirt_messages, |slice| slice.dirt_messages, w),
        ..PLAIN
    },
    Quantity {
        name: "dirt_in_1s",
        unit: "DIRT in the busiest second",
        meaning: "Most DIRT messages in any one second",
        value: |w| count(w.max_dirt_in_1s),
        ..PLAIN
    },
    Quantity {
        name: "declared_px",
        unit: "px declared",
        meaning: "Pixels declared, overlaps counted each time",
        value: |w| count(w.declared_px),
        ..PLAIN
    },
    Quantity {
        name: "declared_px_per_s",
        unit: "px/s declared",
        meaning: "Pixels declared a second in the same time",
        value: |w| per_second(w.declared_px, |slice| slice.declared_px, w),
        ..PLAIN
    },
    Quantity {
        name: "over_declaration",
        unit: "px declared for each px changed",
        meaning: "Pixels declared by pixels changed; 0 if none was declared, infinite if some were and none changed",
        value: |w| ratio_or_infinite(w.declared_px, w.changed_px?),
        ..ORACLE
    },
    Quantity {
        name: "over_declared_px",
        unit: "px declared unchanged",
        meaning: "Declared pixels that had not changed since they were last declared",
        value: |w| count(w.over_declared_px?),
        ..ORACLE
    },
    Quantity {
        name: "implied_px",
        unit: "px copied without a DIRT",
        meaning: "Pixels that the host copied without a DIRT",
        value: |w| count(w.implied_px),
        ..PLAIN
    },
    Quantity {
        name: "written_pages",
        unit: "pages written",
        meaning: "Pages of 4 KiB written, once for every look at the log that found them so",
        value: |w| count(w.written_pages?),
        ..ORACLE
    },
    Quantity {
        name: "changed_px",
        unit: "px changed",
        better: Better::Neither,
        meaning: "Pixels whose value in VRAM changed",
        value: |w| count(w.changed_px?),
        ..ORACLE
    },
    Quantity {
        name: "rewritten_px",
        unit: "px rewritten",
        meaning: "Pixels on written pages whose value did not change",
        value: |w| count(w.rewritten_px?),
        ..ORACLE
    },
    Quantity {
        name: "missed_px",
        unit: "px missed",
        kind: Kind::Mistakes,
        meaning: "Changed pixels that no DIRT covered within the grace time, while dirt was wanted",
        value: |w| count(w.missed_px?),
        ..ORACLE
    },
    Quantity {
        name: "stale_tiles",
        unit: "stale tiles",
        meaning: "Tiles in which the host's picture differs from what the guest says that it drew",
        value: |w| count(w.stale.as_ref()?.differing),
        ..MISTAKES
    },
    Quantity {
        name: "unwanted_dirt",
        unit: "DIRT unwanted",
        meaning: "DIRT messages that came while the host wanted none, one refresh period granted",
        value: |w| count(w.unwanted_dirt),
        ..MISTAKES
    },
    Quantity {
        name: "rejected_rects",
        unit: "rectangles refused",
        meaning: "Rectangles refused: empty, inverted, or wholly off the screen",
        value: |w| count(w.rejected_rects),
        ..MISTAKES
    },
    Quantity {
        name: "ring_full",
        unit: "times the ring was full",
        meaning: "Times at which the guest's ring was seen too full for another DIRT",
        value: |w| count(w.ring_full?),
        ..MISTAKES
    },
    Quantity {
        name: "signals",
        unit: "signals",
        meaning: "Doorbell rings",
        value: |w| count(w.signals?),
        ..PLAIN
    },
    Quantity {
        name: "doorbell_to_surface_p50_us",
        unit: "us from doorbell to surface (median)",
        meaning: "Median time from a doorbell to the pixels of its DIRT in the surface",
        value: |w| w.latency_us.doorbell_to_surface.p50,
        ..TIME
    },
    Quantity {
        name: "doorbell_to_surface_p99_us",
        unit: "us from doorbell to surface (p99)",
        meaning: "99 of 100 such times are not longer",
        value: |w| w.latency_us.doorbell_to_surface.p99,
        ..TIME
    },
    Quantity {
        name: "write_to_dirt_p50_us",
        unit: "us from a change to its DIRT (median)",
        needs_oracle: true,
        meaning: "Median time from the look that found a page changed to the DIRT that covers it",
        value: |w| w.latency_us.write_to_dirt.p50,
        ..TIME
    },
    Quantity {
        name: "write_to_dirt_p99_us",
        unit: "us from a change to its DIRT (p99)",
        needs_oracle: true,
        meaning: "99 of 100 such times are not longer",
        value: |w| w.latency_us.write_to_dirt.p99,
        ..TIME
    },
    Quantity {
        name: "exits_total",
        unit: "exits",
        kind: Kind::Time,
        meaning: "Exits of the virtual processors, those that the kernel handled included",
        value: |w| count(w.costs.exits_total?),
        ..PLAIN
    },
    Quantity {
        name: "exits_user",
        unit: "exits to user space",
        meaning: "Exits to this program",
        value: |w| count(w.costs.exits_user?),
        ..PLAIN
    },
    Quantity {
        name: "exits_user_per_dirt",
        unit: "exits to user space for each DIRT",
        meaning: "Exits to this program for each DIRT message",
        value: |w| w.costs.exits_user_per_dirt,
        ..PLAIN
    },
    Quantity {
        name: "host_cpu_us_per_dirt",
        unit: "us of host CPU for each DIRT",
        meaning: "Processor time of the event thread for each DIRT message",
        value: |w| w.costs.host_cpu_us_per_dirt,
        ..TIME
    },
    Quantity {
        name: "host_cpu_us_per_mib",
        unit: "us of host CPU for each MiB declared",
        meaning: "Processor time of the event thread for each MiB declared",
        value: |w| w.costs.host_cpu_us_per_mib,
        ..TIME
    },
    Quantity {
        name: "vcpu_cpu_us",
        unit: "us of the vCPU threads",
        meaning: "Processor time of the threads that run the guest, KVM's work for it included",
        value: |w| count(w.costs.vcpu_cpu_us?),
        ..TIME
    },
    Quantity {
        name: "guest_cpu_ms",
        unit: "ms of guest CPU",
        meaning: "Processor time in the guest, by the guest's own count",
        value: |w| count(w.costs.guest_cpu_ms?),
        ..TIME
    },
    Quantity {
        name: "duration_ms",
        unit: "ms",
        meaning: "Time from the workload's request to the guest's answer",
        value: |w| Some(w.duration_ms),
        ..TIME
    },
    Quantity {
        name: "spread",
        unit: "% between the counts of its windows",
        meaning: "Spread of DIRT messages, declared and changed pixels over the windows of `--repeat`: from the least to the most, in percent of the most",
        value: |w| Some(w.repeats.as_ref()?.spread_percent),
        ..TIME
    },
    Quantity {
        name: "oracle_overhead",
        unit: "times the vCPU threads' time with the oracle",
        needs_oracle: true,
        meaning: "Processor time of the threads that run the guest with the oracle by that without it (`--oracle-overhead`)",
        value: |w| w.oracle_overhead.as_ref()?.vcpu_cpu_us.ratio,
        ..TIME
    },
];

/// Exact up to 2^53, which is more pixels than a guest can declare in a year.
fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

/// What comes after the guest's answer, in milliseconds: three refresh periods of hyperv_fb.
const AFTERWARDS_MS: f64 = 160.0;

/// With the time afterwards, the first and the last message of a periodic stream do not make it look faster than its
/// period. The whole window would not do: the grace time in it is the user's, and a driver that never rests goes on there.
fn per_second(total: u64, of: fn(&TimelinePoint) -> u64, workload: &WorkloadResult) -> Option<f64> {
    let until_ms = workload.duration_ms + AFTERWARDS_MS;
    let slices = workload.timeline.iter().filter(|slice| slice.at_ms < until_ms);
    let count = if workload.timeline.is_empty() { total } else { slices.map(of).sum() };
    Some(count as f64 / (until_ms / 1_000.0).max(1.0))
}

fn ratio_or_infinite(declared_px: u64, changed_px: u64) -> Option<f64> {
    match (declared_px, changed_px) {
        (0, _) => Some(0.0),
        (_, 0) => Some(f64::INFINITY),
        _ => Some(declared_px as f64 / changed_px as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, workload: &WorkloadResult) -> Option<f64> {
        Quantity::named(name).expect("a quantity").of(workload)
    }

    #[test]
    fn names_are_unique() {
        let mut names = QUANTITIES.map(|quantity| quantity.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn workload_of_less_than_a_second_counts_as_one() {
        let mut workload =
            WorkloadResult { dirt_messages: 3, duration_ms: 200.0, ..WorkloadResult::default() };
        assert_eq!(value("dirt_per_s", &workload), Some(3.0));
        workload.duration_ms = 1_840.0;
        assert_eq!(value("dirt_per_s", &workload), Some(1.5));
    }

    #[test]
    fn what_a_restless_driver_sends_after_the_workload_is_in_no_rate() {
        let slice = |at_ms| TimelinePoint { at_ms, dirt_messages: 2, ..TimelinePoint::default() };
        let workload = WorkloadResult {
            dirt_messages: 80,
            duration_ms: 1_840.0,
            timeline: (0..40).map(|at| slice(f64::from(at) * 100.0)).collect(),
            ..WorkloadResult::default()
        };
        assert_eq!(value("dirt_per_s", &workload), Some(20.0));
    }

    #[test]
    fn over_declaration_is_null_without_an_oracle_and_infinite_without_a_change() {
        let mut workload = WorkloadResult { declared_px: 100, ..WorkloadResult::default() };
        assert_eq!(value("over_declaration", &workload), None);
        workload.changed_px = Some(0);
        assert_eq!(value("over_declaration", &workload), Some(f64::INFINITY));
        workload.changed_px = Some(50);
        assert_eq!(value("over_declaration", &workload), Some(2.0));
        workload.declared_px = 0;
        assert_eq!(value("over_declaration", &workload), Some(0.0));
    }

    #[test]
    fn what_was_not_measured_has_no_value() {
        let nothing = WorkloadResult::default();
        for quantity in QUANTITIES.iter().filter(|quantity| quantity.needs_oracle) {
            assert_eq!(quantity.of(&nothing), None, "{}", quantity.name);
        }
        assert_eq!(value("ring_full", &nothing), None);
        assert_eq!(value("exits_user_per_dirt", &nothing), None);
    }
}
