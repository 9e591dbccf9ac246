//! The program `vmbus-emu`, for tests that see it as a user does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a program that is built already.
const PROGRAM: &str = "VMBUS_EMU_PROGRAM";

/// The program's path. Unless the variable `VMBUS_EMU_PROGRAM` names one, it is built, once a process, in the same profile
/// and the same target directory as the test that asks.
///
/// # Panics
/// When it cannot be built: no test of it can pass then.
#[must_use]
pub fn vmbus_emu() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| given().unwrap_or_else(build))
}

/// The newest build of another test program of this package, beside the one that asks: `cargo test` builds all of them
/// before it runs any.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn test(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a process has a program");
    let directory = own.parent().expect("a program lies in a directory");
    let prefix = format!("{name}-");
    let entries = std::fs::read_dir(directory).expect("the directory of a running program can be read");
    let builds = entries.flatten().map(|entry| entry.path()).filter(|path| {
        path.extension().is_none()
            && path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix))
    });
    let newest = builds.max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
    newest.unwrap_or_else(|| {
        panic!("no test {name} in {}: run `cargo test --workspace --no-run`", directory.display())
    })
}

fn given() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(PROGRAM)?);
    assert!(path.is_file(), "{PROGRAM} names {}, which is no file", path.display());
    Some(path)
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/TEST-HASH
    let test = env::current_exe().expect("a process has a program");
    let profile_dir = test.ancestors().nth(2).expect("cargo puts tests two directories below the target's");
    let target_dir = profile_dir.parent().expect("cargo puts tests two directories below the target's");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--package", "vmbus-emu", "--profile", profile])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("CARGO_TARGET_DIR", target_dir);
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot start {cargo:?}: {error}"));
    assert!(status.success(), "{cargo:?} ended with {status}");
    let program = profile_dir.join("vmbus-emu");
    println!("built {}", program.display());
    program
}
