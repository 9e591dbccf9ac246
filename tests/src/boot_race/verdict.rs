//! What the boots of one run amount to.

use std::fmt;

use serde::Serialize;

use super::{Boot, Monitor};

/// What must be kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// The median of the program's time over QEMU's must be below this.
    pub ratio: f64,
    /// The program's memory beside guest RAM and VRAM must be below this, in MiB, with one virtual processor.
    pub memory_mib: f64,
    /// What it grows by with each further virtual processor must be below this, in MiB.
    pub memory_per_vcpu_mib: f64,
}

/// Ratios of one run, the program's time over QEMU's in the same round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Of which times.
    pub what: &'static str,
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// Whether the limit applies to it.
    pub limited: bool,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What must be kept.
    pub limits: Limits,
    /// By line.
    pub ratios: Vec<Ratio>,
    /// The program's largest memory with one virtual processor, in MiB; none if it never ran with one.
    pub memory_mib: Option<f64>,
    /// The growth for each further processor, in MiB, from one to the most; none with a single number of processors.
    pub memory_per_vcpu_mib: Option<f64>,
    /// What was not kept, or not measured.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Judges boots.
    #[must_use]
    pub fn of(boots: &[Boot], limits: Limits) -> Self {
        let mut verdict = Self {
            limits,
            ratios: [
                ratio(boots, "hello: init runs", false, |boot| Some(boot.hello_ms), |boot| boot.hello_ms),
                ratio(
                    boots,
                    "modules: drivers are loaded",
                    true,
                    |boot| Some(boot.modules_ms),
                    |boot| boot.modules_ms,
                ),
                ratio(
                    boots,
                    "first DIRT / QEMU's modules",
                    true,
                    |boot| boot.first_dirt_ms,
                    |boot| boot.modules_ms,
                ),
            ]
            .into_iter()
            .flatten()
            .collect(),
            memory_mib: memory_mib(boots, 1),
            memory_per_vcpu_mib: growth_mib(boots),
            broken: Vec::new(),
        };
        verdict.broken = verdict.judge();
        verdict
    }

    fn judge(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.ratios.iter().filter(|ratio| ratio.limited).count() < 2 {
            broken.push("no round has both times of both".to_owned());
        }
        for ratio in self.ratios.iter().filter(|ratio| ratio.limited && ratio.median >= self.limits.ratio) {
            let Ratio { what, median, .. } = ratio;
            broken.push(format!("{what}: median ratio {median:.3}, limit is {}", self.limits.ratio));
        }
        for (what, value, limit) in [
            ("memory with one virtual processor", self.memory_mib, self.limits.memory_mib),
            ("memory for each further one", self.memory_per_vcpu_mib, self.limits.memory_per_vcpu_mib),
        ] {
            match value {
                None => broken.push(format!("{what}: not measured")),
                Some(mib) if mib >= limit => broken.push(format!("{what}: {mib:.2} MiB, limit is {limit}")),
                Some(_) => {}
            }
        }
        broken
    }
}

/// The ratios of the rounds in which both times are there.
fn ratio(
    boots: &[Boot],
    what: &'static str,
    limited: bool,
    ours: fn(&Boot) -> Option<f64>,
    qemus: fn(&Boot) -> f64,
) -> Option<Ratio> {
    let of = |round, monitor| boots.iter().find(|boot| boot.round == Some(round) && boot.monitor == monitor);
    let rounds = boots.iter().filter(|boot| boot.monitor == Monitor::VmbusEmu).filter_map(|boot| boot.round);
    let ratio = |round| {
        let (ours, qemus) = (ours(of(round, Monitor::VmbusEmu)?)?, qemus(of(round, Monitor::Qemu)?));
        Some(ours / qemus)
    };
    let mut ratios: Vec<f64> = rounds.filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let (min, max) = (*ratios.first()?, *ratios.last()?);
    Some(Ratio { what, min, median: median(&ratios)?, max, limited })
}

/// Of values in order.
fn median(sorted: &[f64]) -> Option<f64> {
    let (lower, upper) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*lower, *upper))
}

