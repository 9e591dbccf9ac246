//! A run in the KVM lab: the same command, by the same program, on a host kernel inside QEMU's emulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guest_kit::lab::{Lab, LabJob, LabOutput, LinePort, ProgramEnd};

use super::guest;
use super::stop::StopRequest;
use crate::cli::{GuestSource, KvmChoice, LabClock, MeasureArgs, RunArgs, Userland};
use crate::control::{ClaimedSocket, ControlServer, Relay};
use crate::exit::{ExitError, ExitKind};
use crate::host;
use crate::progress::{Phase, Progress};

/// Where the run inside listens, out of the way of what is shared with it.
const SOCKET_INSIDE: &str = "/tmp/vmbus-emu.control";
/// What the lab's own boot and the copying of files may take beside the run itself.
const LAB_OVERHEAD: Duration = Duration::from_secs(120);
/// How long the lab's own kernel may take to its init.
const LAB_BOOT: Duration = Duration::from_secs(60);
/// What the lab needs beside the guest's memory: its kernel, its initramfs, this program.
const LAB_MEMORY_MIB: u64 = 768;
/// A hung lab is started again, twice at most; each hang is told.
const RETRIES: u32 = 2;

/// Boots the lab, runs this program in it with `args`, and ends as it ended. What clients of `socket` ask goes to the
/// instance inside.
pub(crate) fn run(
    args: &RunArgs,
    socket: Option<ClaimedSocket>,
    progress: &Progress,
) -> Result<(), ExitError> {
    let control = args.control.as_ref().map(|_| PathBuf::from(SOCKET_INSIDE));
    let inside = RunArgs { control, ..on_its_host(args) };
    run_there(args, inside.to_arguments()?, Vec::new(), socket, progress)
}

/// The same for a measurement.
pub(crate) fn measure(args: &MeasureArgs, progress: &Progress) -> Result<(), ExitError> {
    let inside = MeasureArgs { run: on_its_host(&args.run), ..args.clone() };
    run_there(&args.run, inside.to_arguments()?, args.files(), None, progress)
}

/// The same run, where the lab is the host.
fn on_its_host(args: &RunArgs) -> RunArgs {
    RunArgs { kvm: KvmChoice::Host, lab_clock: LabClock::default(), ..args.clone() }
}

/// Runs this program in the lab with `arguments`, which boot the guest of `args` and read `more` files.
fn run_there(
    args: &RunArgs,
    mut arguments: Vec<String>,
    more: Vec<PathBuf>,
    socket: Option<ClaimedSocket>,
    progress: &Progress,
) -> Result<(), ExitError> {
    let stop = StopRequest::catch_signals()?;
    let cache = guest::cache();
    // Before anything is downloaded.
    guest_kit::lab::LabClock::from(args.lab_clock).find_qemu(&cache).map_err(|error| lab_error(&error))?;
    if let GuestSource::Named(name) = &args.guest {
        // Inside the lab there is no network: the kernel must be in the cache.
        guest::fetch(name, progress)?;
    }
    let lab = prepare(&cache, args.lab_clock, progress)?;
    arguments.push("--progress=relay".to_owned());
    let mut inputs = inputs(args, &cache);
    inputs.extend(more);

    let private = tempfile::Builder::new().prefix("vmbus-emu-lines-").tempdir().map_err(|error| {
        ExitError::cannot_run(format!("there is no directory for the lab's port: {error}"))
    })?;
    let port = private.path().join("port");
    let line_port = socket.is_some().then(|| LinePort { host: port.clone(), inside: SOCKET_INSIDE.into() });
    let _control = socket
        .map(|socket| ControlServer::start(socket, Arc::new(Relay::new(port, absolute_outputs(args)?))))
        .transpose()?;

    let on_the_host = |time| guest_kit::lab::LabClock::from(args.lab_clock).on_the_host(time);
    let job = LabJob {
        program: this_program()?,
        more_programs: Vec::new(),
        arguments,
        environment: environment(&cache, args.lab_clock),
        working_directory: std::env::current_dir()
            .map_err(|error| ExitError::cannot_run(format!("there is no working directory: {error}")))?,
        inputs,
        outputs: outputs(args),
        memory_mib: memory_mib(args),
        boot_timeout: on_the_host(LAB_BOOT),
        timeout: on_the_host(args.timeout.saturating_add(LAB_OVERHEAD)),
        retries: RETRIES,
        console_log: args.results.directory().map(|directory| directory.join("lab-console.log")),
        line_port,
        stop: stop.flag(),
    };
    carry_out(&lab, &job, progress)
}

/// Runs `vmbus-emu doctor` inside the lab, on the lab's own KVM.
pub(crate) fn doctor(progress: &Progress) -> Result<(), ExitError> {
    let stop = StopRequest::catch_signals()?;
    let cache = guest::cache();
    let lab = prepare(&cache, LabClock::default(), progress)?;
    let job = LabJob {
        arguments: ["doctor", "--kvm=host", "--progress=relay"].map(str::to_owned).into(),
        environment: environment(&cache, LabClock::default()),
        boot_timeout: LAB_BOOT,
        retries: RETRIES,
        stop: stop.flag(),
        ..LabJob::new(this_program()?)
    };
    carry_out(&lab, &job, progress)
}

