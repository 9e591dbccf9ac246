//! Real guests that reboot, and runs that are stopped from outside.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::guest_run::{GUEST, GuestRun, place};
use tests::program::vmbus_emu;

#[test]
fn rebooted_guest_has_a_right_screen_and_leaves_nothing_behind() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let run = GuestRun::with(&["--guest", GUEST, "--scenario", "reboot", "--repeat", "2"])?;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(run.count("/guest/resets"), 2);
    for name in ["pattern_after_reset", "console_after_reset", "resets", "no_leak", "clean_end"] {
        assert!(run.checks().contains(&(name, true)), "{name}: {:?}", run.checks());
    }
    // One log of all three boots.
    let log = std::fs::read_to_string(run.file("console.log"))?;
    assert_eq!(
        log.matches("Linux version ").count(),
        3,
        "of the boots in {}",
        run.file("console.log").display()
    );
    Ok(())
}

/// Sends `signal` to a run as soon as its guest's kernel speaks, and gives back its status and what it said.
fn stopped_by(signal: Signal, directory: &Path) -> Result<(Option<i32>, String)> {
    let mut child = Command::new(vmbus_emu())
        .args(["run", "--guest", GUEST, "--scenario", "none", "--timeout", "120", "--console=-", "--out"])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process without a number")?;
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        if line.contains("Linux version ") {
            kill_process(pid, signal)?;
        }
        said.push_str(&line);
        said.push('\n');
    }
    Ok((child.wait()?.code(), said))
}

/// Programs that run with `directory` among their arguments.
fn left_behind(directory: &Path) -> Vec<String> {
    let wanted = directory.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let commands = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let texts = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    texts.filter(|text| text.contains(&wanted)).collect()
}

#[test]
fn run_that_is_interrupted_ends_with_status_1_and_leaves_no_process() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    for signal in [Signal::INT, Signal::TERM] {
        let directory = tempfile::Builder::new().prefix("interrupted-").tempdir()?;
        let (status, said) = stopped_by(signal, directory.path())?;
        assert_eq!(status, Some(1), "{signal:?}: {said}");
        // The table of a run that was stopped, not one that ended by itself, and the report of it.
        assert!(said.contains("clean_end"), "{signal:?}: {said}");
        let report: Value = serde_json::from_slice(&std::fs::read(directory.path().join("report.json"))?)?;
        let ran_ms = report.pointer("/host/duration_ms").and_then(Value::as_u64).context("no duration")?;
        assert!(ran_ms < 120_000, "{signal:?}: it ran to its own time limit, {ran_ms} ms");
        assert_eq!(left_behind(directory.path()), Vec::<String>::new(), "{signal:?}");
    }
    Ok(())
}
