//! A run on the KVM below this process, from the kernel file to the report.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use device_model::Clock as _;
use guest_agent::protocol::Command;
use hv_kvm::SynicMode;
use meter::report::{self, Report};
use meter::{Meter, SharedMeter};

use super::agent::Agent;
use super::checks;
use super::guest::{self, PreparedGuest};
use super::holdings;
use super::scenario::{Outcome, Stage};
use super::stop::StopRequest;
use super::summary;
use super::vm::Vm;
use super::watch::Watch;
use crate::cli::{RunArgs, Scenario};
use crate::control::{ClaimedSocket, ControlServer};
use crate::exit::ExitError;
use crate::host;
use crate::progress::{Phase, Progress};

/// How long a guest may take to power off when asked to.
const POWER_OFF: Duration = Duration::from_secs(20);
/// Lines of console output in the report.
const CONSOLE_TAIL_LINES: usize = 40;

/// Prepares the guest, runs it, and writes what came out.
///
/// `socket` is served while the guest runs.
pub(crate) fn run(
    args: &RunArgs,
    kvm: report::Kvm,
    socket: Option<ClaimedSocket>,
    progress: &Progress,
) -> Result<(), ExitError> {
    let stop = StopRequest::catch_signals()?;
    host::raise_descriptor_limit();
    let guest = guest::prepare(args, progress)?;
    let meter = SharedMeter::new(Meter::new());
    let mut vm = Vm::start(args, &guest, Watch::with_meter(meter.clone()), stop)?;

    let control = socket.map(|socket| ControlServer::start(socket, Arc::new(vm.control()))).transpose()?;

    let until = Instant::now() + args.timeout;
    let (mut outcome, vmm_memory_kib) = {
        let mut stage = Stage {
            agent: Agent::new(vm.machine().agent().clone()),
            clock: vm.clock(),
            vm: &mut vm,
            meter: meter.clone(),
            progress,
            results: &args.results,
            pointer: args.pointer,
            until,
            dirt_wanted: args.video.dirt,
            repaint: args.video.repaint,
            repeat: args.repeat,
        };
        let outcome = stage.play(args.scenario)?;
        let vmm_memory_kib = holdings::vmm_memory_kib();
        if args.scenario != Scenario::None {
            // A guest that is gone already cannot be asked; how it went is known then.
            let _ = stage.agent.tell(Command::PowerOff);
        }
        (outcome, vmm_memory_kib)
    };
    let limit = if args.scenario == Scenario::None { until } else { until.min(Instant::now() + POWER_OFF) };
    while Instant::now() < limit {
        if args.scenario == Scenario::None && !args.no_reboot && vm.wants_reset().is_some() {
            vm.reset()?;
        }
        if vm.look().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(control);
    vm.stop()?;
    let duration = Duration::from_nanos(vm.clock().now_ns());

    outcome.checks.push(vm.end_check());
    synic_check(&vm, &mut outcome);
    progress.begin(Phase::Report);
    let mut report = build_report(args, kvm, &guest, &vm, &meter, outcome, duration);
    report.host.vmm_memory_kib = vmm_memory_kib;
    if let Some(path) = args.results.report() {
        report.write_json_atomically(&path).map_err(|error| ExitError::cannot_run(error.to_string()))?;
    }
    progress.done(&args.results.report().map(|path| path.display().to_string()).unwrap_or_default());
    summary::print(&report);
    if vm.interrupted() {
        return Err(ExitError::check_failed("stopped by a signal before the run was over"));
    }
    summary::verdict(&report)
}

/// With the SynIC in the kernel no signal of the guest may cost an exit to this process.
fn synic_check(vm: &Vm<'_>, outcome: &mut Outcome) {
    let signals = vm.exits().signal_user.unwrap_or_default().saturating_sub(outcome.overtaken_signals);
    let detail = format!("{signals} of the guest's signals cost an exit to user space, limit is 0");
    outcome.checks.push(checks::check("no_signal_exits", signals == 0, detail));
}

/// Waits until the guest is gone, as long as it may take to power off.
pub(super) fn wait_for_power_off(vm: &mut Vm<'_>) {
    let limit = Instant::now() + POWER_OFF;
    while vm.look().is_none() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn build_report(
    args: &RunArgs,
    kvm: report::Kvm,
    guest: &PreparedGuest,
    vm: &Vm<'_>,
    meter: &SharedMeter,
    outcome: Outcome,
    duration: Duration,
) -> Report {
    let machine = vm.machine();
    let host = report::Host {
        kvm,
        lab_clock: host::lab_clock(),
        synic: match machine.synic_mode() {
            SynicMode::Kernel => report::Synic::Kernel,
            SynicMode::User => report::Synic::User,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        vcpus: Some(args.cpus),
        ram_bytes: Some(args.memory_bytes),
        duration_ms: u64::try_from(duration.as_millis()).ok(),
        vmm_memory_kib: None,
    };
    let described = report::Guest {
        kernel: outcome.hello.as_ref().map(|hello| hello.release.clone()).or_else(|| guest.release.clone()),
        driver: outcome.driver.clone(),
        package: guest.package.clone(),
        version: guest.version.clone(),
        sha256: guest.sha256.digits().ok().map(str::to_owned),
        driver_sha256: args.driver.as_ref().map(|driver| driver.sha256.clone()),
        simulated: false,
        boot_ms: outcome.hello.as_ref().map(|hello| hello.boot_ms),
        resets: vm.resets(),
    };
    let mut report = meter.with(|meter| Report::new(host, described, args.generation.number(), meter));
    report.device.firmware_framebuffer = vm.firmware().map(|firmware| firmware.report()).unwrap_or_default();
    report.exits = vm.exits();
    report.console = report::Console { tail: Some(machine.console().tail_lines(CONSOLE_TAIL_LINES)) };
    report.limits.extend(test_equipment(args));
    report.limits.extend(guest.sha256.digits().err().map(str::to_owned));
    report.limits.extend(outcome.left_out);
    report.checks.extend(outcome.checks);
    report
}

/// What the host did wrong on purpose, so that the results cannot be taken for those of a good host.
pub(super) fn test_equipment(args: &RunArgs) -> Vec<String> {
    let told = |word: &String| format!("test equipment: the host was told to misbehave, {word}");
    args.video.misbehaviour().iter().map(told).collect()
}

/// A file that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A new file with `contents` in the directory for temporary files.
    pub(crate) fn with(name: &str, contents: &[u8]) -> std::io::Result<Self> {
        static COUNT: AtomicBool = AtomicBool::new(false);
        let turn = u8::from(COUNT.fetch_xor(true, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("vmbus-emu-{}-{turn}-{name}", std::process::id()));
        fs::OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(contents)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It lies in a directory for temporary files; nothing is lost if it stays.
        let _ = fs::remove_file(&self.0);
    }
}
