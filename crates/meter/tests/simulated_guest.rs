//! The meter over the real devices and the simulated guest, in virtual time: figures that can be worked out by hand.

use device_model::bus::DoorbellChange;
use device_model::options::SynthvidOptions;
use device_model::{Bus, BusParts, Clock, Synthvid};
use guest_sim::{Milestone, Script, SimConfig, SimGuest, VirtualClock};
use meter::SharedMeter;
use meter::report::{Guest, Host, Kvm, Report, Synic};
use vm_memory::GuestMemoryMmap;
use vmbus::ChannelId;

const MS: u64 = 1_000_000;

struct SimClock(VirtualClock);

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

struct Run {
    guest: SimGuest,
    bus: Bus<GuestMemoryMmap, SharedMeter>,
    meter: SharedMeter,
    clock: VirtualClock,
    video: ChannelId,
    open: bool,
}

impl Run {
    fn new(script: Script, device: &str) -> Self {
        let pattern = |_, x: u32, y: u32| (x << 12 | y) + 1;
        let guest = SimGuest::new(SimConfig::new(script, Box::new(pattern))).expect("memory");
        let (clock, meter) = (VirtualClock::new(), SharedMeter::default());
        let loopback = guest.loopback();
        let parts = BusParts {
            memory: (**loopback.memory()).clone(),
            signal: loopback.synic().clone(),
            doorbells: loopback.synic().clone(),
            inbox: loopback.inbox().clone(),
            clock: Box::new(SimClock(clock.clone())),
        };
        let mut bus = Bus::new(parts, vmbus::server::ServerConfig::default(), meter.clone());
        let options = SynthvidOptions::parse(device).expect("a device");
        let synthvid = Synthvid::new(options, Box::new(guest.vram_mapper())).expect("a device");
        let video = bus.add_device(Box::new(synthvid)).expect("room for it");
        meter.with(|meter| meter.watch_video_channel(video));
        Self { guest, bus, meter, clock, video, open: false }
    }

    /// Steps guest and bus until neither has anything to do at this time; a milestone ends it early.
    fn settle(&mut self) -> Option<Milestone> {
        loop {
            let progress = self.guest.step(self.clock.now_ns()).expect("a guest");
            self.bus.process_inbox();
            while let Some(change) = self.bus.poll_doorbell_change() {
                self.open = matches!(change, DoorbellChange::Opened(..));
            }
            if self.open {
                self.bus.process_doorbell(self.video);
            }
            self.bus.tick();
            if progress.milestone.is_some() {
                return progress.milestone;
            }
            if !progress.worked {
                return None;
            }
        }
    }

    fn run_to(&mut self, milestone: Milestone) {
        loop {
            if self.settle() == Some(milestone) {
                return;
            }
            let now_ns = self.clock.now_ns();
            let due = [self.guest.next_deadline(now_ns), self.bus.deadline_ns()].into_iter().flatten().min();
            self.clock.advance_to(due.expect("the guest waits for ever").max(now_ns));
        }
    }

    fn run_for(&mut self, ns: u64) {
        let end = self.clock.now_ns() + ns;
        while self.clock.now_ns() < end {
            self.settle();
            let now_ns = self.clock.now_ns();
            let due = [self.guest.next_deadline(now_ns), self.bus.deadline_ns()].into_iter().flatten().min();
            self.clock.advance_to(due.unwrap_or(end).clamp(now_ns, end));
        }
        self.settle();
    }

    fn want_dirt(&mut self, wanted: bool) {
        self.bus.device_mut::<Synthvid>().expect("the device").want_dirt(wanted);
        self.bus.tick();
    }

    fn wrong_pixels(&self) -> usize {
        let surface = self.bus.device::<Synthvid>().expect("the device").surface();
        let size = self.guest.size().expect("a screen");
        let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
        pixels.filter(|&(x, y)| surface.pixel(x, y) != self.guest.pixel(x, y)).count()
    }
}

#[test]
fn pattern_is_declared_and_changed_exactly_once() {
    let mut run = Run::new(Script::Demo, "hyperv-synthvid,vram=8M,repaint=strict");
    run.run_to(Milestone::Pattern);
    assert_eq!(run.wrong_pixels(), 0);
    let counters = run.meter.with(|meter| *meter.counters());
    assert_eq!((counters.declared_px, counters.changed_px), (1024 * 768, 1024 * 768));
    assert_eq!((counters.implied_px, counters.rejected_rects, counters.faults.total()), (0, 0, 0));
    assert_eq!(counters.dirt_messages, run.guest.stats().dirt_sent);
}

