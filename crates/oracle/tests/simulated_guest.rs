//! The oracle on the real bus and device, with the simulated driver in virtual time.

use std::ops::Range;

use device_model::bus::DoorbellChange;
use device_model::options::SynthvidOptions;
use device_model::{Bus, BusParts, Clock, Observer as _, Synthvid};
use guest_sim::{Milestone, Script, SimConfig, SimGuest, SimWriteLog, VirtualClock};
use oracle::{Oracle, OracleSettings, SharedOracle, Window, WriteLog, WriteLogError, WrittenPages};
use vm_memory::GuestMemoryMmap;
use vmbus::ChannelId;

const MS: u64 = 1_000_000;
const SCREEN_PX: u64 = 1024 * 768;
/// VRAM in the MMIO window, drawn to by copies of a shadow, and in RAM, drawn to at once.
const DEVICES: [&str; 2] = ["hyperv-synthvid,vram=8M", "hyperv-synthvid,vram=4M"];

struct SimClock(VirtualClock);

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

struct SimLog(SimWriteLog);

impl WriteLog for SimLog {
    fn restart(&mut self, vram: Option<Range<u64>>) -> Result<(), WriteLogError> {
        self.0.follow(vram);
        Ok(())
    }

    fn collect(&mut self, written: &mut WrittenPages) -> Result<(), WriteLogError> {
        self.0.take().into_iter().for_each(|page| written.insert(page));
        Ok(())
    }
}

struct Run {
    guest: SimGuest,
    bus: Bus<GuestMemoryMmap, Option<SharedOracle>>,
    oracle: SharedOracle,
    clock: VirtualClock,
    video: ChannelId,
    open: bool,
}

