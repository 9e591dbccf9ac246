//! The SynIC conformance suite inside the KVM lab: on KVM's own SynIC, and on ours over the same KVM.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_kit::cache;
use guest_kit::lab::{Lab, LabClock, LabError, LabJob, LabOutput, ProgramEnd};
use tests::bare_metal::requirement::{KERNEL_SYNIC, REQUIRE, skip};
use tests::program;

/// A lab that takes longer hangs: these runs take seconds. Its own kernel has been seen to lock up under KVM's SynIC, rarely.
const HANG: Duration = Duration::from_secs(60);
/// Cases of the suite; more may come, fewer would mean that somebody lost some.
const LEAST_CASES: u32 = 20;

/// The lab; none, with the reason printed, where there cannot be one.
fn lab() -> Result<Option<Lab>> {
    match Lab::prepare(&cache::directory(), LabClock::Host, &mut |_| ()) {
        Ok(lab) => Ok(Some(lab)),
        Err(error @ (LabError::NoQemu | LabError::Kernel(_))) => {
            skip("lab", &error.to_string());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The tests of bare-metal guests that a host without KVM's own SynIC leaves out pass where there is one.
#[test]
fn tests_of_bare_metal_guests_pass_on_a_kvm_with_hyper_v() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    for (name, least) in [("synic_user", 14), ("kvm_exchange", 2)] {
        let job = LabJob {
            arguments: ["--test-threads=1", "--show-output"].map(str::to_owned).into(),
            environment: vec![(REQUIRE.to_owned(), format!("kvm,{KERNEL_SYNIC}"))],
            timeout: HANG,
            ..LabJob::new(program::test(name))
        };
        let mut lines = Vec::new();
        let run = lab.run(&job, &mut |output| {
            if let LabOutput::Stdout(line) | LabOutput::Stderr(line) = output {
                lines.push(line);
            }
        })?;
        run.hangs.iter().for_each(|hang| println!("{name}: the lab hung and was started again: {hang}"));
        let said = lines.join("\n");
        ensure!(run.end == ProgramEnd::Code(0), "{name}: {:?}, it said:\n{said}", run.end);
        let counted = lines.iter().find_map(|line| line.strip_prefix("test result: ok. "));
        let counted = counted.with_context(|| format!("{name}: no result, it said:\n{said}"))?;
        let passed = counted.split(' ').next().and_then(|count| count.parse::<u32>().ok());
        ensure!(passed >= Some(least), "{name}: {counted}, expected at least {least}");
        println!("{name} in the lab: {counted}");
    }
    Ok(())
}

#[test]
fn both_synics_conform_on_a_kvm_with_hyper_v() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    for synic in ["kernel", "user"] {
        conforms(&lab, synic)?;
    }
    Ok(())
}

fn conforms(lab: &Lab, synic: &str) -> Result<()> {
    let job = LabJob {
        timeout: HANG,
        arguments: ["--synic", synic, "--vps", "2"].map(str::to_owned).into(),
        ..LabJob::new(env!("CARGO_BIN_EXE_synic-conformance"))
    };
    let mut lines = Vec::new();
    let run = lab.run(&job, &mut |output| {
        if let LabOutput::Stdout(line) | LabOutput::Stderr(line) = output {
            lines.push(line);
        }
    })?;
    println!("{synic}: {run:?}");
    let said = lines.join("\n");
    ensure!(run.end == ProgramEnd::Code(0), "{synic}: {:?}, it said:\n{said}", run.end);
    ensure!(said.contains(&format!("SynIC under test: {synic}")), "{synic}: it said:\n{said}");
    let summary = lines.iter().find(|line| line.contains(" passed, 0 failed"));
    let summary = summary.with_context(|| format!("{synic}: no good summary, it said:\n{said}"))?;
    println!("{synic}: {summary}");
    let passed = summary.split(' ').next().and_then(|count| count.parse::<u32>().ok());
    ensure!(
        passed.is_some_and(|passed| passed > LEAST_CASES),
        "{synic}: {summary}, expected more than {LEAST_CASES}"
    );
    Ok(())
}
