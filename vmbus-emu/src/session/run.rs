//! A run on the KVM below this process, from the kernel file to the report.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use device_model::{BusParts, Clock as _, MonotonicClock, Synthvid};
use guest_agent::protocol::Command;
use hv_kvm::SynicMode;
use meter::report::{self, Report};
use meter::{Meter, SharedMeter};
use vmbus::server::ServerConfig;

use super::agent::Agent;
use super::checks;
use super::console_out;
use super::event_loop::{Bus, BusSubscriber, EventLoop};
use super::guest::{self, PreparedGuest};
use super::scenario::{Outcome, Stage};
use super::stop::StopRequest;
use super::summary;
use crate::cli::{Generation, RunArgs, Scenario, SynicChoice};
use crate::exit::ExitError;
use crate::host;
use crate::machine::{self, ConsoleSink, Machine, MachineConfig, MachineEvent};
use crate::progress::{Phase, Progress};

/// How long a guest may take to power off when asked to.
const POWER_OFF: Duration = Duration::from_secs(20);
/// Events of the machine that are read before time and signals are looked at again: as many as it keeps.
const EVENTS_AT_ONCE: usize = 64;
/// Lines of console output in the report.
const CONSOLE_TAIL_LINES: usize = 40;

/// Prepares the guest, runs it, and writes what came out.
pub(crate) fn run(args: &RunArgs, kvm: report::Kvm, progress: &Progress) -> Result<(), ExitError> {
    let stop = StopRequest::catch_signals()?;
    host::raise_descriptor_limit();
    let guest = guest::prepare(args, progress)?;
    let config = machine_config(args, &guest)?;
    let mut machine = Machine::build(&config).map_err(machine_error)?;
    let clock = MonotonicClock::default();
    let meter = SharedMeter::new(Meter::new());
    let events = start_bus(args, &machine, clock, &meter)?;
    machine.start().map_err(machine_error)?;

    let until = Instant::now() + args.timeout;
    let mut end = RunEnd::default();
    let mut outcome = {
        let mut stopped = || end.look(&machine, &stop);
        let mut stage = Stage {
            agent: Agent::new(machine.agent().clone()),
            events: &events,
            meter: meter.clone(),
            clock,
            progress,
            results: &args.results,
            until,
            stopped: &mut stopped,
            dirt_wanted: args.video.dirt,
            repaint: args.video.repaint,
        };
        let outcome = stage.play(args.scenario)?;
        if args.scenario != Scenario::None {
            // A guest that is gone already cannot be asked; how it went is in `end`.
            let _ = stage.agent.tell(Command::PowerOff);
        }
        outcome
    };
    let limit = if args.scenario == Scenario::None { until } else { until.min(Instant::now() + POWER_OFF) };
    while end.look(&machine, &stop).is_none() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    machine.stop().map_err(machine_error)?;
    let duration = Duration::from_nanos(clock.now_ns());
    drop(events);

    outcome.checks.push(end.check(args.scenario));
    synic_check(&machine, &mut outcome);
    progress.begin(Phase::Report);
    let report = build_report(args, kvm, &guest, &machine, &meter, outcome, duration);
    if let Some(path) = args.results.report() {
        report.write_json_atomically(&path).map_err(|error| ExitError::cannot_run(error.to_string()))?;
    }
    progress.done(&args.results.report().map(|path| path.display().to_string()).unwrap_or_default());
    summary::print(&report);
    if end.interrupted() {
        return Err(ExitError::check_failed("stopped by a signal before the run was over"));
    }
    summary::verdict(&report)
}

fn machine_config(args: &RunArgs, guest: &PreparedGuest) -> Result<MachineConfig, ExitError> {
    let mut config = MachineConfig::new(&guest.kernel);
    config.initrd = guest.initrd.as_ref().map(|initrd| initrd.path().to_owned());
    config.cmdline = guest::command_line(args);
    config.ram_mib = args.memory_bytes >> 20;
    config.vcpus = args.cpus;
    config.generation = match args.generation {
        Generation::One => machine::Generation::ONE,
        Generation::Two => machine::Generation::Two,
    };
    config.synic = match args.synic {
        SynicChoice::Auto => machine::SynicChoice::Auto,
        SynicChoice::Kernel => machine::SynicChoice::Only(SynicMode::Kernel),
        SynicChoice::User => machine::SynicChoice::Only(SynicMode::User),
    };
    config.console = ConsoleSink { file: args.console.file().map(Path::to_owned), callback: None };
    if args.console.to_stdout() {
        config.console.callback = Some(console_out::to_stdout()?);
    }
    Ok(config)
}

