//! The guest's machine with the event thread behind it: started, reset as often as the guest asks, stopped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use device_model::{BusParts, Clock as _, Keyboard, MonotonicClock, Mouse, Synthvid};
use hv_kvm::SynicMode;
use hv_kvm::vram::Aperture;
use meter::report;
use oracle::{Oracle, SharedOracle};
use vmbus::server::ServerConfig;

use super::event_loop::{Bus, BusSubscriber, EventLoop};
use super::firmware::{Firmware, FirmwareLog};
use super::guest::{self, PreparedGuest};
use super::guest_log::GuestLog;
use super::stop::StopRequest;
use super::watch::Watch;
use super::write_log::KvmWriteLog;
use super::{checks, console_out, summary};
use crate::cli::{Generation, RunArgs, Scenario, SynicChoice};
use crate::control::{SessionControl, SharedEvents};
use crate::exit::ExitError;
use crate::machine::{self, ConsoleSink, Machine, MachineConfig, MachineEvent, ResetCause};

/// Events of the machine that are read before time and signals are looked at again: as many as it keeps.
const EVENTS_AT_ONCE: usize = 64;

/// What a run takes from one machine to the next: clock, meter, counts and the console are of the whole run.
pub(crate) struct Vm<'a> {
    args: &'a RunArgs,
    config: MachineConfig,
    clock: MonotonicClock,
    watch: Watch,
    oracle: Option<SharedOracle>,
    stop: StopRequest,
    end: RunEnd,
    resets: u64,
    log: GuestLog,
    firmware_log: FirmwareLog,
    /// The firmware has set up its frame buffer, and nobody has asked yet what became of it.
    new_firmware: bool,
    /// The memory behind the machine's VRAM.
    aperture: Arc<Aperture>,
    /// Where the control socket finds the event thread.
    control: SharedEvents,
    /// A client of the control socket asked for the end.
    quit: Arc<AtomicBool>,
    /// Exits of the machines before this one.
    earlier: Option<report::Exits>,
    // Before the machine, whose memory and doorbells it uses.
    events: EventLoop,
    machine: Machine,
}

impl<'a> Vm<'a> {
    /// Builds the machine and the bus, and lets the guest run.
    ///
    /// # Errors
    /// The machine cannot be built here, or a file of the guest's is wrong.
    pub(crate) fn start(
        args: &'a RunArgs,
        guest: &PreparedGuest,
        watch: Watch,
        stop: StopRequest,
    ) -> Result<Self, ExitError> {
        let mut config = machine_config(args, guest)?;
        let log = GuestLog::default();
        let firmware_log = FirmwareLog::default();
        config.console.callback = Some(firmware_log.listen(config.console.callback.take()));
        config.console.callback = Some(log.listen(config.console.callback.take()));
        let mut machine = Machine::build(&config).map_err(machine_error)?;
        let clock = MonotonicClock::default();
        let oracle = watch.oracle.map(|settings| {
            let log = KvmWriteLog::new(Arc::clone(machine.slots()));
            SharedOracle::new(Oracle::new(settings, Box::new(log)))
        });
        let (events, aperture) = start_bus(args, &machine, clock, &watch, oracle.as_ref())?;
        machine.start().map_err(machine_error)?;
        let (end, resets, earlier) = (RunEnd::default(), 0, None);
        let (control, quit) = (SharedEvents::new(events.handle()), Arc::default());
        Ok(Self {
            args,
            config,
            clock,
            watch,
            oracle,
            stop,
            end,
            resets,
            log,
            firmware_log,
            new_firmware: true,
            aperture,
            control,
            quit,
            earlier,
            events,
            machine,
        })
    }

    /// Why there is no point in waiting for the guest any more, if so.
    pub(crate) fn look(&mut self) -> Option<String> {
        let quit = self.quit.load(Ordering::Acquire);
        self.end
            .look(&self.machine, &self.stop)
            .or_else(|| quit.then(|| "ended through the control socket".into()))
    }

    /// The guest has asked for a reset, which [`Self::reset`] carries out, and has not crashed before.
    pub(crate) fn wants_reset(&mut self) -> Option<ResetCause> {
        self.look();
        match (&self.end.event, self.end.signal, &self.end.crash) {
            (Some(MachineEvent::Reset(cause)), false, None) => Some(*cause),
            _ => None,
        }
    }

    /// Resets the machine: new processors, new memory, a new bus and devices, from the same files. The guest runs at
    /// once. The console's log, the clock and the meter go on.
    ///
    /// # Errors
    /// The machine cannot be stopped or built again; it does not run any more then.
    pub(crate) fn reset(&mut self) -> Result<(), ExitError> {
        self.machine.stop().map_err(machine_error)?;
        // Its observers are those of the next one, which must hear of one machine only.
        self.events.stop();
        self.earlier = Some(self.exits());
        let mut machine = self.machine.built_again(&self.config).map_err(machine_error)?;
        if let Some(oracle) = &self.oracle {
            let log = KvmWriteLog::new(Arc::clone(machine.slots()));
            oracle.with(|oracle| oracle.replace_log(self.clock.now_ns(), Box::new(log)));
        }
        self.firmware_log.clear();
        self.new_firmware = true;
        let (events, aperture) =
            start_bus(self.args, &machine, self.clock, &self.watch, self.oracle.as_ref())?;
        machine.start().map_err(machine_error)?;
        self.control.replace(events.handle());
        self.events = events;
        self.aperture = aperture;
        self.machine = machine;
        self.end = RunEnd { crash: self.end.crash.take(), ..RunEnd::default() };
        self.resets += 1;
        Ok(())
    }

