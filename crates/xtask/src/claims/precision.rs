//! How far the instrument itself disturbs and repeats.

use super::evidence::Evidence;
use super::page::shown;
use super::run::{self, Run, run};
use super::section::{Section, Verdicts};

const VERDICTS: Verdicts = Verdicts { kind: "property", holds: "holds", fails: "does not hold here" };

/// Largest ratio of a workload with the oracle to one without it.
const OVERHEAD: f64 = 1.05;
/// Windows of a workload.
const WINDOWS: f64 = 10.0;
/// Largest difference of a count within them, in percent of the largest.
const SPREAD: f64 = 5.0;

/// What is measured again and again, and by which run of a guest.
const REPEATED: [(&str, &str); 4] =
    [("box", "repeats"), ("corners", "repeats"), ("straddle", "repeats"), ("lines", "repeats-lines")];

pub(super) const RUNS: [Run; 7] = [
    run(
        "overhead-hyperv_fb",
        "measure --guest debian/6.1-cloud --cpus 1 --workload flood --scale 1 --oracle-overhead=3",
    ),
    run(
        "overhead-hyperv_drm",
        "measure --guest debian/7.x --cpus 1 --workload flood --scale 1 --oracle-overhead=3",
    ),
    run(
        "overhead-hyperv_drm-6.12",
        "measure --guest debian/6.12 --cpus 1 --workload flood --scale 1 --oracle-overhead=2",
    ),
    run(
        "repeats-hyperv_fb",
        "measure --guest debian/6.1-cloud --workload box,corners,straddle --scale 20 --repeat 10",
    ),
    run(
        "repeats-hyperv_drm",
        "measure --guest debian/7.x --workload box,corners,straddle --scale 20 --repeat 10",
    ),
    // At 20 percent this is six refreshes, of which one more or less is too much to say anything.
    run(
        "repeats-lines-hyperv_fb",
        "measure --guest debian/6.1-cloud --workload lines --scale 200 --repeat 10",
    ),
    run("repeats-lines-hyperv_drm", "measure --guest debian/7.x --workload lines --scale 200 --repeat 10"),
];

const HEAD: &str = "# How precise the measurements are\n\n\
    Made by `cargo xtask claims` from the reports in `docs/claims/`; every number and every verdict is worked out from them, none is \
    typed in. Runs in the KVM lab are of an emulated machine with one processor, whose clock goes by instructions while it is busy: what the \
    host's speed and load do to a measurement is not in these numbers, but for the moments in which the lab wakes up.\n\n";

/// The whole page.
pub(super) fn markdown(evidence: &Evidence) -> String {
    let mut page = HEAD.to_owned();
    let all = [overhead(evidence), repeats(evidence, &HYPERV_FB), repeats(evidence, &HYPERV_DRM)];
    VERDICTS.table(&mut page, &all);
    for one in &all {
        VERDICTS.section(&mut page, one, &run::raw(evidence, one, &RUNS));
    }
    page
}

fn overhead(evidence: &Evidence) -> Section {
    const GUESTS: [(&str, &str); 3] = [
        ("hyperv_fb (6.1)", "overhead-hyperv_fb"),
        ("hyperv_drm with a vblank timer (7.x)", "overhead-hyperv_drm"),
        ("hyperv_drm without one (6.12), unjudged", "overhead-hyperv_drm-6.12"),
    ];
    let ratio =
        |report: &str, of: &str| evidence.number(report, "flood", &format!("oracle_overhead/{of}/ratio"));
    let mut rows = Vec::new();
    for (guest, report) in GUESTS {
        for (what, key) in [
            ("processor time of the vCPU threads", "vcpu_cpu_us"),
            ("duration", "duration_ms"),
            ("processor time of the event thread", "host_cpu_us"),
        ] {
            rows.push((format!("{guest}: {what}, with / without"), shown(ratio(report, key), "")));
        }
    }
    let judged = [
        ratio("overhead-hyperv_fb", "vcpu_cpu_us"),
        ratio("overhead-hyperv_fb", "duration_ms"),
        ratio("overhead-hyperv_drm", "vcpu_cpu_us"),
        ratio("overhead-hyperv_drm", "duration_ms"),
    ];
    Section {
        title: "The oracle costs a guest less than 5 %",
        says: "A console flood, which has no pace and takes as long as it takes, with the oracle and without it in the order A B B A, in one guest. \
               Without it KVM keeps no dirty log. Judged are the processor time of the threads that run the guest, and the duration; the event \
               thread's time is the oracle's own. On the lab's one processor the duration has it in it, on a machine with a second \
               processor it has not. Without a vblank timer hyperv_drm's worker sends as often as it gets the processor: with the event thread on \
               that processor it sends fewer and larger DIRT, so the two passes are not the same work, and their ratio is not judged.",
        rows,
        holds: judged
            .into_iter()
            .collect::<Option<Vec<f64>>>()
            .map(|ratios| ratios.into_iter().all(|ratio| ratio < OVERHEAD)),
        reports: &["overhead-hyperv_fb", "overhead-hyperv_drm", "overhead-hyperv_drm-6.12"],
    }
}

