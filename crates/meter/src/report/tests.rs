use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use device_model::observer::{ControlEvent, DirtEvent, Observer, VideoEvent};
use serde_json::Value;
use surface::VramKind;

use super::fields::{FIELDS, field_table};
use super::*;

const DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/report.md");
const BEGIN: &str = "<!-- field table: begin -->\n";
const END: &str = "<!-- field table: end -->";

fn host() -> Host {
    Host {
        kvm: Kvm::Sim,
        lab_clock: None,
        synic: Synic::Loopback,
        version: "0.1.0".into(),
        kernel: None,
        vcpus: Some(1),
        ram_bytes: None,
        duration_ms: Some(5_000),
        vmm_memory_kib: None,
    }
}

fn simulated() -> Guest {
    Guest { driver: Some("hyperv_fb".into()), simulated: true, ..Guest::default() }
}

fn busy_meter() -> Meter {
    let mut meter = Meter::new();
    meter.control(0, &ControlEvent::Contacted { version: 0x0005_0003 });
    meter.video(0, &VideoEvent::Version { major: 3, minor: 5, accepted: true });
    meter.video(0, &VideoEvent::VramRefused { gpa: 0x100_0000 });
    meter.video(0, &VideoEvent::VramMapped { gpa: 0xf800_0000, bytes: 8 << 20, kind: VramKind::Mmio });
    meter.video(0, &VideoEvent::Situation { width: 1024, height: 768, pitch: 4096, depth: 32, active: true });
    for n in 0..3_u64 {
        meter.dirt(&DirtEvent {
            doorbell_ns: n * 48_000_000,
            done_ns: n * 48_000_000 + 90_000,
            rects: 1,
            rejected_rects: 0,
            declared_px: 10,
            changed_px: 5,
            accepted: &[],
        });
    }
    meter
}

fn full_report() -> Report {
    let mut report = Report::new(host(), simulated(), 1, &busy_meter());
    report.exits.by_reason.insert("KVM_EXIT_IO".into(), 3);
    report.check("pattern", true, "786432 of 786432 pixels as drawn");
    report.console = Console::of_text("first\nsecond\n");
    report
}

/// Every key of `value`, written as [`fields::Field::path`] writes it. What hangs below `exits.by_reason` is data.
fn paths(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(keys) if path != "exits.by_reason" => {
                for (key, value) in keys {
                    walk(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
                }
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                elements.iter().for_each(|element| walk(element, &format!("{path}[]"), found));
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

#[test]
fn every_key_of_a_report_is_a_documented_field_and_every_field_a_key() {
    let keys = paths(&serde_json::to_value(full_report()).expect("a report"));
    let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(fields.len(), FIELDS.len(), "a field is listed twice");
    assert_eq!(keys, fields);
}

#[test]
fn report_of_a_run_without_any_traffic_has_the_same_keys() {
    let mut report = Report::new(host(), Guest::default(), 2, &Meter::new());
    report.check("boot", false, "no contact");
    let empty = paths(&serde_json::to_value(report).expect("a report"));
    assert_eq!(empty, paths(&serde_json::to_value(full_report()).expect("a report")));
}

#[test]
fn document_holds_the_generated_field_table() {
    let doc = fs::read_to_string(DOC).expect("docs/report.md");
    let table = doc.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table);
    assert_eq!(
        table,
        Some(&*field_table()),
        "replace what is between the markers of docs/report.md by the table"
    );
}

#[test]
fn report_shows_what_the_meter_counted() {
    let json = serde_json::to_value(full_report()).expect("a report");
    let expected = [
        ("/schema", Value::from("vmbus-emu.report/1")),
        ("/host/kvm", "sim".into()),
        ("/host/synic", "loopback".into()),
        ("/guest/simulated", true.into()),
        ("/device/vmbus_version", "5.3".into()),
        ("/device/synthvid_version", "3.5".into()),
        ("/device/mode", "1024x768".into()),
        ("/device/vram/kind", "mmio".into()),
        ("/device/vram/gpa", "0xf8000000".into()),
        ("/device/vram/bytes", (8 << 20).into()),
        ("/device/vram/refused", 1.into()),
        ("/traffic/dirt_messages", 3.into()),
        ("/traffic/declared_px", 30.into()),
        ("/traffic/changed_px", 15.into()),
        ("/traffic/max_dirt_in_1s", 3.into()),
        ("/traffic/first_dirt_ms", 0.09.into()),
        ("/traffic/dirt_span_ms", 96.0.into()),
        ("/traffic/interval_ms/p50", 48.0.into()),
        ("/traffic/interval_ms/max", 48.0.into()),
        ("/latency_us/doorbell_to_surface/p99", 90.into()),
        ("/console/tail/1", "second".into()),
    ];
    for (pointer, value) in expected {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn what_was_not_measured_is_null() {
    let json =
        serde_json::to_value(Report::new(host(), Guest::default(), 1, &Meter::new())).expect("a report");
    for pointer in [
        "/host/kernel",
        "/guest/kernel",
        "/guest/sha256",
        "/guest/driver_sha256",
        "/guest/boot_ms",
        "/host/vmm_memory_kib",
        "/traffic/first_dirt_ms",
        "/device/vmbus_version",
        "/device/mode",
        "/device/vram/kind",
        "/device/firmware_framebuffer/mode",
        "/device/firmware_framebuffer/gpa",
        "/device/firmware_framebuffer/drawn_px",
        "/device/firmware_framebuffer/declared_gpa",
        "/traffic/signals",
        "/traffic/dirt_span_ms",
        "/traffic/interval_ms/p50",
        "/latency_us/doorbell_to_surface/p50",
        "/exits/total",
        "/exits/signal_user",
        "/console/tail",
    ] {
        assert_eq!(json.pointer(pointer), Some(&Value::Null), "{pointer}");
    }
}

#[test]
fn one_failed_check_fails_the_report() {
    let mut report = Report::new(host(), simulated(), 1, &Meter::new());
    assert!(report.passed());
    report.check("dirt", true, "");
    report.check("pattern", false, "pixel (3, 4) is 0x000000, drawn was 0xffffff");
    assert!(!report.passed());
}

#[test]
fn written_report_reads_back_equal_and_replaces_the_earlier_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("report.json");
    fs::write(&path, "earlier").expect("writable");
    let report = full_report();
    report.write_json_atomically(&path).expect("writable");
    let text = fs::read_to_string(&path).expect("written");
    assert!(text.ends_with("}\n"));
    assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "a temporary file is left");
}

#[test]
fn unwritable_report_says_where_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing").join("report.json");
    let error = full_report().write_json_atomically(&missing).expect_err("no such directory");
    assert!(matches!(error, ReportError::Write { .. }));
    assert!(error.to_string().contains("missing/report.json"), "{error}");
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).expect("writable");
    full_report().write_json_atomically(&taken).expect_err("a directory is in the way");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "a temporary file is left");
    let nameless = full_report().write_json_atomically(Path::new("/"));
    assert!(matches!(nameless, Err(ReportError::NoFileName { .. })));
}
