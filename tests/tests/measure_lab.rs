//! A stock driver under the oracle: what it declares, what it writes, what it misses, and the budgets it keeps.

use std::fs;
use std::process::Command;

use anyhow::Result;
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
