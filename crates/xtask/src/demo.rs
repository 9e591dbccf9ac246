//! `cargo xtask demo`: from a clean checkout to a guest's pictures.

use std::fs;
use std::process::Command;

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{process, setup};

/// What a demo leaves behind.
const LEFT_BEHIND: [&str; 4] = ["graphics.png", "console.png", "report.json", "console.log"];

/// Sets the machine up, builds the program, and runs it; its status is this command's.
pub(crate) fn execute(workspace: &Workspace, more: &[String]) -> Result<(), Failure> {
    setup::execute()?;
    let mut build = Command::new(workspace.cargo());
    build.args(["build", "--locked", "--release", "--package", "vmbus-emu"]).current_dir(workspace.root());
    process::run(&mut build)?;

    let out = workspace.target().join("demo");
    // A picture of the last run must not pass for one of this.
    for name in LEFT_BEHIND {
        let path = out.join(name);
        if path.exists() {
            fs::remove_file(&path)
                .map_err(|error| Failure::cannot_run(format!("cannot remove {}: {error}", path.display())))?;
        }
    }

    let mut run = Command::new(workspace.target().join("release/vmbus-emu"));
    run.args([
        "run",
        "--guest",
        "debian/6.1-cloud",
        "--device",
        "hyperv-synthvid",
        "--scenario",
        "demo",
        "--out",
    ])
    .arg(&out)
    .args(more);
    eprintln!("$ {}", process::shown(&run));
    let status = run.status().map_err(|error| process::cannot_start(&run, &error))?;
    if !status.success() {
        // A signal has no status of its own; to a script it is a failure like any other.
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Err(Failure::passed_on(code));
    }
    for name in LEFT_BEHIND {
        let path = out.join(name);
        if !path.is_file() {
            return Err(Failure::check(format!("the demo ended well without leaving {}", path.display())));
        }
        println!("{}", path.display());
    }
    Ok(())
}
