//! `vmbus-emu sim`: the real devices with the simulated guest, in virtual time, without KVM.
//!
//! The guest is named as simulated wherever it shows: on the first line of output, in the table, and in the report.

use std::time::Instant;

use device_model::bus::DoorbellChange;
use device_model::{Bus, BusParts, Clock, Synthvid};
use guest_agent::pattern::{self, Pattern};
use guest_sim::{Milestone, Script, SimConfig, SimGuest, VirtualClock};
use meter::report::{self, Report};
use meter::{Meter, SharedMeter};
use synthvid::Size;
use vm_memory::GuestMemoryMmap;
use vmbus::ChannelId;
use vmbus::server::ServerConfig;

use crate::cli::SimArgs;
use crate::exit::ExitError;
use crate::progress::{Phase, Progress};
use crate::session::{checks, scenario, summary};

/// Seed of the pattern that the guest draws.
const PATTERN_SEED: u64 = 1;
/// Both refresh timers of the driver run at 20 Hz and do not know of each other.
const DIRT_CAP_IN_1S: u64 = 42;

/// Plays one script to its end.
pub(crate) fn execute(args: &SimArgs, progress: &Progress) -> Result<(), ExitError> {
    let script = args.script;
    println!("simulated guest, script \"{script}\": no kernel runs, time is virtual");
    let mut run = Simulation::new(args, script)?;
    progress.begin(Phase::Draw);
    let started = Instant::now();
    let mut checked = Vec::new();
    loop {
        match run.next_milestone()? {
            Milestone::Pattern => {
                run.picture("graphics", args)?;
                checked.push(run.pixels_check("pattern")?);
            }
            Milestone::Console => {
                run.picture("console", args)?;
                checked.push(run.pixels_check("console")?);
            }
            Milestone::End => break,
        }
    }
    checked.push(run.pixels_check("last_picture")?);
    checked.extend(run.traffic_checks(script));
    progress.done(&format!(
        "{} ms of virtual time in {} ms",
        run.clock.now_ns() / 1_000_000,
        started.elapsed().as_millis()
    ));

    let mut report = run.report();
    report.checks = checked;
    if let Some(path) = args.results.report() {
        report.write_json_atomically(&path).map_err(|error| ExitError::cannot_run(error.to_string()))?;
    }
    summary::print(&report);
    summary::verdict(&report)
}

/// A virtual clock as the bus wants it.
struct SimClock(VirtualClock);

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

/// The bus and its guest, stepped in turn.
struct Simulation {
    guest: SimGuest,
    bus: Bus<GuestMemoryMmap, SharedMeter>,
    meter: SharedMeter,
    clock: VirtualClock,
    video: ChannelId,
    open: bool,
}

impl Simulation {
    fn new(args: &SimArgs, script: Script) -> Result<Self, ExitError> {
        let ours =
            |error: &dyn std::fmt::Display| ExitError::cannot_run(format!("no simulated guest: {error}"));
        let draw = |size: Size, x, y| {
            pattern::Picture::new(Pattern::Coordinates, size.width, size.height, PATTERN_SEED).pixel(x, y)
        };
        let guest = SimGuest::new(SimConfig::new(script, Box::new(draw))).map_err(|error| ours(&error))?;
        let (clock, meter) = (VirtualClock::new(), SharedMeter::new(Meter::new()));
        let loopback = guest.loopback();
        let parts = BusParts {
            memory: (**loopback.memory()).clone(),
            signal: loopback.synic().clone(),
            doorbells: loopback.synic().clone(),
            inbox: loopback.inbox().clone(),
            clock: Box::new(SimClock(clock.clone())),
        };
        let mut bus = Bus::new(parts, ServerConfig::default(), meter.clone());
        let synthvid =
            Synthvid::new(args.video.clone(), Box::new(guest.vram_mapper())).map_err(|error| ours(&error))?;
        let video = bus.add_device(Box::new(synthvid)).map_err(|error| ours(&error))?;
        meter.with(|meter| meter.watch_video_channel(video));
        Ok(Self { guest, bus, meter, clock, video, open: false })
    }

