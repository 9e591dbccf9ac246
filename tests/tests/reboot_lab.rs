//! Real guests that reboot, and runs that are stopped from outside.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
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

/// Sends `signal` to a run as soon as its guest speaks, and gives back its status and what it said.
fn stopped_by(signal: Signal, directory: &std::path::Path) -> Result<(Option<i32>, String)> {
    let mut child = Command::new(vmbus_emu())
        .args(["run", "--guest", GUEST, "--scenario", "none", "--timeout", "120", "--out"])
        .arg(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = directory.join("lab-console.log");
    let here = directory.join("console.log");
    let until = Instant::now() + Duration::from_secs(90);
    // On the host's KVM the guest's log grows at once; the lab copies it out at the end, but its own grows.
    let speaks = |path: &std::path::Path, least: u64| path.metadata().is_ok_and(|file| file.len() > least);
    while !speaks(&here, 0) && !speaks(&log, 4096) {
        ensure!(child.try_wait()?.is_none(), "the run ended by itself");
        ensure!(Instant::now() < until, "the guest never spoke");
        thread::sleep(Duration::from_millis(50));
    }
    // A little into whatever comes next.
    thread::sleep(Duration::from_secs(3));
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| anyhow::anyhow!("no pid"))?;
    kill_process(pid, signal)?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// Programs that run with `directory` among their arguments.
fn left_behind(directory: &std::path::Path) -> Vec<String> {
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
        let started = Instant::now();
        let (status, said) = stopped_by(signal, directory.path())?;
        assert_eq!(status, Some(1), "{signal:?}: {said}");
        assert!(said.contains("stopped by a signal"), "{signal:?}: {said}");
        assert!(started.elapsed() < Duration::from_secs(110), "{signal:?}: it ran to its own time limit");
        assert_eq!(left_behind(directory.path()), Vec::<String>::new(), "{signal:?}");
    }
    Ok(())
}