/// The program's largest memory with so many processors.
fn memory_mib(boots: &[Boot], vcpus: u32) -> Option<f64> {
    let sizes = boots.iter().filter(|boot| boot.vcpus == vcpus).filter_map(|boot| boot.vmm_memory_kib);
    sizes.max().map(mib)
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

fn growth_mib(boots: &[Boot]) -> Option<f64> {
    let most = boots.iter().filter(|boot| boot.vmm_memory_kib.is_some()).map(|boot| boot.vcpus).max()?;
    let more = most.checked_sub(1).filter(|more| *more > 0)?;
    Some((memory_mib(boots, most)? - memory_mib(boots, 1)?) / f64::from(more))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { ratio, memory_mib, memory_per_vcpu_mib } = self.limits;
        for Ratio { what, min, median, max, limited } in &self.ratios {
            let limit = if *limited { format!(", limit is {ratio}") } else { String::new() };
            writeln!(
                f,
                "{what:<28} ratio vmbus-emu/QEMU: median {median:.3}, from {min:.3} to {max:.3}{limit}"
            )?;
        }
        let mib = |value: Option<f64>| {
            value.map_or_else(|| "not measured".to_owned(), |mib| format!("{mib:.2} MiB"))
        };
        writeln!(f, "memory with 1 vCPU {}, limit is {memory_mib} MiB", mib(self.memory_mib))?;
        writeln!(
            f,
            "memory for each more {}, limit is {memory_per_vcpu_mib} MiB",
            mib(self.memory_per_vcpu_mib)
        )?;
        self.broken.iter().try_for_each(|broken| writeln!(f, "NOT KEPT: {broken}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { ratio: 0.8, memory_mib: 24.0, memory_per_vcpu_mib: 0.5 };

    fn boot(round: Option<u32>, monitor: Monitor, vcpus: u32, ms: f64, kib: u64) -> Boot {
        let ours = monitor == Monitor::VmbusEmu;
        Boot {
            round,
            monitor,
            vcpus,
            hello_ms: ms / 2.0,
            modules_ms: ms,
            first_dirt_ms: ours.then_some(ms + 50.0),
            vmm_memory_kib: ours.then_some(kib),
        }
    }

    /// Three rounds in which QEMU takes 1000 ms, and the program these; with 3 processors it holds `kib`.
    fn boots(ours: [f64; 3], kib: u64) -> Vec<Boot> {
        let rounds = (1..).zip(ours).flat_map(|(round, ms)| {
            [
                boot(Some(round), Monitor::VmbusEmu, 1, ms, 10 << 10),
                boot(Some(round), Monitor::Qemu, 1, 1000.0, 0),
            ]
        });
        rounds.chain([boot(None, Monitor::VmbusEmu, 3, 700.0, kib)]).collect()
    }

    #[test]
    fn median_of_the_rounds_decides() {
        let verdict = Verdict::of(&boots([700.0, 2000.0, 600.0], 10 << 10), LIMITS);
        assert_eq!(verdict.broken, [""; 0], "{verdict}");
        let modules = verdict.ratios.iter().find(|ratio| ratio.what.starts_with("modules")).unwrap();
        assert_eq!((modules.min, modules.median, modules.max), (0.6, 0.7, 2.0));
        let slow = Verdict::of(&boots([700.0, 800.0, 900.0], 10 << 10), LIMITS);
        assert_eq!(slow.broken.len(), 2, "{slow}");
        assert!(slow.broken[0].contains("median ratio 0.800, limit is 0.8"), "{slow}");
    }

    #[test]
    fn first_dirt_that_is_late_breaks_the_limit_alone() {
        let late = Verdict::of(&boots([760.0; 3], 10 << 10), LIMITS);
        assert_eq!(late.broken.len(), 1, "{late}");
        assert!(late.broken[0].starts_with("first DIRT"), "{late}");
    }

    #[test]
    fn memory_has_a_limit_at_one_processor_and_for_each_more() {
        let grown = Verdict::of(&boots([700.0; 3], 11 << 10), LIMITS);
        assert_eq!((grown.memory_mib, grown.memory_per_vcpu_mib), (Some(10.0), Some(0.5)));
        assert_eq!(grown.broken, ["memory for each further one: 0.50 MiB, limit is 0.5"]);
        let tight = Limits { memory_mib: 10.0, memory_per_vcpu_mib: 1.0, ..LIMITS };
        let large = Verdict::of(&boots([700.0; 3], 11 << 10), tight);
        assert_eq!(large.broken, ["memory with one virtual processor: 10.00 MiB, limit is 10"]);
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        assert_eq!(Verdict::of(&[], LIMITS).broken.len(), 3);
        let half = [boot(Some(1), Monitor::VmbusEmu, 1, 1.0, 1)];
        assert_eq!(Verdict::of(&half, LIMITS).broken.len(), 2);
    }
}
