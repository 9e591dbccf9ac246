//! The SynIC conformance suite on this host's KVM, as one program that can be copied into the KVM lab.
//!
//! ```text
//! synic-conformance [--synic kernel|user] [--vps N]
//! ```
//!
//! Built without shared libraries it needs nothing but `/dev/kvm`:
//! `RUSTFLAGS="-C target-feature=+crt-static" cargo build -p tests --bin synic-conformance --target x86_64-unknown-linux-gnu`
//!
//! Prints one line a case, then `N passed, N failed` (and how many were skipped). Exits with 0 when no case
//! failed and at least one ran, with 1 otherwise: a host without the SynIC that was asked for is a failure here,
//! because whoever names it wants it tested.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hv_kvm::SynicMode;
use hv_kvm::caps::HostCaps;
use kvm_ioctls::Kvm;
use synic::conformance::{self, Outcome};
use tests::bare_metal::BareMetal;
use tests::bare_metal::suite::UnderTest;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (mode, vps) = arguments()?;
    let caps = HostCaps::probe(&Kvm::new().context("opening /dev/kvm")?);
    println!("{caps}");
    let mode = match mode {
        Some(mode) => mode,
        None => caps.recommended_synic().context("this KVM can run no SynIC")?,
    };
    println!("SynIC under test: {mode}, {vps} VPs");
    let guest = BareMetal::new(mode, vps)?.context("this KVM lacks what the SynIC needs")?;
    let mut under_test = UnderTest::new(guest);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in conformance::cases() {
        let name = case.name;
        match case.run(&mut under_test) {
            Outcome::Passed => {
                passed += 1;
                println!("ok      {name}");
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                println!("skipped {name}: {reason}");
            }
            Outcome::Failed(violation) => {
                failed += 1;
                println!("FAILED  {name}: {violation}");
            }
        }
    }
    for (name, value) in under_test.guest().synic().stats().snapshot().entries() {
        println!("{name:>20} {value}");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0 && passed > 0)
}

fn arguments() -> Result<(Option<SynicMode>, u32)> {
    let (mut mode, mut vps) = (None, 2);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--synic" => {
                mode = Some(match value()?.as_str() {
                    "kernel" => SynicMode::Kernel,
                    "user" => SynicMode::User,
                    other => bail!("--synic {other}: say kernel or user"),
                });
            }
            "--vps" => vps = value()?.parse().context("--vps")?,
            other => bail!("unknown argument {other}: say --synic kernel|user, --vps N"),
        }
    }
    Ok((mode, vps))
}
