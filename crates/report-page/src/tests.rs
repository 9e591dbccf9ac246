use std::collections::BTreeMap;

use meter::measurement::{Bucket, Heat, MissedArea, SCHEMA, Settings, TimelinePoint, WorkloadResult};
use meter::report::{Check, Device, FirmwareFramebuffer, Guest, Host, Kvm, LabClock, Synic, VramReport};
use serde_json::Value;

use super::trace::{DIRT_MAX, DirtPoint, DirtTrack, chrome_json};
use super::*;

const HOSTILE: &str = r#"6.1</title><script>alert(1)</script><img src=x onerror="alert(2)">"#;

fn empty() -> Measurement {
    Measurement {
        schema: SCHEMA.to_owned(),
        host: Host {
            kvm: Kvm::Sim,
            lab_clock: None,
            synic: Synic::Loopback,
            version: "0.1.0".to_owned(),
            kernel: None,
            vcpus: None,
            ram_bytes: None,
            duration_ms: None,
            vmm_memory_kib: None,
        },
        guest: Guest::default(),
        device: Device {
            vmbus_version: None,
            synthvid_version: None,
            generation: 1,
            mode: None,
            pitch_bytes: None,
            depth_bits: None,
            vram: VramReport::default(),
            firmware_framebuffer: FirmwareFramebuffer::default(),
            situation_changes: 0,
        },
        settings: Settings {
            grace_ms: 100,
            sample_ms: 25,
            tile_px: 16,
            seed: 1,
            scale_percent: 100,
            oracle: true,
        },
        workloads: Vec::new(),
        checks: Vec::new(),
        limits: Vec::new(),
    }
}

fn workload(name: &str) -> WorkloadResult {
    let point = |n: u32| TimelinePoint {
        at_ms: f64::from(n) * 100.0,
        dirt_messages: 2,
        declared_px: 1_000,
        changed_px: 100,
        missed_px: u64::from(n == 7),
    };
    WorkloadResult {
        name: name.to_owned(),
        duration_ms: 2_000.0,
        dirt_messages: 40,
        declared_px: 20_000,
        changed_px: Some(2_000),
        missed_px: Some(1),
        missed: vec![MissedArea { at_ms: 730.0, x: 1, y: 2, width: 3, height: 1, px: 1 }],
        interval_histogram: vec![Bucket { from: 48.0, to: 50.0, count: 39 }],
        timeline: (0..20).map(point).collect(),
        heat: Some(Heat {
            tile_px: 16,
            columns: 2,
            rows: 1,
            declared: vec![10, 0],
            changed: vec![1, 0],
            missed: vec![1, 0],
        }),
        ..WorkloadResult::default()
    }
}

fn page(measurement: &Measurement) -> String {
    html(measurement, &Pictures::default())
}

#[test]
fn every_string_of_a_hostile_guest_is_text() {
    let mut measurement = empty();
    let text = || Some(HOSTILE.to_owned());
    measurement.schema = HOSTILE.to_owned();
    measurement.host.version = HOSTILE.to_owned();
    measurement.host.kernel = text();
    measurement.guest = Guest {
        kernel: text(),
        driver: text(),
        package: text(),
        version: text(),
        sha256: text(),
        driver_sha256: text(),
        ..Guest::default()
    };
    measurement.device.mode = text();
    measurement.device.vmbus_version = text();
    measurement.device.synthvid_version = text();
    measurement.device.vram.kind = text();
    measurement.device.vram.gpa = text();
    measurement.checks = vec![Check { name: HOSTILE.to_owned(), passed: false, detail: HOSTILE.to_owned() }];
    measurement.limits = vec![HOSTILE.to_owned()];
    let mut hostile = workload(HOSTILE);
    hostile.not_run = text();
    hostile.costs.exits_by_reason = BTreeMap::from([(HOSTILE.to_owned(), 3)]);
    measurement.workloads = vec![hostile];
    let page = page(&measurement);
    assert!(!page.contains("<script"), "a script got in");
    assert!(!page.contains("<img"), "a picture got in");
    assert_eq!(page.matches("</title>").count(), page.matches("<title").count());
    assert!(page.matches("&lt;script&gt;alert(1)").count() >= 18, "strings are missing");
    serde_json::from_str::<Value>(&chrome_json(&measurement, &[])).expect("a trace");
}