fn start_bus(
    args: &RunArgs,
    machine: &Machine,
    clock: MonotonicClock,
    meter: &SharedMeter,
) -> Result<EventLoop, ExitError> {
    let ours = |error: &dyn std::fmt::Display| ExitError::cannot_run(format!("no VMBus: {error}"));
    let (mapper, _aperture) = machine.vram(args.video.vram_bytes).map_err(machine_error)?;
    let video = Synthvid::new(args.video.clone(), Box::new(mapper)).map_err(|error| ours(&error))?;
    let parts = BusParts {
        memory: machine.memory().clone(),
        signal: machine.signal(),
        doorbells: machine.doorbells(),
        inbox: machine.inbox(),
        clock: Box::new(clock),
    };
    let config =
        ServerConfig { max_version: vmbus_version(args), vp_count: args.cpus, ..ServerConfig::default() };
    let mut bus = Bus::new(parts, config, meter.clone());
    let channel = bus.add_device(Box::new(video)).map_err(|error| ours(&error))?;
    meter.with(|meter| meter.watch_video_channel(channel));
    let wake = match machine.slot_freed() {
        Some(fd) => vec![fd.try_clone().map_err(|error| ours(&error))?],
        None => Vec::new(),
    };
    EventLoop::start(BusSubscriber::new(bus, wake).map_err(|error| ours(&error))?)
}

fn vmbus_version(args: &RunArgs) -> vmbus::Version {
    vmbus::Version::from_wire(args.vmbus_version.wire()).unwrap_or(vmbus::Version::LATEST)
}

/// How the machine, or the wait for it, ended.
#[derive(Debug, Default)]
struct RunEnd {
    event: Option<MachineEvent>,
    crash: Option<MachineEvent>,
    signal: bool,
}

impl RunEnd {
    /// Why there is no point in waiting any more, if so.
    fn look(&mut self, machine: &Machine, stop: &StopRequest) -> Option<String> {
        // Bounded, because a guest may report crashes faster than they are read here.
        for event in std::iter::from_fn(|| machine.try_event()).take(EVENTS_AT_ONCE) {
            if event.is_final() {
                self.event = Some(event);
            } else {
                self.crash = Some(event);
            }
        }
        if stop.requested() {
            self.signal = true;
            return Some("stopped by a signal".into());
        }
        self.event.as_ref().map(ToString::to_string)
    }

    fn interrupted(&self) -> bool {
        self.signal
    }

    /// A guest ends well if it powers itself off without having crashed; one without an agent may run on.
    fn check(&self, scenario: Scenario) -> report::Check {
        let (passed, mut detail) = match &self.event {
            Some(MachineEvent::PowerOff) => (true, "the guest powered off".to_owned()),
            Some(event) => (false, event.to_string()),
            None if scenario == Scenario::None => {
                (true, "the guest was stopped when its time was over".to_owned())
            }
            None => (false, "the guest did not power off when asked to".to_owned()),
        };
        if let Some(crash) = &self.crash {
            detail = format!("{crash}; {detail}");
        }
        checks::check("clean_end", passed && self.crash.is_none(), detail)
    }
}

/// With the SynIC in the kernel no signal of the guest may cost an exit to this process.
fn synic_check(machine: &Machine, outcome: &mut Outcome) {
    let signals = machine.synic_stats().snapshot().signal_user;
    let detail = format!("{signals} of the guest's signals cost an exit to user space, limit is 0");
    outcome.checks.push(checks::check("no_signal_exits", signals == 0, detail));
}

fn build_report(
    args: &RunArgs,
    kvm: report::Kvm,
    guest: &PreparedGuest,
    machine: &Machine,
    meter: &SharedMeter,
    outcome: Outcome,
    duration: Duration,
) -> Report {
    let host = report::Host {
        kvm,
        synic: match machine.synic_mode() {
            SynicMode::Kernel => report::Synic::Kernel,
            SynicMode::User => report::Synic::User,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        vcpus: Some(args.cpus),
        ram_bytes: Some(args.memory_bytes),
        duration_ms: u64::try_from(duration.as_millis()).ok(),
    };
    let described = report::Guest {
        kernel: outcome.hello.as_ref().map(|hello| hello.release.clone()).or_else(|| guest.release.clone()),
        driver: outcome.driver.clone(),
        package: guest.package.clone(),
        version: guest.version.clone(),
        sha256: Some(guest.sha256.clone()),
        simulated: false,
    };
    let mut report = meter.with(|meter| Report::new(host, described, args.generation.number(), meter));
    report.exits = summary::exits(machine);
    report.console = report::Console { tail: Some(machine.console().tail_lines(CONSOLE_TAIL_LINES)) };
    report.limits.extend(outcome.left_out);
    report.checks.extend(outcome.checks);
    report
}

/// The machine's errors by what the user can do: a wrong file is a usage error, the rest is this host's.
pub(super) fn machine_error(error: machine::MachineError) -> ExitError {
    use machine::MachineError;
    let text = error.to_string();
    match error {
        MachineError::Config(_)
        | MachineError::File { .. }
        | MachineError::NotBzImage { .. }
        | MachineError::DoesNotFit { .. }
        | MachineError::CmdlineLimit { .. } => ExitError::usage(text),
        MachineError::NoSynic { .. } => {
            ExitError::cannot_run(text).with_hint("vmbus-emu doctor lists what this host's KVM has")
        }
        _ => ExitError::cannot_run(text),
    }
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
