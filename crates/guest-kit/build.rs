//! Builds `guest-agent` as a static program, so that the host's program can carry it.
//!
//! A nested cargo does it, in a target directory of its own inside `OUT_DIR`: the outer cargo holds the lock of the usual one. It
//! needs no network, because the outer cargo already has the agent's dependencies: this package depends on the agent's library.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What an outer `cargo clippy`, `cargo llvm-cov` or a user's flags would otherwise force on the guest's program.
const NOT_INHERITED: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
];

fn main() {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-agent");
    for input in ["src", "Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", agent.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let target_dir = out.join("agent");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO for build scripts"));
    cargo
        .args(["build", "--release", "--locked", "--offline", "--bin", "guest-agent", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(&agent)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot start {cargo:?}: {error}"));
    assert!(status.success(), "building the guest agent failed ({status}): {cargo:?}");

    let built = target_dir.join(TARGET).join("release/guest-agent");
    if let Err(error) = fs::copy(&built, out.join("guest-agent")) {
        panic!("cannot copy {}: {error}", built.display());
    }
}
