use serde_json::{Value, json};

use super::*;

fn flood(messages: u64) -> Value {
    json!({"workloads": [{"name": "flood", "not_run": null, "duration_ms": 1000.0, "operations": 1000, "dirt_messages": messages}]})
}

#[test]
fn page_without_reports_says_that_nothing_was_measured() {
    let evidence = Evidence::default();
    let page = markdown(&evidence);
    assert!(all(&evidence).iter().all(|one| one.holds.is_none()), "{page}");
    assert!(!page.contains(".json)"), "a link to a report that is not there: {page}");
    assert!(!page.contains("| confirmed |") && !page.contains("| refuted here |"), "{page}");
}

#[test]
fn every_report_that_a_hypothesis_names_is_of_a_run_or_of_the_claims() {
    for one in all(&Evidence::default()) {
        assert!(!one.reports.is_empty(), "{}", one.title);
        for name in one.reports {
            assert!(*name == "stock" || RUNS.iter().any(|run| run.name == *name), "{}: {name}", one.title);
        }
    }
}

#[test]
fn flood_is_judged_by_its_order() {
    let holds = |before, after| {
        let reports =
            [("flood-before", flood(before)), ("flood-after", flood(after)), ("flood-hyperv_fb", flood(10))];
        traffic::flood(&Evidence::of(reports)).holds
    };
    assert_eq!((holds(3000, 20), holds(1999, 20), holds(3000, 31)), (Some(true), Some(false), Some(false)));
    assert_eq!(holds(999, 5), Some(false), "less than a message a line");
    assert_eq!(holds(9000, 61), Some(false), "more a second than there are vblanks");
    assert_eq!(traffic::flood(&Evidence::of([("flood-before", flood(3000))])).holds, None);
}

#[test]
fn what_a_message_takes_is_worked_out_from_the_time_that_the_lines_do_not_explain() {
    let one = |messages: u64, ms: f64| {
        let mut report = flood(messages);
        report["workloads"][0]["duration_ms"] = json!(ms);
        report
    };
    let rows = |before, after| {
        let reports = [("flood-before", before), ("flood-after", after), ("flood-hyperv_fb", flood(10))];
        let told = traffic::flood(&Evidence::of(reports)).rows;
        told.iter().rev().take(2).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    // 1000 lines in 200 ms, and 400 more messages in 600 ms more.
    assert_eq!(rows(one(420, 800.0), one(20, 200.0)), ["1500 us", "200 us"]);
    assert_eq!(rows(one(20, 800.0), one(20, 200.0)), ["not measured", "not measured"]);
}

#[test]
fn redraw_of_one_driver_refutes_and_one_that_was_not_measured_leaves_it_open() {
    let report = |dirt: u64| {
        let unwanted = json!({"dirt_when_wanted_again": dirt, "changed_px": 5});
        let one = |name| json!({"name": name, "not_run": null, "unwanted": unwanted});
        json!({"workloads": [one("lines"), one("idle")]})
    };
    let holds = |fb: Value, drm: Value| {
        let reports = [("again-hyperv_fb", fb), ("again-hyperv_drm", drm)];
        drivers::no_redraw_when_wanted_again(&Evidence::of(reports)).holds
    };
    assert_eq!(holds(report(0), report(0)), Some(true));
    assert_eq!(holds(report(0), report(1)), Some(false));
    assert_eq!(holds(report(0), json!({})), None);
}

#[test]
fn fallback_is_judged_on_the_bus_version_that_was_really_spoken() {
    let run = |vmbus: &str, up: bool| {
        json!({
            "device": {"vmbus_version": vmbus, "synthvid_version": if up { Some("3.2") } else { None }},
            "checks": [{"name": "driver", "passed": up, "detail": "x"}],
            "console": {"tail": ["[ 1.0] Synthetic video device version not accepted"]},
        })
    };
    let holds = |last: Value| {
        host::fallback(&Evidence::of([
            ("only-3.2-vmbus-4.0-hyperv_fb", run("4.0", true)),
            ("only-3.2-vmbus-5.0-hyperv_fb", run("5.0", true)),
            ("only-3.2-vmbus-5.3-hyperv_fb", run("5.3", false)),
            ("only-3.2-vmbus-5.0-hyperv_drm", run("5.0", true)),
            ("only-3.2-vmbus-5.3-hyperv_drm", last),
        ]))
        .holds
    };
    assert_eq!(holds(run("5.3", false)), Some(true));
    assert_eq!(holds(run("5.3", true)), Some(false));
    assert_eq!(holds(run("5.2", false)), Some(false));
}

#[test]
fn late_acknowledgement_is_judged_by_the_waits_and_only_where_the_host_was_late() {
    let holds = |limit: &str, tail: &[&str]| {
        let report = json!({"limits": [limit], "checks": [{"name": "driver", "passed": true, "detail": "x"},
            {"name": "hibernate", "passed": true, "detail": "x"}], "console": {"tail": tail}});
        host::late_ack_ends_the_next_wait(&Evidence::of([("ack-late-12-then-thaw", report)])).holds
    };
    let late = "test equipment: the host was told to misbehave, vram-ack=late:12";
    let (version, wait) = ("Synthvid Version major 3, minor 5", "Time out on waiting vram location ack");
    assert_eq!(holds(late, &[version, wait, version]), Some(true));
    assert_eq!(holds(late, &[version, wait, version, wait]), Some(false));
    assert_eq!(holds(late, &[version, wait]), None, "there was no thaw");
    assert_eq!(holds("something else", &[version, wait, version]), None);
}

#[test]
fn nothing_is_missed_at_800x600_and_that_refutes() {
    let one = |name: &str, missed: u64| json!({"name": name, "not_run": null, "dirt_messages": 5, "missed_px": missed, "stale": {"differing": 0}});
    let holds = |missed: u64| {
        let report = json!({"workloads": [one("lastrow", missed), one("fill", 0)]});
        drivers::rectangle_beyond_the_screen(&Evidence::of([("800x600-hyperv_fb", report)])).holds
    };
    assert_eq!((holds(0), holds(800)), (Some(false), Some(true)));
}
