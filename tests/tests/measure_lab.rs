//! A stock driver under the oracle: what it declares, what it writes, what it misses, and the budgets it keeps.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::guest_run::{GUEST, place};
use tests::program::vmbus_emu;

const WORKLOADS: [&str; 5] = ["idle", "box", "corners", "lastrow", "lines"];

fn count(workload: &Value, key: &str) -> u64 {
    workload[key].as_u64().unwrap_or_else(|| panic!("{key} was not measured: {}", workload[key]))
}

#[test]
fn stock_driver_misses_nothing_and_declares_the_whole_screen_for_two_corners() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let out = directory.path();
    let output = Command::new(vmbus_emu())
        .args([
            "measure",
            "--guest",
            GUEST,
            "--scale",
            "10",
            "--grace",
            "3000",
            "--workload",
            &WORKLOADS.join(","),
            "--report",
        ])
        .arg(out)
        .output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    assert_eq!(output.status.code(), Some(0), "{said}");

    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json"))?)?;
    assert_eq!(report["schema"], "vmbus-emu.measurement/1");
    assert_eq!(report["guest"]["driver"], "hyperv_fb");
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.iter().all(|check| check["passed"] == true), "{checks:?}");
    for name in ["idle.max_dirt_per_s", "box.max_missed_px", "lines.max_stale_tiles"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name} is not among {checks:?}");
    }

    let workloads = report["workloads"].as_array().expect("workloads");
    let names: Vec<&str> = workloads.iter().filter_map(|workload| workload["name"].as_str()).collect();
    assert_eq!(names, WORKLOADS);
    for workload in workloads {
        let name = &workload["name"];
        assert_eq!(workload["not_run"], Value::Null, "{name}");
        assert_eq!(count(workload, "missed_px"), 0, "{name}: {}", workload["missed"]);
        assert_eq!(count(&workload["stale"], "differing"), 0, "{name}: {}", workload["stale"]);
        assert!(count(&workload["stale"], "compared") > 0, "{name}");
        if name == "idle" {
            assert_eq!(count(workload, "dirt_messages"), 0);
            assert_eq!(count(workload, "changed_px"), 0);
        } else {
            assert!(count(workload, "dirt_messages") > 0, "{name}");
            assert!(count(workload, "changed_px") > 0, "{name}");
            assert!(count(workload, "written_pages") > 0, "{name}");
            assert!(count(workload, "declared_px") >= count(workload, "changed_px"), "{name}");
            assert!(count(&workload["costs"], "exits_user") > 0, "{name}");
        }
    }
    // One box around both pixels: the whole screen for two of them.
    let corners = &workloads[2];
    let (declared, changed) = (count(corners, "declared_px"), count(corners, "changed_px"));
    assert!(declared >= 100 * changed, "{declared} px declared, {changed} px changed");

    for name in WORKLOADS {
        for file in
            ["heat-NAME-declared.png", "heat-NAME-changed.png", "heat-NAME-missed.png", "screenshot-NAME.png"]
        {
            let path = out.join(file.replace("NAME", name));
            assert!(fs::metadata(&path).is_ok_and(|found| found.len() > 0), "{} is missing", path.display());
        }
    }
    for file in ["report.html", "trace.json", "console.log"] {
        assert!(fs::metadata(out.join(file)).is_ok_and(|found| found.len() > 0), "{file} is missing");
    }

    // What was just written compares with itself, and nothing is found.
    let file = out.join("report.json");
    let compared = Command::new(vmbus_emu()).arg("compare").args([&file, &file]).output()?;
    let said = String::from_utf8(compared.stdout)?;
    assert_eq!(compared.status.code(), Some(0), "{said}");
    assert!(said.contains("\n0 of "), "{said}");
    Ok(())
}

/// How often each workload is measured where its counts must agree.
const WINDOWS: usize = 10;

/// Builds `tests/programs/draw_box.c` as a program that needs nothing of the guest but its kernel.
fn build_draw_box(into: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/draw_box.c");
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(into).arg(&source).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}

