//! The KVM lab with a clock that goes by instructions: windows repeat, and a console flood shows the vblank timer.
//!
//! It takes the QEMU of `cargo xtask lab-qemu`; without that, these tests are skipped and say so.

use std::process::Command;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use guest_kit::cache;
use guest_kit::lab::LabClock;
use serde_json::Value;
use tests::bare_metal::requirement::skip;
use tests::guest_run::{GUEST, place};
use tests::program::vmbus_emu;

/// Whether the lab is there, with the reason printed if it is not.
fn there_is_one() -> bool {
    let path = LabClock::built_qemu(&cache::directory());
    if !path.is_file() {
        skip("lab-qemu", &format!("there is no {}, which cargo xtask lab-qemu builds", path.display()));
    }
    path.is_file() && place().is_some()
}

/// The report of a measurement in that lab.
fn measured(words: &[&str]) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(vmbus_emu())
        .args(["measure", "--lab-clock", "instructions"])
        .args(words)
        .arg("--report")
        .arg(directory.path())
        .output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{words:?} ended with {}:\n{said}", output.status);
    let report: Value = serde_json::from_slice(&fs::read(directory.path().join("report.json"))?)?;
    assert_eq!(
        (&report["host"]["kvm"], &report["host"]["lab_clock"]),
        (&"lab".into(), &"instructions".into())
    );
    Ok(report)
}

/// A number of the report's first workload.
fn number(report: &Value, pointer: &str) -> Result<f64> {
    let workload = report.pointer("/workloads/0").context("no workload")?;
    workload.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer} in {workload}"))
}

#[test]
fn windows_of_a_workload_with_a_pace_agree() -> Result<()> {
    if !there_is_one() {
        return Ok(());
    }
    let report = measured(&["--guest", GUEST, "--workload", "box", "--scale", "10", "--repeat", "3"])?;
    assert_eq!(number(&report, "/repeats/windows")?, 3.0);
    assert!(number(&report, "/dirt_messages")? > 5.0, "{report}");
    // A host that is late just when the lab wakes up moves a window now and then, which is no two of three.
    let counts =
        report.pointer("/workloads/0/repeats/counts").and_then(Value::as_array).context("no counts")?;
    let declared =
        counts.iter().find(|count| count["quantity"] == "declared_px").context("no declared pixels")?;
    let [least, median, most] = ["min", "median", "max"].map(|key| declared[key].as_f64());
    assert!(median.is_some() && (least == median || median == most), "no two windows agree: {declared}");
    Ok(())
}

#[test]
fn flood_before_the_vblank_timer_sends_a_hundred_times_the_messages() -> Result<()> {
    if !there_is_one() {
        return Ok(());
    }
    if std::env::var_os("VMBUS_EMU_ALL_GUESTS").is_none_or(|value| value != "1") {
        println!("on request only: VMBUS_EMU_ALL_GUESTS=1");
        return Ok(());
    }
    let flood = |guest| {
        measured(&["--guest", guest, "--cpus", "1", "--no-oracle", "--workload", "flood", "--scale", "1"])
    };
    let (before, after) = thread::scope(|scope| {
        let before = scope.spawn(|| flood("debian/6.12"));
        let after = flood("debian/7.x");
        (before.join(), after)
    });
    let before = number(&before.expect("a thread that does not panic")?, "/dirt_messages")?;
    let after = number(&after?, "/dirt_messages")?;
    assert!(before >= 100.0 * after && after > 0.0, "{before} messages before, {after} after");
    Ok(())
}
