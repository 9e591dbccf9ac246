//! Licences, banned packages and sources, by cargo-deny; see deny.toml for what is checked and what is not.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::process;
use crate::workspace::Workspace;

/// The version that reads deny.toml the way it was written.
const VERSION: &str = "0.20.2";

/// Runs the checks, building cargo-deny first if this machine has none of that version.
pub(crate) fn execute(workspace: &Workspace) -> Result<(), Failure> {
    let program = cargo_deny(workspace)?;
    let mut deny = Command::new(program);
    deny.args(["--all-features", "--locked", "check", "licenses", "bans", "sources"])
        .current_dir(workspace.root());
    process::run(&mut deny)
}

fn cargo_deny(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let own = workspace.target().join("tools");
    let candidates = [own.join("bin/cargo-deny"), cargo_home().join("bin/cargo-deny"), "cargo-deny".into()];
    if let Some(program) = candidates.into_iter().find(|program| has_version(program)) {
        return Ok(program);
    }
    let mut install = Command::new(workspace.cargo());
    install
        .args(["install", "--locked", "--quiet", "cargo-deny", "--version", VERSION, "--root"])
        .arg(&own)
        // Built beside our own code it would share its directory and be rebuilt at every change of flags.
        .env("CARGO_TARGET_DIR", own.join("build"));
    process::run(&mut install)?;
    Ok(own.join("bin/cargo-deny"))
}

fn has_version(program: &Path) -> bool {
    process::output(Command::new(program).arg("--version"))
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-deny {VERSION}"))
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