#[test]
fn page_forbids_itself_every_request_and_refers_to_nothing() {
    let mut measurement = empty();
    measurement.workloads = vec![workload("console scroll")];
    let page = page(&measurement);
    assert!(page.contains("default-src 'none'; img-src data:;"));
    for outside in ["http://", "https://", "src=\"/", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn clock_of_the_emulated_machine_is_told_where_it_is_its_processor() {
    let told = |kvm, lab_clock| {
        let mut measurement = empty();
        (measurement.host.kvm, measurement.host.lab_clock) = (kvm, lab_clock);
        page(&measurement).contains("whose clock goes by instructions, a nanosecond each")
    };
    assert!(told(Kvm::Lab, Some(LabClock::Instructions)));
    assert!(!told(Kvm::Lab, Some(LabClock::Host)) && !told(Kvm::Host, None));
}

#[test]
fn what_was_not_measured_is_never_a_zero() {
    let mut measurement = empty();
    measurement.workloads = vec![WorkloadResult { name: "nothing".to_owned(), ..WorkloadResult::default() }];
    let page = page(&measurement);
    assert!(page.contains(r#"<dt>Missed px</dt><dd><span class="none">not measured</span></dd>"#));
    assert!(page.contains(r#"<dt>Changed px</dt><dd><span class="none">not measured</span></dd>"#));
    assert!(page.contains("<dt>DIRT messages</dt><dd>0<"));
    assert!(page.contains("The timeline was not measured."));
    assert!(page.contains("Traffic over the screen was not measured."));
    assert!(!page.contains("nothing missed"));
}

#[test]
fn changed_pixels_of_a_run_without_comparison_are_not_drawn() {
    let mut without = workload("declared only");
    without.changed_px = None;
    without.missed_px = None;
    without.missed.clear();
    let mut measurement = empty();
    measurement.workloads = vec![without];
    let page = page(&measurement);
    assert!(!page.contains(r#"class="area-changed""#) && !page.contains(r#"class="area-missed""#));
    assert_eq!(page.matches("not measured: pixels were not compared").count(), 3, "timeline and two maps");
    let trace = chrome_json(&measurement, &[]);
    assert!(!trace.contains("changed px") && !trace.contains("missed px"));
}

#[test]
fn verdict_names_failed_checks_before_passed_ones() {
    let check = |name: &str, passed| Check { name: name.to_owned(), passed, detail: String::new() };
    let mut measurement = empty();
    assert!(page(&measurement).contains("Nothing was checked."));
    measurement.checks = vec![check("first", true), check("second", false), check("third", true)];
    let page = page(&measurement);
    assert!(page.contains("1 of 3 checks failed."));
    let place = |name: &str| page.find(&format!("<code>{name}</code>")).expect("listed");
    assert!(place("second") < place("first") && place("first") < place("third"));
}

#[test]
fn endless_measurement_makes_a_bounded_page_that_says_what_it_left_out() {
    let mut long = workload(&"n".repeat(100_000));
    long.timeline = (0..100_000_u32)
        .map(|n| TimelinePoint { at_ms: n.into(), dirt_messages: 1, ..TimelinePoint::default() })
        .collect();
    long.interval_histogram =
        (0..100_000_u32).map(|n| Bucket { from: n.into(), to: f64::from(n) + 1.0, count: 1 }).collect();
    long.missed = vec![long.missed[0].clone(); 100_000];
    long.costs.exits_by_reason = (0..10_000).map(|n| (format!("reason {n}"), n)).collect();
    long.heat = Some(Heat {
        tile_px: 1,
        columns: 1_000,
        rows: 1_000,
        declared: (0..1_000_000).map(|n| n % 7 * 1_000 + 1).collect(),
        changed: vec![0; 1_000_000],
        missed: vec![0; 1_000_000],
    });
    let mut measurement = empty();
    measurement.workloads = vec![long; WORKLOADS_MAX + 5];
    measurement.checks = vec![Check { name: "c".into(), passed: false, detail: "d".repeat(10_000) }; 5_000];
    measurement.limits = vec!["l".repeat(10_000); 5_000];
    let page = page(&measurement);
    assert!(page.len() < 64 << 20, "{} bytes", page.len());
    for told in
        ["Left out: 5 more workloads", "Thinned: 334 slices", "rarer reasons", "more checks", "are added up"]
    {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn numbers_that_are_none_make_no_plot_that_is_none() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0, 0.0, 1e300, f64::MIN_POSITIVE];
    for value in odd {
        let mut strange = workload("strange");
        strange.duration_ms = value;
        strange.timeline[0].at_ms = value;
        strange.timeline[1].declared_px = u64::MAX;
        strange.timeline[2].declared_px = u64::MAX;
        strange.missed[0].at_ms = value;
        strange.interval_ms.p50 = Some(value);
        strange.costs.host_cpu_us_per_dirt = Some(value);
        let mut measurement = empty();
        measurement.workloads = vec![strange];
        let page = page(&measurement);
        assert!(!page.contains("NaN") && !page.contains("inf\""), "{value}");
        check_trace(&chrome_json(&measurement, &[]));
    }
}

#[test]
fn picture_that_is_no_png_is_left_out() {
    let measurement = empty();
    assert!(page(&measurement).contains("No picture was taken."));
    let pictures = Pictures { screenshot: Some(b"<svg onload=alert(1)>") };
    let page = html(&measurement, &pictures);
    assert!(page.contains("it is no PNG file") && !page.contains("<img"));
}

/// Checks what every trace must hold to, and returns its events.
fn check_trace(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).expect("JSON");
    let top: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(top, ["displayTimeUnit", "otherData", "traceEvents"]);
    assert!(
        ["ms", "ns"].iter().any(|unit| document["displayTimeUnit"] == *unit),
        "the format knows no other"
    );
    let events = document["traceEvents"].as_array().expect("events").clone();
    let mut last = 0.0;
    let mut open = Vec::new();
    for event in &events {
        let name = event["name"].as_str().expect("a name");
        let phase = event["ph"].as_str().expect("a phase");
        let ts = event["ts"].as_f64().expect("a time");
        assert!(event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
        let known = ["name", "ph", "ts", "pid", "tid", "s", "args"];
        let keys = event.as_object().expect("an object").keys();
        assert!(keys.into_iter().all(|key| known.contains(&key.as_str())), "{event}");
        assert_eq!(event.get("s").is_some(), phase == "i", "only an instant has a scope: {event}");
        assert!(ts >= last, "{event} after {last}");
        last = ts;
        match phase {
            "B" => open.push(name),
            "E" => assert_eq!(open.pop(), Some(name)),
            "C" => assert!(event["args"]["value"].is_number(), "{event}"),
            "i" => assert_eq!(event["s"], "t", "{event}"),
            "M" => {
                assert!(["process_name", "thread_name"].contains(&name), "{event}");
                assert!(event["args"]["name"].is_string(), "{event}");
            }
            _ => panic!("{event}"),
        }
    }
    assert!(open.is_empty(), "{open:?} never end");
    events
}

#[test]
fn trace_is_balanced_in_order_and_holds_every_kind_of_event() {
    let mut measurement = empty();
    measurement.workloads = vec![workload("first"), workload("second")];
    let points: Vec<_> = (0..40).map(|n| DirtPoint { at_ns: n * 50_000_000, px: 500, rects: 1 }).collect();
    let events = check_trace(&chrome_json(&measurement, &[DirtTrack { workload: 1, points: &points }]));
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((of("M"), of("B"), of("E")), (3, 2, 2));
    assert_eq!(of("C"), 2 * (20 + 1) * 4);
    assert_eq!(of("i"), 2 + 40);
    let dirt = events.iter().find(|event| event["name"] == "DIRT").expect("a DIRT");
    assert_eq!(dirt["ts"], 2_000_000.0, "the second workload begins where the first ends");
    let rate = events.iter().find(|event| event["name"] == "DIRT/s").expect("a rate");
    assert_eq!(rate["args"]["value"], 20.0);
}

#[test]
fn trace_of_too_many_messages_is_cut_and_says_so() {
    let mut measurement = empty();
    measurement.workloads = vec![workload("flood")];
    let points = vec![DirtPoint::default(); DIRT_MAX + 9];
    let text = chrome_json(&measurement, &[DirtTrack { workload: 0, points: &points }]);
    let events = check_trace(&text);
    assert_eq!(events.iter().filter(|event| event["name"] == "DIRT").count(), DIRT_MAX);
    assert!(text.contains(r#""left_out":9"#));
}
