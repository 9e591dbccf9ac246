//! Keyboard, mouse and the control socket with Debian's own drivers, wherever guests run here.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::guest_run::{GUEST, GuestRun, place};
use tests::program::vmbus_emu;

/// How long a guest may take to listen to its keyboard and mouse, on a loaded machine.
const LISTENS: Duration = Duration::from_secs(150);
/// How long one that lost its video device may take to come up with the next.
const COMES_UP: Duration = Duration::from_secs(60);

#[test]
fn what_is_typed_and_pointed_at_arrives_in_the_drivers_of_debians_kernel() -> Result<()> {
    let Some(_) = place() else { return Ok(()) };
    let run = GuestRun::with(&[
        "--guest",
        GUEST,
        "--device=hyperv-keyboard",
        "--device=hyperv-mouse",
        "--scenario=input",
    ])?;
    assert_eq!(run.status, Some(0), "{}", run.said);
    for name in ["keys_arrived", "mouse_arrived", "input_not_dropped", "clean_end"] {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
    Ok(())
}

fn ctl(socket: &str, words: &[&str]) -> Result<Output> {
    Ok(Command::new(vmbus_emu()).args(["ctl", "--socket", socket]).args(words).output()?)
}

/// Both streams of an answer.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Asks for the status until it is as wanted.
fn wait_for(socket: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let until = Instant::now() + limit;
    loop {
        let output = ctl(socket, &["status"])?;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() && wanted(&status) {
            return Ok(status);
        }
        ensure!(Instant::now() < until, "the status never became what was waited for: {}", said(&output));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What the test does with the run behind `socket`, whose results go to `out`.
fn converse(socket: &str, out: &str) -> Result<()> {
    let ready = |status: &Value, device: &str| status[device]["ready"] == true;
    wait_for(socket, LISTENS, |status| {
        ready(status, "keyboard") && ready(status, "mouse") && status["video"]["mode"] == "1024x768"
    })?;
    for words in [&["key", "a", "shift+b"][..], &["mouse", "move", "10", "20"], &["mouse", "click", "left"]] {
        let output = ctl(socket, words)?;
        ensure!(output.status.success(), "{words:?}: {}", said(&output));
    }
    let picture = format!("{out}/now.png");
    let output = ctl(socket, &["screenshot", &picture, "--pointer"])?;
    ensure!(output.status.success(), "{}", said(&output));
    let picture = display::png::read_png(std::path::Path::new(&picture))?;
    ensure!((picture.width, picture.height) == (1024, 768));

    // Linux keeps the mode that its driver chose when it probed, and chooses the new one when it probes again.
    let output = ctl(socket, &["mode", "800x600"])?;
    ensure!(
        output.status.code() == Some(1) && said(&output).contains("guest ignored it"),
        "{}",
        said(&output)
    );
    for command in ["rescind", "reoffer"] {
        let output = ctl(socket, &[command])?;
        ensure!(output.status.success(), "{command}: {}", said(&output));
    }
    let status = wait_for(socket, COMES_UP, |status| status["video"]["mode"] == "800x600")?;
    ensure!(status["keyboard"]["dropped"] == 0 && status["traffic"]["faults"] == 0, "{status}");
    Ok(())
}

#[test]
fn run_is_asked_and_told_from_outside_and_ends_when_it_is_told_to() -> Result<()> {
    let Some(_) = place() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_str().map(str::to_owned).context("a UTF-8 name");
    let (socket, out) = (path("control")?, path("out")?);
    let mut run = Command::new(vmbus_emu())
        .args(["run", "--guest", GUEST, "--device=hyperv-keyboard", "--device=hyperv-mouse"])
        .args(["--scenario=none", "--control", &socket, "--out", &out])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let conversed = converse(&socket, &out);
    let told = ctl(&socket, &["quit"]);
    let ended = run.wait()?;
    conversed?;
    let told = told?;
    ensure!(told.status.success(), "{}", said(&told));
    ensure!(ended.code() == Some(0), "the run ended with {ended}");
    ensure!(!std::path::Path::new(&socket).exists(), "the socket is left behind");
    Ok(())
}
