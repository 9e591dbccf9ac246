//! `vmbus-emu sim` as a user runs it: no KVM, no kernel, the same report keys as a real guest's.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;
use tests::{program, snapshot};

fn sim(arguments: &[&str]) -> Output {
    Command::new(program::vmbus_emu()).arg("sim").args(arguments).output().expect("the program starts")
}

fn assert_success(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{}\n{stderr}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
}

fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Value::Object(fields) = value {
        for (name, field) in fields {
            let path = format!("{path}.{name}");
            keys(field, &path, found);
            found.insert(path);
        }
    }
}

#[test]
fn demo_passes_and_its_pictures_are_the_accepted_ones() {
    let dir = tempfile::tempdir().unwrap();
    let output = sim(&["--out", dir.path().to_str().unwrap()]);
    assert_success(&output);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("simulated guest"));
    snapshot::assert_matches("sim-console", &dir.path().join("console.png"));
    let graphics = display::png::read_png(&dir.path().join("graphics.png")).unwrap();
    assert_eq!((graphics.width, graphics.height), (1024, 768));
}

#[test]
fn report_says_simulated_and_has_every_documented_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    assert_success(&sim(&["--report", file.to_str().unwrap()]));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["guest"]["simulated"], true);
    assert_eq!(report["host"]["kvm"], "sim");
    assert_eq!(report["host"]["synic"], "loopback");
    assert_eq!(report["device"]["vram"]["kind"], "mmio");
    assert!(report["traffic"]["dirt_messages"].as_u64().is_some_and(|messages| messages > 0));
    let mut found = BTreeSet::new();
    keys(&report, "", &mut found);
    for key in [
        ".schema",
        ".host.kvm",
        ".host.synic",
        ".guest.kernel",
        ".guest.driver",
        ".guest.package",
        ".guest.sha256",
        ".device.vmbus_version",
        ".device.synthvid_version",
        ".device.generation",
        ".device.mode",
        ".device.vram.kind",
        ".device.vram.gpa",
        ".device.vram.bytes",
        ".traffic.dirt_messages",
        ".traffic.dirt_rects",
        ".traffic.declared_px",
        ".traffic.implied_px",
        ".traffic.changed_px",
        ".traffic.rejected_rects",
        ".traffic.signals",
        ".traffic.feature_changes",
        ".traffic.max_dirt_in_1s",
        ".traffic.interval_ms.p50",
        ".traffic.interval_ms.p99",
        ".latency_us.doorbell_to_surface.p50",
        ".latency_us.doorbell_to_surface.p99",
        ".exits.total",
        ".exits.user",
        ".exits.hypercall_user",
        ".exits.signal_user",
        ".console.tail",
    ] {
        assert!(found.contains(key), "{key} is missing among {found:?}");
    }
}

#[test]
fn every_script_passes_with_vram_in_either_place() {
    for script in ["demo", "box", "idle", "hostile"] {
        for device in ["hyperv-synthvid,vram=8M", "hyperv-synthvid,vram=4M"] {
            assert_success(&sim(&["--script", script, "--device", device]));
        }
    }
}

#[test]
fn strict_device_shows_the_demo_without_a_single_implied_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    assert_success(&sim(&["--device", "hyperv-synthvid,repaint=strict", "--report", file.to_str().unwrap()]));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["traffic"]["implied_px"], 0);
}

#[test]
fn unknown_script_is_a_usage_error_that_lists_the_known() {
    let output = sim(&["--script", "dmeo"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("\"dmeo\"") && stderr.contains("demo, box, idle, hostile"), "{stderr}");
}
