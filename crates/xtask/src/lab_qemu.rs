//! `cargo xtask lab-qemu`: the QEMU of `vmbus-emu --lab-clock instructions`, built from Debian's source into the cache.

use std::process::Command;

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{process, setup};

/// Installs what the build needs and builds, unless it is there.
pub(crate) fn execute(workspace: &Workspace) -> Result<(), Failure> {
    setup::execute_for_lab_qemu()?;
    let mut build = Command::new(workspace.cargo());
    build
        .args(["run", "--locked", "--quiet", "--release", "--package", "tests", "--bin", "build-lab-qemu"])
        .current_dir(workspace.root());
    process::run(&mut build)
}

/// The same by the program of a debug build, which is there.
pub(crate) fn execute_built(workspace: &Workspace) -> Result<(), Failure> {
    setup::execute_for_lab_qemu()?;
    process::run(&mut Command::new(workspace.target().join("debug/build-lab-qemu")))
}
