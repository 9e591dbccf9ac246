//! The KVM lab, from outside and from inside: the program that runs in it is this test itself.

use std::{env, fs, io::Write, path::PathBuf, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result, ensure};
use guest_kit::{
    cache,
    lab::{Lab, LabClock, LabError, LabJob, LabOutput, ProgramEnd},
};
use hv_kvm::{SynicMode, caps::HostCaps};
use kvm_ioctls::Kvm;
use tests::bare_metal::requirement::skip;

/// Tells this test that it runs inside, and in which directories it reads and writes.
const INSIDE: &str = "VMBUS_EMU_TEST_IN_LAB";

/// A lab, or none with the reason printed.
fn lab() -> Result<Option<Lab>> {
    match Lab::prepare(&cache::directory(), LabClock::Host, &mut |step| println!("{step:?}")) {
        Ok(lab) => Ok(Some(lab)),
        Err(error @ (LabError::NoQemu | LabError::Kernel(_))) => {
            skip("lab", &error.to_string());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[test]
fn program_in_the_lab_has_its_files_and_a_kvm_with_hyper_v() -> Result<()> {
    match env::var_os(INSIDE) {
        Some(directory) => inside(&PathBuf::from(directory)),
        None => outside(),
    }
}

fn outside() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let shared = tempfile::tempdir()?;
    let (input, output) = (shared.path().join("in"), shared.path().join("out, with a comma"));
    fs::create_dir(&input)?;
    fs::create_dir(&output)?;
    fs::write(input.join("question"), "6 * 7")?;
    fs::write(shared.path().join("single"), "file")?;
    let job = LabJob {
        arguments: ["--exact", "program_in_the_lab_has_its_files_and_a_kvm_with_hyper_v", "--nocapture"]
            .map(str::to_owned)
            .into(),
        environment: vec![(INSIDE.to_owned(), shared.path().display().to_string())],
        working_directory: output.clone(),
        inputs: vec![input, shared.path().join("single")],
        outputs: vec![output.clone()],
        console_log: Some(shared.path().join("console.log")),
        ..LabJob::new(env::current_exe()?)
    };
    let mut printed = Vec::new();
    let run = lab.run(&job, &mut |output| printed.push(output));
    let console = fs::read_to_string(shared.path().join("console.log"));
    let run = run.with_context(|| format!("printed {printed:?}, console {console:?}"))?;
    println!("{run:?}");
    ensure!(run.end == ProgramEnd::Code(0), "{run:?} after {printed:?}");
    ensure!(fs::read_to_string(output.join("answer"))? == "42\n", "the answer did not come out");
    for expected in [LabOutput::Stdout("to stdout".into()), LabOutput::Stderr("to stderr".into())] {
        ensure!(printed.contains(&expected), "{expected:?} is not in {printed:?}");
    }
    ensure!(printed.iter().any(|output| matches!(output, LabOutput::Booted { .. })), "{printed:?}");
    ensure!(console.is_ok(), "no console log: {console:?}");
    Ok(())
}

fn inside(shared: &std::path::Path) -> Result<()> {
    // On one processor the test runner has begun a line with the test's name.
    println!("\nto stdout");
    eprintln!("to stderr");
    ensure!(fs::read_to_string(shared.join("in/question"))? == "6 * 7");
    ensure!(fs::read_to_string(shared.join("single"))? == "file");
    ensure!(fs::write(shared.join("in/forbidden"), "x").is_err(), "an input directory can be written");
    // A relative path, because the working directory is the output directory, and appended to, because that reads back.
    let mut answer = fs::File::options().create(true).append(true).open("answer")?;
    writeln!(answer, "42")?;

    let caps = HostCaps::probe(&Kvm::new().context("the lab has no /dev/kvm")?);
    for mode in [SynicMode::Kernel, SynicMode::User] {
        let missing = caps.missing_for(mode);
        ensure!(missing.is_empty(), "the lab's KVM lacks {missing:?} for {mode:?}");
    }
    Ok(())
}

#[test]
fn stop_interrupts_the_program_and_the_lab_ends() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let job = LabJob { arguments: vec!["100".into()], ..LabJob::new("/bin/sleep") };
    let run = lab.run(&job, &mut |output| {
        if output == LabOutput::Started {
            job.stop.store(true, Ordering::Relaxed);
        }
    })?;
    ensure!(run.end == ProgramEnd::Signal(2), "{run:?}");
    Ok(())
}

#[test]
fn lab_that_hangs_is_retried_and_every_hang_is_counted() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let job = LabJob { boot_timeout: Duration::from_millis(1), retries: 2, ..LabJob::new("/bin/true") };
    let mut retries = 0;
    let ended =
        lab.run(&job, &mut |output| retries += usize::from(matches!(output, LabOutput::Retrying { .. })));
    match ended {
        Err(LabError::Hung { hangs, .. }) => {
            ensure!((hangs.len(), retries) == (3, 2), "{hangs:?}, {retries}")
        }
        other => anyhow::bail!("expected a hang, got {other:?}"),
    }
    Ok(())
}
