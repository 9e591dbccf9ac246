//! `cargo xtask test`: every test of the workspace, counted.

use std::io::{self, BufRead as _, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::failure::Failure;
use crate::tally::Tally;
use crate::workspace::{Workspace, in_ci};
use crate::{lab_qemu, process, setup};

/// Names what a machine must be able to do: a test that would skip for want of it fails instead.
const REQUIRE: &str = "VMBUS_EMU_REQUIRE";
/// What CI must be able to do: the user-space SynIC on its own /dev/kvm, the KVM lab (and the in-kernel SynIC in
/// it) with either clock, real guest kernels, and drivers built for them.
const REQUIRED_IN_CI: &str = "kvm,lab,lab-qemu,kernels,drivers,chromium";
/// Tells tests of the command line where the program is.
const PROGRAM: &str = "VMBUS_EMU_PROGRAM";

/// Sets the machine up, builds the programs, runs the tests; the last line is `N passed, N failed`.
pub(crate) fn execute(workspace: &Workspace, more: &[String]) -> Result<(), Failure> {
    setup::execute()?;
    let started = Instant::now();
    let mut build = Command::new(workspace.cargo());
    // The same selection of packages as for the tests, so that their libraries are built once.
    build.args(["build", "--locked", "--workspace", "--bins"]).current_dir(workspace.root());
    let built = process::run(&mut build).and_then(|()| {
        // A choice of tests is mostly of none that needs it. Those that do say so where it is missing, and CI counts them as failed.
        let lab_qemu = if more.is_empty() { lab_qemu::execute_built(workspace) } else { Ok(()) };
        lab_qemu.or_else(|failure| {
            if in_ci() {
                Err(failure)
            } else {
                failure.tell();
                Ok(())
            }
        })
    });

    let mut tally = Tally::default();
    let ran = match built {
        Ok(()) => run(test_command(workspace, more), &mut tally, &mut io::stdout()),
        Err(failure) => {
            tally.end(false);
            Err(failure)
        }
    };
    if tally.skipped > 0 {
        println!("{} skipped or ignored", tally.skipped);
    }
    println!("tests took {:.0} s", started.elapsed().as_secs_f64());
    let ended = ended(&tally, ran);
    if let Err(failure) = &ended {
        failure.tell();
    }
    println!("{}", tally.summary());
    ended.map_err(|_| Failure::passed_on(1))
}

/// What the counts and the status of `cargo test` come to. Nothing may be skipped in CI.
fn ended(tally: &Tally, ran: Result<(), Failure>) -> Result<(), Failure> {
    ran?;
    if tally.failed > 0 {
        return Err(Failure::check("tests failed"));
    }
    if in_ci() && tally.skipped > 0 {
        return Err(Failure::check(format!("{} tests were skipped, in CI none may be", tally.skipped)));
    }
    Ok(())
}

fn test_command(workspace: &Workspace, more: &[String]) -> Command {
    let everything = ["--workspace".to_owned()];
    let mut test = Command::new(workspace.cargo());
    test.args(["test", "--locked", "--no-fail-fast"])
        .args(if more.is_empty() { &everything } else { more })
        .args(["--", "--show-output"])
        .current_dir(workspace.root())
        .env("CARGO_TERM_COLOR", "never")
        .env(PROGRAM, workspace.target().join("debug/vmbus-emu"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if in_ci() && std::env::var_os(REQUIRE).is_none() {
        test.env(REQUIRE, REQUIRED_IN_CI);
    }
    test
}

/// Runs `cargo test` to its end, showing and counting lines as they come.
fn run(mut command: Command, tally: &mut Tally, shown: &mut dyn Write) -> Result<(), Failure> {
    eprintln!("$ {}", process::shown(&command));
    let mut child = command.spawn().map_err(|error| process::cannot_start(&command, &error))?;
    read(&mut child, tally, shown);
    let status = child.wait().map_err(|error| process::cannot_start(&command, &error))?;
    tally.end(status.success());
    if status.success() {
        return Ok(());
    }
    Err(Failure::check(format!("`{}` ended with {status}", process::shown(&command))))
}

fn read(child: &mut Child, tally: &mut Tally, shown: &mut dyn Write) {
    let Some(stdout) = child.stdout.take() else { return };
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if tally.line(line) {
            // A closed standard output is no reason to stop counting.
            drop(writeln!(shown, "{line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(script: &str) -> (Tally, Result<(), Failure>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut tally = Tally::default();
        let ran = run(command, &mut tally, &mut Vec::new());
        (tally, ran)
    }

    #[test]
    fn status_and_counts_both_decide() {
        let (good, ran) = of("echo 'test result: ok. 3 passed; 0 failed;'");
        assert_eq!((good.summary().as_str(), ended(&good, ran).is_ok()), ("3 passed, 0 failed", true));

        let (bad_status, ran) = of("echo 'test result: ok. 3 passed; 0 failed;'; exit 101");
        assert_eq!(
            (bad_status.summary().as_str(), ended(&bad_status, ran).is_ok()),
            ("3 passed, 1 failed", false)
        );

        let (bad_count, ran) = of("echo 'test result: FAILED. 3 passed; 2 failed;'");
        assert_eq!(
            (bad_count.summary().as_str(), ended(&bad_count, ran).is_ok()),
            ("3 passed, 2 failed", false)
        );
    }
}