impl Run {
    fn new(script: Script, device: &str) -> Self {
        let pattern = |_, x: u32, y: u32| (x << 12 | y) + 1;
        let guest = SimGuest::new(SimConfig::new(script, Box::new(pattern))).expect("memory");
        let log = SimLog(guest.memory().writes().clone());
        let oracle = SharedOracle::new(Oracle::new(OracleSettings::default(), Box::new(log)));
        let (clock, loopback) = (VirtualClock::new(), guest.loopback());
        let parts = BusParts {
            memory: (**loopback.memory()).clone(),
            signal: loopback.synic().clone(),
            doorbells: loopback.synic().clone(),
            inbox: loopback.inbox().clone(),
            clock: Box::new(SimClock(clock.clone())),
        };
        let mut bus = Bus::new(parts, vmbus::server::ServerConfig::default(), Some(oracle.clone()));
        let options = SynthvidOptions::parse(device).expect("a device");
        let synthvid = Synthvid::new(options, Box::new(guest.vram_mapper())).expect("a device");
        let video = bus.add_device(Box::new(synthvid)).expect("room for it");
        Self { guest, bus, oracle, clock, video, open: false }
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
        while self.settle() != Some(milestone) {
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

    fn finish(&mut self) -> Window {
        self.oracle.with(|oracle| oracle.finish(self.clock.now_ns()))
    }

    /// The guest writes a pixel behind its driver's back.
    fn smuggle(&mut self, x: u64, y: u64, colour: u32) {
        let (gpa, _) = self.guest.vram().expect("VRAM");
        assert!(self.guest.memory().write(gpa + (y * 1024 + x) * 4, &colour.to_le_bytes()));
    }
}

#[test]
fn pattern_is_written_changed_and_declared_exactly_once_and_nothing_is_missed() {
    for device in DEVICES {
        let mut run = Run::new(Script::Demo, &format!("{device},repaint=strict"));
        run.run_to(Milestone::Pattern);
        let window = run.finish();
        assert_eq!((window.changed_px, window.declared_px), (SCREEN_PX, SCREEN_PX), "{device}");
        assert_eq!((window.missed_px, window.over_declared_px, window.rewritten_px), (0, 0, 0), "{device}");
        assert_eq!((window.written_pages, window.log_error), (SCREEN_PX / 1024, None), "{device}");
    }
}

#[test]
fn correct_driver_misses_nothing_in_a_whole_console_run() {
    for device in DEVICES {
        let mut run = Run::new(Script::Demo, device);
        run.run_to(Milestone::End);
        let window = run.finish();
        assert_eq!((window.missed_px, window.undecided_px), (0, 0), "{device}");
        assert!(window.changed_px > 2 * SCREEN_PX, "{device}");
        assert!(window.write_to_dirt.max_us.is_some_and(|us| us <= 100_000.0), "{device}");
    }
}

#[test]
fn pixel_drawn_behind_the_drivers_back_is_missed_and_named() {
    for device in DEVICES {
        let mut run = Run::new(Script::Idle, device);
        run.run_for(1_000 * MS);
        let now_ns = run.clock.now_ns();
        run.oracle.with(|oracle| oracle.begin(now_ns));
        run.run_for(MS);
        // Far from the cursor in the upper left corner, whose blinking is declared.
        run.smuggle(1023, 767, 0x12_3456);
        run.run_for(500 * MS);
        let window = run.finish();
        assert_eq!(window.missed_px, 1, "{device}");
        let bounds = window.missed[0].bounds;
        assert_eq!(
            (bounds.left, bounds.top, bounds.right, bounds.bottom),
            (1023, 767, 1024, 768),
            "{device}"
        );
        assert!(window.dirt_messages > 0, "{device}: the cursor blinks");
    }
}

#[test]
fn blinking_cursor_is_all_that_an_idle_guest_changes() {
    let mut run = Run::new(Script::Idle, DEVICES[0]);
    run.run_for(1_000 * MS);
    let now_ns = run.clock.now_ns();
    run.oracle.with(|oracle| oracle.begin(now_ns));
    run.run_for(4_000 * MS);
    let window = run.finish();
    assert_eq!((window.missed_px, window.over_declared_px), (0, 0));
    assert!((19..=21).contains(&window.dirt_messages), "{}", window.dirt_messages);
    assert_eq!(window.declared_px, window.changed_px);
}

#[test]
fn channel_that_is_closed_and_opened_again_is_followed() {
    // Each attack costs the guest its channel; what follows is a pattern.
    let mut run = Run::new(Script::Hostile, DEVICES[0]);
    run.run_to(Milestone::Pattern);
    let window = run.finish();
    assert!(run.guest.stats().opens > 10);
    assert_eq!((window.missed_px, window.log_error), (0, None));
    run.smuggle(5, 6, 0x12_3456);
    run.run_for(500 * MS);
    assert_eq!(run.finish().missed_px, 1);
}

#[test]
fn paused_oracle_follows_no_writes_and_resumes_with_the_screen_as_it_is() {
    for device in DEVICES {
        let mut run = Run::new(Script::Idle, device);
        run.run_for(1_000 * MS);
        run.oracle.with(|oracle| oracle.pause(run.clock.now_ns()));
        run.finish();
        run.smuggle(1023, 767, 0x12_3456);
        assert!(run.guest.memory().writes().take().is_empty(), "{device}: nothing is logged");
        run.run_for(500 * MS);
        assert_eq!(run.oracle.with(|oracle| oracle.deadline_ns()), None, "{device}");
        let window = run.finish();
        assert_eq!((window.looks, window.changed_px, window.missed_px), (0, 0, 0), "{device}");

        run.oracle.with(|oracle| oracle.resume(run.clock.now_ns()));
        run.run_for(500 * MS);
        let window = run.finish();
        assert!(window.looks > 10, "{device}");
        assert_eq!(window.missed_px, 0, "{device}: what changed meanwhile is seen by nobody");
        assert!(window.changed_px > 0, "{device}: the cursor blinks");
        run.smuggle(1023, 767, 0x65_4321);
        run.run_for(500 * MS);
        assert_eq!(run.finish().missed_px, 1, "{device}");
    }
}