/// Checks a trace by the rules of the Trace Event Format: known phases, times in order, slices that end.
fn assert_trace(text: &[u8], workloads: &[&str]) -> Result<()> {
    let trace: Value = serde_json::from_slice(text)?;
    let (mut last, mut open, mut slices) = (0.0, Vec::new(), Vec::new());
    for event in trace["traceEvents"].as_array().expect("events") {
        let at = event["ts"].as_f64().expect("a time");
        ensure!(at >= last, "{event} after {last}");
        ensure!(event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(), "{event}");
        last = at;
        match event["ph"].as_str() {
            Some("B") => open.push(event["name"].clone()),
            Some("E") => {
                ensure!(open.pop().as_ref() == Some(&event["name"]), "{event} was not open");
                slices.push(event["name"].as_str().unwrap_or_default());
            }
            Some("C") => ensure!(event["args"]["value"].is_number(), "{event}"),
            Some("i") => ensure!(event["s"] == "t", "{event}"),
            Some("M") => ensure!(event["args"]["name"].is_string(), "{event}"),
            _ => anyhow::bail!("{event} is of no phase"),
        }
    }
    ensure!(open.is_empty(), "{open:?} never end");
    ensure!(slices == workloads, "{slices:?}");
    Ok(())
}

#[test]
fn program_of_the_users_own_draws_windows_agree_and_the_oracle_can_be_off() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let (out, program) = (directory.path().join("out"), directory.path().join("draw_box"));
    build_draw_box(&program)?;
    let exec = format!("exec:{}", program.display());
    let output = Command::new(vmbus_emu())
        .args([
            "measure",
            "--guest",
            GUEST,
            "--scale",
            "40",
            "--grace",
            "3000",
            "--repeat",
            &WINDOWS.to_string(),
        ])
        .args(["--oracle-overhead=1", "--workload", &format!("fsync,{exec}"), "--report"])
        .arg(&out)
        .output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json"))?)?;
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let workloads = report["workloads"].as_array().expect("workloads");
    assert_eq!(workloads.len(), 2);
    for workload in workloads {
        let name = workload["name"].as_str().expect("a name");
        assert_eq!(workload["not_run"], Value::Null, "{name}");
        assert_eq!(count(workload, "missed_px"), 0, "{name}");
        assert_eq!(count(workload, "ring_full"), 0, "{name}");
        let repeats = &workload["repeats"];
        assert_eq!(count(repeats, "windows"), WINDOWS as u64, "{name}");
        let counts = repeats["counts"].as_array().expect("counts");
        let dirt =
            counts.iter().find(|count| count["quantity"] == "dirt_messages").expect("DIRT was counted");
        assert_eq!(dirt["values"].as_array().map(Vec::len), Some(WINDOWS), "{name}: {repeats}");
        let off = format!("{name}.oracle_off");
        assert!(checks.iter().any(|check| check["name"] == off && check["passed"] == true), "{checks:?}");
        let overhead = &workload["oracle_overhead"];
        for number in ["vcpu_cpu_us", "guest_cpu_ms", "duration_ms", "host_cpu_us"] {
            for side in ["with", "without"] {
                let values = overhead[number][side].as_array().expect("a list");
                assert_eq!(values.len(), 1, "{name}: {number} {side}: {overhead}");
            }
        }
        assert!(overhead["duration_ms"]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{overhead}");
    }
    // fsync(2) comes back when the driver has sent what was drawn, so that each operation is a refresh of its own however late the guest.
    let spread = workloads[0]["repeats"]["spread_percent"].as_f64();
    assert!(spread.is_some_and(|spread| spread <= 5.0), "{}", workloads[0]["repeats"]);
    let program = &workloads[1];
    assert_eq!(count(program, "operations"), 1);
    assert_eq!(count(program, "changed_px"), 50 * 40, "{program}");
    assert!(count(program, "declared_px") >= 50 * 40);
    // How often a guest that is late declares them differs; how many pixels it changes does not.
    let counts = program["repeats"]["counts"].as_array().expect("counts");
    let changed =
        counts.iter().find(|count| count["quantity"] == "changed_px").expect("pixels were compared");
    assert_eq!(changed["values"], serde_json::json!(vec![2000.0; WINDOWS]), "{changed}");
    assert!(said.contains("10 windows, spread"), "{said}");
    let names: Vec<&str> = workloads.iter().filter_map(|workload| workload["name"].as_str()).collect();
    assert_trace(&fs::read(out.join("trace.json"))?, &names)
}
