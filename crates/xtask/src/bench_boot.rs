//! `cargo xtask bench-boot`: boot to the first DIRT beside QEMU, and the program's memory.

use std::process::Command;

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{process, setup};

/// Builds the program and the bench, and runs it; its status is this command's, where cargo would have one of its own.
pub(crate) fn execute(workspace: &Workspace, more: &[String]) -> Result<(), Failure> {
    setup::execute()?;
    let mut build = Command::new(workspace.cargo());
    build.args(["build", "--locked", "--release", "--package", "vmbus-emu"]).current_dir(workspace.root());
    process::run(&mut build)?;
    let mut bench = Command::new(workspace.cargo());
    bench
        .args(["bench", "--locked", "--package", "tests", "--bench", "boot", "--"])
        .args(more)
        .current_dir(workspace.root())
        .env("VMBUS_EMU_PROGRAM", workspace.target().join("release/vmbus-emu"));
    eprintln!("$ {}", process::shown(&bench));
    let status = bench.status().map_err(|error| process::cannot_start(&bench, &error))?;
    if status.success() {
        return Ok(());
    }
    // A signal has no status of its own; to a script it is a failure like any other.
    Err(Failure::passed_on(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