/// A driver whose workloads are repeated.
struct Repeated {
    title: &'static str,
    says: &'static str,
    /// The end of its reports' names.
    driver: &'static str,
    reports: &'static [&'static str],
}

const HYPERV_FB: Repeated = Repeated {
    title: "Ten windows of a workload agree within 5 % under hyperv_fb (6.1)",
    says: "The same workload ten times in one guest: the largest spread of DIRT messages, declared and changed pixels, from the least to the \
           most, in percent of the most. `box` moves at 30 Hz and `lines` come at once and then one by one, so how they fall into the driver's \
           refreshes is part of it. hyperv_fb's refresh is started by what is drawn first, and so goes with the workload.",
    driver: "hyperv_fb",
    reports: &["repeats-hyperv_fb", "repeats-lines-hyperv_fb"],
};

const HYPERV_DRM: Repeated = Repeated {
    title: "Ten windows of a workload agree within 5 % under hyperv_drm with a vblank timer (7.x)",
    says: "The same. This driver's vblank timer does not start with what is drawn, so one workload can fall into its refreshes in more than one \
           way.",
    driver: "hyperv_drm",
    reports: &["repeats-hyperv_drm", "repeats-lines-hyperv_drm"],
};

fn repeats(evidence: &Evidence, repeated: &Repeated) -> Section {
    let (mut rows, mut spreads) = (Vec::new(), Vec::new());
    for (workload, run) in REPEATED {
        let report = format!("{run}-{}", repeated.driver);
        let number = |key: &str| evidence.number(&report, workload, key);
        let spread = number("repeats/spread_percent").filter(|_| number("repeats/windows") == Some(WINDOWS));
        let windows = shown(number("repeats/windows"), "windows");
        rows.push((format!("{workload}, {windows}: spread"), shown(spread, "%")));
        spreads.push(spread);
    }
    Section {
        title: repeated.title,
        says: repeated.says,
        rows,
        holds: spreads
            .into_iter()
            .collect::<Option<Vec<f64>>>()
            .map(|spreads| spreads.into_iter().all(|spread| spread <= SPREAD)),
        reports: repeated.reports,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn flood(vcpu: f64, duration: f64) -> Value {
        let overhead = json!({"vcpu_cpu_us": {"ratio": vcpu}, "duration_ms": {"ratio": duration}});
        json!({"workloads": [{"name": "flood", "not_run": null, "oracle_overhead": overhead}]})
    }

    #[test]
    fn overhead_is_judged_by_the_vcpu_threads_and_the_duration_of_both_drivers() {
        let holds = |fb: Value, drm: Value| {
            overhead(&Evidence::of([("overhead-hyperv_fb", fb), ("overhead-hyperv_drm", drm)])).holds
        };
        assert_eq!(holds(flood(1.0, 1.04), flood(1.02, 1.0)), Some(true));
        assert_eq!(holds(flood(1.05, 1.0), flood(1.0, 1.0)), Some(false));
        assert_eq!(holds(flood(1.0, 1.0), flood(1.0, 1.3)), Some(false));
        assert_eq!(overhead(&Evidence::of([("overhead-hyperv_fb", flood(1.0, 1.0))])).holds, None);
    }

    #[test]
    fn one_workload_that_spreads_is_enough_to_fail() {
        let report = |workloads: &[&str], windows: u32, spread: f64| {
            let repeats = json!({"windows": windows, "spread_percent": spread});
            let one = |name: &&str| json!({"name": name, "not_run": null, "repeats": repeats});
            json!({"workloads": workloads.iter().map(one).collect::<Vec<_>>()})
        };
        let holds = |windows: u32, paced: f64, lines: f64| {
            let evidence = Evidence::of([
                ("repeats-hyperv_fb", report(&["box", "corners", "straddle"], windows, paced)),
                ("repeats-lines-hyperv_fb", report(&["lines"], 10, lines)),
            ]);
            assert_eq!(repeats(&evidence, &HYPERV_DRM).holds, None, "the other driver was not measured");
            repeats(&evidence, &HYPERV_FB).holds
        };
        assert_eq!((holds(10, 5.0, 0.0), holds(10, 0.0, 5.1)), (Some(true), Some(false)));
        assert_eq!(holds(2, 0.0, 0.0), None, "two windows are not ten");
    }
}
