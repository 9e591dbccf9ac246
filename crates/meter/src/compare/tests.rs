use super::*;
use crate::measurement::{self, Settings, WorkloadResult};
use crate::meter::Meter;
use crate::report::{Guest, Host, Kvm, LabClock, Report, Synic};

fn measurement(workloads: Vec<WorkloadResult>) -> Measurement {
    let host = Host {
        kvm: Kvm::Lab,
        lab_clock: Some(LabClock::Host),
        synic: Synic::Kernel,
        version: "0".into(),
        kernel: None,
        vcpus: Some(1),
        ram_bytes: None,
        duration_ms: None,
        vmm_memory_kib: None,
    };
    let report = Report::new(host, Guest::default(), 1, &Meter::new());
    Measurement {
        schema: measurement::SCHEMA.into(),
        host: report.host,
        guest: report.guest,
        device: report.device,
        settings: Settings {
            grace_ms: 100,
            sample_ms: 10,
            tile_px: 32,
            seed: 1,
            scale_percent: 100,
            oracle: true,
        },
        workloads,
        checks: Vec::new(),
        limits: Vec::new(),
    }
}

fn scroll(dirt_messages: u64) -> WorkloadResult {
    WorkloadResult {
        name: "scroll".into(),
        dirt_messages,
        duration_ms: 10_000.0,
        window_ms: 10_000.0,
        changed_px: Some(1_000),
        ..WorkloadResult::default()
    }
}

fn runs(dirt_messages: &[u64]) -> Vec<Measurement> {
    dirt_messages.iter().map(|messages| measurement(vec![scroll(*messages)])).collect()
}

fn row<'a>(comparison: &'a Comparison, quantity: &str) -> &'a Row {
    comparison.rows.iter().find(|row| row.quantity == quantity).expect("a row")
}

#[test]
fn guest_against_itself_is_not_distinguishable_in_anything() {
    let a = runs(&[201, 199, 204, 200]);
    let b = runs(&[200, 203, 198, 201]);
    for comparison in [compare(&a, &a), compare(&a, &b), compare(&b, &a)] {
        assert_eq!(comparison.rule, Rule::Permutation);
        assert!(
            comparison.rows.iter().all(|row| row.verdict == Verdict::NotDistinguishable),
            "{:?}",
            comparison.rows
        );
        assert_eq!(comparison.worse().count(), 0);
    }
}

#[test]
fn three_times_the_messages_are_worse_and_a_third_is_better() {
    let (slow, fast) = (runs(&[200, 201, 199, 200]), runs(&[600, 610, 590, 604]));
    let comparison = compare(&slow, &fast);
    let messages = row(&comparison, "dirt_messages");
    assert_eq!((messages.verdict, messages.p), (Verdict::Worse, Some(2.0 / 70.0)));
    assert_eq!(messages.a, Some(Sample { median: 200.0, min: 199.0, max: 201.0 }));
    assert_eq!(messages.change_percent, Some(201.0));
    assert!(comparison.worse().any(|row| row.quantity == "dirt_messages" && !row.hint));
    assert_eq!(row(&compare(&fast, &slow), "dirt_per_s").verdict, Verdict::Better);
}

#[test]
fn small_shift_of_every_run_stays_within_the_tolerance() {
    let comparison = compare(&runs(&[200, 200, 200, 200]), &runs(&[204, 204, 204, 204]));
    assert_eq!(row(&comparison, "dirt_messages").verdict, Verdict::NotDistinguishable);
}

#[test]
fn single_reports_are_judged_by_counts_alone_and_say_so() {
    let comparison = compare(&runs(&[200]), &runs(&[300]));
    assert_eq!(comparison.rule, Rule::Tolerance);
    assert_eq!(row(&comparison, "dirt_messages").verdict, Verdict::Worse);
    assert!(row(&comparison, "dirt_messages").hint);
    assert_eq!(comparison.worse().count(), 0, "a hint fails nobody");
    assert_eq!(row(&comparison, "duration_ms").verdict, Verdict::TooFewRuns);
    assert!(comparison.limits[0].starts_with("fewer than 4 runs"), "{:?}", comparison.limits);
    let same = compare(&runs(&[5]), &runs(&[7]));
    assert_eq!(row(&same, "dirt_messages").verdict, Verdict::NotDistinguishable);
}

#[test]
fn single_mistake_more_is_worse() {
    let mut with_mistake = scroll(200);
    with_mistake.missed_px = Some(1);
    let mut without = scroll(200);
    without.missed_px = Some(0);
    let comparison = compare(&[measurement(vec![without])], &[measurement(vec![with_mistake])]);
    assert_eq!(row(&comparison, "missed_px").verdict, Verdict::Worse);
    assert_eq!(comparison.worse().map(|row| row.quantity.as_str()).collect::<Vec<_>>(), ["missed_px"]);
}

#[test]
fn amount_of_changed_pixels_is_neither_better_nor_worse() {
    let mut more = scroll(200);
    more.changed_px = Some(5_000);
    let comparison = compare(&runs(&[200]), &[measurement(vec![more])]);
    assert_eq!(row(&comparison, "changed_px").verdict, Verdict::Different);
}

#[test]
fn number_that_one_side_lacks_is_not_measured() {
    let mut without_oracle = scroll(200);
    without_oracle.changed_px = None;
    let comparison = compare(&runs(&[200]), &[measurement(vec![without_oracle])]);
    let changed = row(&comparison, "changed_px");
    assert_eq!((changed.verdict, changed.b), (Verdict::NotMeasured, None));
}

#[test]
fn workload_that_did_not_run_everywhere_is_left_out_and_told() {
    let mut broken = scroll(3);
    broken.not_run = Some("the guest is gone".into());
    let comparison = compare(&runs(&[200]), &[measurement(vec![broken])]);
    assert_eq!(comparison.rows, []);
    assert!(comparison.limits[0].contains("scroll is not compared: it ran to its end in 1 of 2 runs"));
}

#[test]
fn unequal_clocks_of_the_lab_are_told_and_a_report_from_before_there_were_two_is_of_the_hosts() {
    let told = |clock| {
        let mut other = runs(&[200]);
        other[0].host.lab_clock = clock;
        compare(&runs(&[200]), &other).limits.iter().any(|limit| limit.contains("clock of the lab"))
    };
    assert!(told(Some(LabClock::Instructions)));
    assert!(!told(Some(LabClock::Host)) && !told(None));
}

#[test]
fn unequal_settings_are_told() {
    let mut other = runs(&[200]);
    other[0].settings.scale_percent = 10;
    let comparison = compare(&runs(&[200]), &other);
    assert!(comparison.limits.iter().any(|limit| limit.contains("settings")), "{:?}", comparison.limits);
}

#[test]
fn nothing_compared_with_nothing_has_no_rows() {
    let comparison = compare(&[], &[]);
    assert_eq!((comparison.rows, comparison.rule), (Vec::new(), Rule::Tolerance));
}