    /// Takes the guest off its processors for good.
    ///
    /// # Errors
    /// A processor does not come back.
    pub(crate) fn stop(&mut self) -> Result<(), ExitError> {
        self.machine.stop().map_err(machine_error)
    }

    /// Carries out what clients of the control socket ask for, through every reset.
    pub(crate) fn control(&self) -> SessionControl {
        SessionControl::new(self.control.clone(), self.watch.meter.clone(), Arc::clone(&self.quit))
    }

    /// The event thread, which owns bus and devices.
    pub(crate) fn events(&self) -> &EventLoop {
        &self.events
    }

    /// What compares pixels, if anything does.
    pub(crate) fn oracle(&self) -> Option<&SharedOracle> {
        self.oracle.as_ref()
    }

    /// The machine that runs now.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the guest's kernel complained of.
    pub(crate) fn guest_log(&self) -> &GuestLog {
        &self.log
    }

    /// The firmware's frame buffer, if the machine has one.
    pub(crate) fn firmware(&self) -> Option<Firmware> {
        let screen = self.args.firmware_framebuffer?;
        let first_declared = self.aperture.first_declared();
        Some(Firmware { screen, log: self.firmware_log.clone(), first_declared })
    }

    /// The same for the first who asks after a start or a reset of the machine. A kernel that another one started (kexec) has no firmware
    /// that set up the screen for it.
    pub(crate) fn new_firmware(&mut self) -> Option<Firmware> {
        if std::mem::take(&mut self.new_firmware) { self.firmware() } else { None }
    }

    /// The clock of the run, which no reset sets back.
    pub(crate) fn clock(&self) -> MonotonicClock {
        self.clock
    }

    /// How often the guest's machine was reset.
    pub(crate) fn resets(&self) -> u64 {
        self.resets
    }

    /// The user, or the system, asked this program to stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.end.signal
    }

    /// Whether the guest ended as it should.
    pub(crate) fn end_check(&self) -> report::Check {
        self.end.check(self.args.scenario, self.quit.load(Ordering::Acquire))
    }

    /// Exits of the whole run.
    pub(crate) fn exits(&self) -> report::Exits {
        let now = summary::exits(&self.machine);
        match &self.earlier {
            Some(earlier) => summary::sum_of_exits(earlier, &now),
            None => now,
        }
    }
}

fn machine_config(args: &RunArgs, guest: &PreparedGuest) -> Result<MachineConfig, ExitError> {
    let mut config = MachineConfig::new(&guest.kernel);
    config.initrd = guest.initrd.as_ref().map(|initrd| initrd.path().to_owned());
    config.cmdline = guest::command_line(args);
    config.ram_mib = args.memory_bytes >> 20;
    config.vcpus = args.cpus;
    config.generation = match args.generation {
        Generation::One => machine::Generation::ONE,
        Generation::Two => machine::Generation::Two { screen: args.firmware_framebuffer },
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
    watch: &Watch,
    oracle: Option<&SharedOracle>,
) -> Result<(EventLoop, Arc<Aperture>), ExitError> {
    let ours = |error: &dyn std::fmt::Display| ExitError::cannot_run(format!("no VMBus: {error}"));
    let (mapper, aperture) = machine.vram(args.video.vram_bytes).map_err(machine_error)?;
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
    let mut bus = Bus::new(parts, config, watch.observers(oracle));
    let channel = bus.add_device(Box::new(video)).map_err(|error| ours(&error))?;
    watch.video_channel(channel);
    if args.keyboard {
        bus.add_device(Box::new(Keyboard::new())).map_err(|error| ours(&error))?;
    }
    if args.mouse {
        bus.add_device(Box::new(Mouse::new())).map_err(|error| ours(&error))?;
    }
    let wake = match machine.slot_freed() {
        Some(fd) => vec![fd.try_clone().map_err(|error| ours(&error))?],
        None => Vec::new(),
    };
    let events = EventLoop::start(BusSubscriber::new(bus, wake).map_err(|error| ours(&error))?)?;
    Ok((events, aperture))
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

    /// A guest ends well if it powers itself off without having crashed; one without an agent may run on.
    fn check(&self, scenario: Scenario, quit: bool) -> report::Check {
        if scenario == Scenario::Panic {
            return self.crash_check();
        }
        let (passed, mut detail) = match &self.event {
            Some(MachineEvent::PowerOff) => (true, "the guest powered off".to_owned()),
            Some(event) => (false, event.to_string()),
            None if scenario == Scenario::None && quit => {
                (true, "the guest was stopped through the control socket".to_owned())
            }
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

    /// A guest that was asked to crash ends well if it reports that, and resets its machine.
    fn crash_check(&self) -> report::Check {
        let told = |event: &Option<MachineEvent>, nothing: &str| {
            event.as_ref().map_or_else(|| nothing.to_owned(), ToString::to_string)
        };
        let crash = told(&self.crash, "the guest did not report its crash");
        let end = told(&self.event, "and did not reset its machine");
        let passed = self.crash.is_some() && matches!(self.event, Some(MachineEvent::Reset(_)));
        checks::check("clean_end", passed, format!("{crash}; {end}"))
    }
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