/// Gets QEMU and the lab's kernel.
fn prepare(cache: &Path, clock: LabClock, progress: &Progress) -> Result<Lab, ExitError> {
    progress.begin(Phase::Download);
    let lab = Lab::prepare(cache, clock.into(), &mut |step| guest::tell(step, progress))
        .map_err(|error| lab_error(&error))?;
    progress.done(&format!("{} for the lab", lab.kernel().package));
    Ok(lab)
}

/// Runs a job whose program is this one: what it prints is printed here, and as it ends, this ends.
fn carry_out(lab: &Lab, job: &LabJob, progress: &Progress) -> Result<(), ExitError> {
    progress.begin(Phase::LabBoot);
    let ran = lab.run(job, &mut |output| relay(output, progress)).map_err(|error| lab_error(&error))?;
    for hang in &ran.hangs {
        progress.suspend(|| eprintln!("warning: the KVM lab hung and was started again: {hang}"));
    }
    match ran.end {
        ProgramEnd::Code(0) => Ok(()),
        // The instance inside has said why.
        ProgramEnd::Code(1) => Err(ExitError::told(ExitKind::CheckFailed)),
        ProgramEnd::Code(2) => Err(ExitError::told(ExitKind::Usage)),
        ProgramEnd::Code(4) => Err(ExitError::told(ExitKind::CannotRun)),
        ProgramEnd::Code(code) => {
            Err(ExitError::cannot_run(format!("the program ended with status {code} inside the KVM lab")))
        }
        ProgramEnd::Signal(signal) => Err(ExitError::cannot_run(format!(
            "the program was killed by signal {signal} inside the KVM lab"
        ))),
    }
}

fn relay(output: LabOutput, progress: &Progress) {
    match output {
        LabOutput::Booted { release, .. } => progress.done(&format!("Linux {release} with KVM")),
        LabOutput::Started => {}
        LabOutput::Stdout(line) => progress.suspend(|| println!("{line}")),
        LabOutput::Stderr(line) => {
            if !progress.relay(&line) {
                progress.suspend(|| eprintln!("{line}"));
            }
        }
        LabOutput::Retrying { reason } => {
            progress.failed();
            progress.suspend(|| eprintln!("warning: the KVM lab hangs and is started again: {reason}"));
            progress.begin(Phase::LabBoot);
        }
    }
}

fn lab_error(error: &guest_kit::lab::LabError) -> ExitError {
    ExitError::cannot_run(format!("KVM lab: {error}"))
        .with_hint("vmbus-emu doctor shows what this host can do and what to install")
}

fn this_program() -> Result<PathBuf, ExitError> {
    std::env::current_exe()
        .map_err(|error| ExitError::cannot_run(format!("this program's own file cannot be found: {error}")))
}

fn memory_mib(args: &RunArgs) -> u32 {
    let guest = (args.memory_bytes + args.video.vram_bytes).div_ceil(1 << 20);
    u32::try_from(guest + LAB_MEMORY_MIB).unwrap_or(u32::MAX)
}

fn environment(cache: &Path, clock: LabClock) -> Vec<(String, String)> {
    let mut environment = vec![
        (host::IN_LAB.to_owned(), clock.to_string()),
        (guest_kit::cache::VARIABLE.to_owned(), cache.to_string_lossy().into_owned()),
    ];
    if let Ok(filter) = std::env::var("VMBUS_EMU_LOG") {
        environment.push(("VMBUS_EMU_LOG".to_owned(), filter));
    }
    environment
}

fn inputs(args: &RunArgs, cache: &Path) -> Vec<PathBuf> {
    let mut inputs = vec![cache.to_owned()];
    if let GuestSource::Files { kernel, userland } = &args.guest {
        inputs.push(kernel.clone());
        match userland {
            Userland::Initrd(initrd) => inputs.push(initrd.clone()),
            Userland::Agent { modules } => inputs.extend(modules.clone()),
        }
    }
    inputs.extend(args.driver.as_ref().map(|driver| driver.path.clone()));
    inputs
}

/// The directories that the lab may write, as a request names them.
fn absolute_outputs(args: &RunArgs) -> Result<Vec<PathBuf>, ExitError> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| ExitError::usage(format!("cannot make {} absolute: {error}", path.display())))
    };
    outputs(args).into_iter().map(absolute).collect()
}

fn outputs(args: &RunArgs) -> Vec<PathBuf> {
    let parent = |file: &Path| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut outputs: Vec<PathBuf> = args.results.directory().map(Path::to_owned).into_iter().collect();
    outputs.extend(args.results.report_given().map(parent));
    outputs.extend(args.console.file_given().map(parent));
    outputs.sort();
    outputs.dedup();
    outputs
}
