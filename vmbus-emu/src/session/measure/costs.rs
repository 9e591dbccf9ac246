//! What a workload costs: exits, and the time of the threads that run the guest and of the event thread.

use std::collections::BTreeMap;
use std::time::Duration;

use meter::measurement::{Costs, WorkloadResult};
use rustix::time::{ClockId, clock_gettime};

use crate::machine::Machine;

/// Bytes of a pixel.
const PIXEL_BYTES: f64 = 4.0;

/// What was used up at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    exits_total: Option<u64>,
    exits_user: u64,
    by_reason: BTreeMap<String, u64>,
    event_cpu: Duration,
    vcpu_cpu: Option<Duration>,
}

impl Spent {
    /// By `machine` so far; `event_cpu` is [`thread_cpu`] on its event thread.
    pub(super) fn so_far(machine: &Machine, event_cpu: Duration) -> Self {
        let exits = machine.exits();
        let mut by_reason = machine.kvm_exits_by_reason();
        // What KVM does not tell apart, by this program's own count.
        for (name, count) in [
            ("user_io", exits.io),
            ("user_mmio", exits.mmio),
            ("user_hyperv", exits.hyperv),
            ("user_msr", exits.msr),
            ("user_other", exits.other),
        ] {
            by_reason.insert(name.to_owned(), count);
        }
        Self {
            exits_total: machine.kvm_exits(),
            exits_user: exits.user,
            by_reason,
            event_cpu,
            vcpu_cpu: machine.vcpu_cpu(),
        }
    }

    /// What was spent since, for the traffic in `result`.
    pub(super) fn until(self, later: Self, result: &WorkloadResult) -> Costs {
        let since = |early: u64, late: u64| late.saturating_sub(early);
        let exits_user = since(self.exits_user, later.exits_user);
        // More than half a million years do not fit.
        let us = |early: Duration, late: Duration| {
            u64::try_from(late.saturating_sub(early).as_micros()).unwrap_or(u64::MAX)
        };
        let cpu_us = us(self.event_cpu, later.event_cpu);
        let by_reason = later.by_reason.into_iter().filter_map(|(name, late)| {
            let early = self.by_reason.get(&name).copied().unwrap_or_default();
            Some((name, since(early, late))).filter(|(_, count)| *count > 0)
        });
        let dirt = result.dirt_messages as f64;
        let mib = result.declared_px as f64 * PIXEL_BYTES / f64::from(1 << 20);
        let by = |amount: u64, base: f64| (base > 0.0).then(|| amount as f64 / base);
        Costs {
            exits_total: self.exits_total.zip(later.exits_total).map(|(early, late)| since(early, late)),
            exits_user: Some(exits_user),
            exits_by_reason: by_reason.collect(),
            exits_user_per_dirt: by(exits_user, dirt),
            host_cpu_us: Some(cpu_us),
            vcpu_cpu_us: self.vcpu_cpu.zip(later.vcpu_cpu).map(|(early, late)| us(early, late)),
            host_cpu_us_per_dirt: by(cpu_us, dirt),
            host_cpu_us_per_mib: by(cpu_us, mib),
            ..Costs::default()
        }
    }
}

/// Processor time of the thread that asks.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_differences_and_ratios_of_what_came() {
        let early = Spent {
            exits_total: Some(100),
            exits_user: 10,
            by_reason: BTreeMap::from([("io_exits".into(), 5), ("halt_exits".into(), 7)]),
            event_cpu: Duration::from_micros(50),
            vcpu_cpu: Some(Duration::from_micros(1000)),
        };
        let late = Spent {
            exits_total: Some(160),
            exits_user: 30,
            by_reason: BTreeMap::from([("io_exits".into(), 5), ("halt_exits".into(), 9)]),
            event_cpu: Duration::from_micros(450),
            vcpu_cpu: Some(Duration::from_micros(3500)),
        };
        let result = WorkloadResult { dirt_messages: 10, declared_px: 1 << 18, ..WorkloadResult::default() };
        let costs = early.until(late, &result);
        assert_eq!((costs.exits_total, costs.exits_user), (Some(60), Some(20)));
        assert_eq!(costs.exits_by_reason, BTreeMap::from([("halt_exits".into(), 2)]));
        assert_eq!(costs.exits_user_per_dirt, Some(2.0));
        assert_eq!((costs.host_cpu_us, costs.host_cpu_us_per_dirt), (Some(400), Some(40.0)));
        assert_eq!(costs.host_cpu_us_per_mib, Some(400.0));
        assert_eq!(costs.vcpu_cpu_us, Some(2500));
    }

    #[test]
    fn cost_for_each_dirt_is_null_without_a_dirt() {
        let costs = Spent::default().until(Spent::default(), &WorkloadResult::default());
        assert_eq!((costs.exits_user_per_dirt, costs.host_cpu_us_per_mib), (None, None));
        assert_eq!((costs.exits_total, costs.vcpu_cpu_us), (None, None));
    }

    #[test]
    fn thread_that_works_uses_processor_time() {
        let before = thread_cpu();
        let mut sum = 0_u64;
        while thread_cpu() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu() > before);
    }
}