#[test]
fn console_run_stays_below_the_rate_of_its_timer_and_shows_what_was_printed() {
    let mut run = Run::new(Script::Demo, "hyperv-synthvid");
    run.run_to(Milestone::End);
    assert_eq!(run.wrong_pixels(), 0);
    run.meter.with(|meter| {
        assert!((20..=21).contains(&meter.max_dirt_in_1s()), "{}", meter.max_dirt_in_1s());
        assert_eq!(meter.counters().dirt_messages, run.guest.stats().dirt_sent);
        assert!(meter.signals().is_some_and(|signals| signals >= meter.counters().dirt_messages));
        assert!(meter.dirt_intervals().percentile_us(0.5).is_some_and(|us| us >= 48_000));
        assert_eq!(
            meter.doorbell_to_surface().percentile_us(0.99),
            Some(0),
            "time stands still inside of a step"
        );
        assert!(meter.is_quiet(run.clock.now_ns(), 500 * MS));
    });
}

#[test]
fn no_dirt_follows_feature_change_0_and_dirt_follows_feature_change_1() {
    let mut run = Run::new(Script::Box, "hyperv-synthvid,repaint=strict");
    run.run_for(1_000 * MS);
    assert!(run.meter.with(|meter| meter.counters().dirt_messages) > 0);
    run.want_dirt(false);
    run.run_for(48 * MS);
    let unwanted = run.meter.with(|meter| meter.mark());
    run.run_for(1_000 * MS);
    assert_eq!(run.meter.with(|meter| meter.since(&unwanted).dirt_messages), 0);
    run.want_dirt(true);
    let wanted = run.meter.with(|meter| meter.mark());
    run.run_for(1_000 * MS);
    assert!((20..=21).contains(&run.meter.with(|meter| meter.since(&wanted).dirt_messages)));
    assert_eq!(run.meter.with(|meter| meter.counters().feature_changes), 3);
}

#[test]
fn hostile_guest_is_counted_layer_by_layer_and_its_pattern_is_right() {
    let mut run = Run::new(Script::Hostile, "hyperv-synthvid");
    run.run_to(Milestone::Pattern);
    assert_eq!(run.wrong_pixels(), 0);
    let faults = run.meter.with(|meter| meter.counters().faults);
    assert_eq!((faults.control, faults.ring, faults.pipe), (9, 5, 3));
    assert!(faults.device >= 8, "{faults:?}");
    assert_eq!(run.meter.with(|meter| meter.device().vram_refused), 1);
}

#[test]
fn report_of_a_simulated_run_names_what_was_agreed_on() {
    for (device, kind, gpa, bytes) in [
        ("hyperv-synthvid,vram=8M", "mmio", "0xf8000000", 8 << 20),
        ("hyperv-synthvid,vram=4M", "ram", "0x400000", 4 << 20),
    ] {
        let mut run = Run::new(Script::Demo, device);
        run.run_to(Milestone::Console);
        assert_eq!(run.wrong_pixels(), 0, "{device}");
        let host = Host {
            kvm: Kvm::Sim,
            lab_clock: None,
            synic: Synic::Loopback,
            version: "0".into(),
            kernel: None,
            vcpus: None,
            ram_bytes: None,
            duration_ms: Some(run.clock.now_ns() / MS),
            vmm_memory_kib: None,
        };
        let guest = Guest { driver: Some("hyperv_fb".into()), simulated: true, ..Guest::default() };
        let report = run.meter.with(|meter| Report::new(host, guest, 1, meter));
        assert_eq!(report.device.vmbus_version.as_deref(), Some("5.3"));
        assert_eq!(report.device.synthvid_version.as_deref(), Some("3.5"));
        assert_eq!(report.device.mode.as_deref(), Some("1024x768"));
        assert_eq!(report.device.situation_changes, 1);
        assert_eq!(report.device.vram.kind.as_deref(), Some(kind));
        assert_eq!(report.device.vram.gpa.as_deref(), Some(gpa));
        assert_eq!(report.device.vram.bytes, Some(bytes));
        assert_eq!(report.traffic.feature_changes, 1);
        assert!(report.traffic.signals.is_some());
    }
}
