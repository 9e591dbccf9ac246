//! `cargo xtask bless`: accepts the pictures that tests produce now.

use std::fs;
use std::process::Command;

use crate::failure::Failure;
use crate::process;
use crate::workspace::{Workspace, in_ci};

/// What a test that compares a picture calls.
const COMPARISON: &str = "snapshot::assert_matches";
/// Tells the comparison to accept.
const BLESS: &str = "VMBUS_EMU_BLESS";

/// Runs the tests that compare pictures, accepting what they find; `more` picks among them by name.
///
/// Look at the pictures before they are committed: `git status snapshots` shows which are new.
pub(crate) fn execute(workspace: &Workspace, more: &[String]) -> Result<(), Failure> {
    if in_ci() {
        return Err(Failure::check("CI accepts no pictures; run this by hand and look at them"));
    }
    let directory = workspace.root().join("tests/tests");
    let unreadable = |error| Failure::cannot_run(format!("cannot read {}: {error}", directory.display()));
    let mut test = Command::new(workspace.cargo());
    test.args(["test", "--locked", "--package", "tests"]).current_dir(workspace.root()).env(BLESS, "1");
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let compares = fs::read_to_string(&path).is_ok_and(|source| source.contains(COMPARISON));
        if let (true, Some(name)) = (compares, path.file_stem()) {
            test.arg("--test").arg(name);
        }
    }
    test.args(more);
    process::run(&mut test)
}