    /// Runs until the guest's picture is complete. A guest that waits for ever has found a fault of the host's.
    fn next_milestone(&mut self) -> Result<Milestone, ExitError> {
        loop {
            let progress = self
                .guest
                .step(self.clock.now_ns())
                .map_err(|error| ExitError::check_failed(format!("the simulated guest gave up: {error}")))?;
            self.bus.process_inbox();
            while let Some(change) = self.bus.poll_doorbell_change() {
                self.open = matches!(change, DoorbellChange::Opened(..));
            }
            if self.open {
                self.bus.process_doorbell(self.video);
            }
            self.bus.tick();
            if let Some(milestone) = progress.milestone {
                return Ok(milestone);
            }
            if !progress.worked {
                let now_ns = self.clock.now_ns();
                let due =
                    [self.guest.next_deadline(now_ns), self.bus.deadline_ns()].into_iter().flatten().min();
                let due = due.ok_or_else(|| ExitError::check_failed("guest and host wait for each other"))?;
                self.clock.advance_to(due.max(now_ns));
            }
        }
    }

    fn video(&self) -> Result<&Synthvid, ExitError> {
        self.bus.device().ok_or_else(|| ExitError::cannot_run("the video device is gone"))
    }

    fn picture(&self, name: &str, args: &SimArgs) -> Result<(), ExitError> {
        match args.results.picture(name) {
            Some(path) => scenario::write_picture(&path, &self.video()?.picture()),
            None => Ok(()),
        }
    }

    /// The host's surface is, pixel by pixel, what the guest knows that it drew.
    fn pixels_check(&self, name: &str) -> Result<report::Check, ExitError> {
        let surface = self.video()?.surface();
        let size = self.guest.size().unwrap_or(Size::new(0, 0));
        let wrong = (0..size.height)
            .flat_map(|y| (0..size.width).map(move |x| (x, y)))
            .filter(|&(x, y)| surface.pixel(x, y) != self.guest.pixel(x, y))
            .count();
        let detail = format!("{wrong} of {} pixels differ from what the simulated guest drew", size.area());
        Ok(checks::check(name, wrong == 0 && surface.size() == size && !size.is_empty(), detail))
    }

    fn traffic_checks(&self, script: Script) -> Vec<report::Check> {
        self.meter.with(|meter| {
            let messages = meter.counters().dirt_messages;
            let sent = self.guest.stats().dirt_sent;
            let busiest = meter.max_dirt_in_1s();
            let faults = meter.counters().faults.total();
            let hostile = script == Script::Hostile;
            // A hostile guest's malformed messages hold DIRTs too, which its driver did not send.
            let arrived = if hostile { messages >= sent } else { messages == sent };
            vec![
                checks::check("dirt_came", messages > 0, format!("{messages} DIRT messages")),
                checks::check("dirt_arrived", arrived, format!("{messages} came, the driver sent {sent}")),
                checks::check(
                    "rate_cap",
                    busiest <= DIRT_CAP_IN_1S,
                    format!("{busiest} DIRT in the busiest second, limit is {DIRT_CAP_IN_1S}"),
                ),
                checks::check(
                    "faults",
                    (faults > 0) == hostile,
                    format!(
                        "{faults} faults of the guest, {}",
                        if hostile { "some were planted" } else { "none was planted" }
                    ),
                ),
            ]
        })
    }

    fn report(&self) -> Report {
        let host = report::Host {
            kvm: report::Kvm::Sim,
            lab_clock: None,
            synic: report::Synic::Loopback,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .ok()
                .map(|text| text.trim().to_owned()),
            vcpus: Some(1),
            ram_bytes: None,
            duration_ms: Some(self.clock.now_ns() / 1_000_000),
            vmm_memory_kib: None,
        };
        let guest =
            report::Guest { driver: Some("hyperv_fb".to_owned()), simulated: true, ..Default::default() };
        let mut report = self.meter.with(|meter| Report::new(host, guest, 1, meter));
        let stats = self.guest.loopback().synic().stats().snapshot();
        report.exits.hypercall_user = Some(stats.hypercall_user);
        report.exits.signal_user = Some(stats.signal_user);
        report
    }
}
