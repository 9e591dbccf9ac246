//! The guest against the least host that there can be.

mod host;

use host::{Host, HostConfig};
use surface::VramKind;
use synthvid::{Features, Mode, Rect, Size, VersionSet};
use vmbus::Version;

use crate::{Attack, Milestone, Script, SimConfig, SimError, SimGuest, VirtualClock};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn pattern(size: Size, x: u32, y: u32) -> u32 {
    (x << 12 | y) ^ size.width
}

/// Guest, host, and the time they share.
struct Pair {
    guest: SimGuest,
    host: Host,
    clock: VirtualClock,
    milestones: Vec<(u64, Milestone)>,
}

impl Pair {
    fn new(script: Script, config: HostConfig) -> Self {
        let guest = SimGuest::new(SimConfig::new(script, Box::new(pattern))).expect("memory");
        let host = Host::new(&guest, config);
        Self { guest, host, clock: VirtualClock::new(), milestones: Vec::new() }
    }

    fn demo() -> Self {
        Self::new(Script::Demo, HostConfig::default())
    }

    /// Steps both until neither has anything to do at this time.
    fn settle(&mut self) -> Result<(), SimError> {
        loop {
            let now_ns = self.clock.now_ns();
            let progress = self.guest.step(now_ns)?;
            self.milestones.extend(progress.milestone.map(|milestone| (now_ns, milestone)));
            if !(progress.worked | self.host.step(&self.guest, now_ns)) {
                return Ok(());
            }
        }
    }

    /// Lets time pass until `done`, or until nothing will happen any more.
    fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), SimError> {
        loop {
            self.settle()?;
            let now_ns = self.clock.now_ns();
            match self.guest.next_deadline(now_ns) {
                Some(due) if !done(self) => self.clock.advance_to(due),
                _ => return Ok(()),
            }
        }
    }

    fn run_to(&mut self, milestone: Milestone) {
        self.run_until(|pair| pair.milestones.iter().any(|(_, reached)| *reached == milestone))
            .expect("a guest");
        assert!(self.milestones.iter().any(|(_, reached)| *reached == milestone), "{:?}", self.milestones);
    }

    fn run_for(&mut self, ns: u64) {
        let end = self.clock.now_ns() + ns;
        loop {
            self.settle().expect("a guest");
            match self.guest.next_deadline(self.clock.now_ns()) {
                Some(due) if due <= end => self.clock.advance_to(due),
                _ => break,
            }
        }
        self.clock.advance_to(end);
    }

    fn wrong_pixels(&self) -> u64 {
        let size = self.guest.size().expect("a screen");
        let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
        let wrong = pixels.filter(|&(x, y)| self.host.surface.pixel(x, y) != self.guest.pixel(x, y));
        wrong.map(|_| 1).sum()
    }

    fn dirt_between(&self, from: u64, to: u64) -> usize {
        self.host.dirt.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    fn busiest_second(&self) -> usize {
        let starts = self.host.dirt.iter().map(|(at, _)| *at);
        starts.map(|start| self.dirt_between(start, start + SECOND)).max().unwrap_or(0)
    }
}

#[test]
fn handshake_completes_without_any_time_passing() {
    let mut pair = Pair::demo();
    pair.settle().expect("a guest");
    assert!(pair.guest.is_ready() && pair.guest.is_dirt_wanted() && pair.host.is_open());
    assert_eq!(pair.clock.now_ns(), 0);
    assert_eq!(pair.guest.size(), Some(Size::new(1024, 768)));
    assert_eq!(pair.guest.vram(), Some((0xf800_0000, 8 << 20)));
    assert!(pair.host.control_faults.is_empty() && pair.host.channel_faults.is_empty());
}

#[test]
fn message_that_waits_makes_the_deadline_now() {
    let mut pair = Pair::demo();
    assert_eq!(pair.guest.next_deadline(7), None);
    let progress = pair.guest.step(7).expect("a guest");
    assert!(progress.worked, "INITIATE_CONTACT");
    assert_eq!(pair.guest.next_deadline(7), None, "Linux waits for VERSION_RESPONSE without a time limit");
    assert!(pair.host.step(&pair.guest, 7));
    assert_eq!(pair.guest.next_deadline(7), Some(7));
}

#[test]
fn situation_comes_from_probe_and_again_from_set_par_and_from_feature_change() {
    let mut pair = Pair::demo();
    pair.settle().expect("a guest");
    assert!(pair.host.situations.len() >= 2, "{}", pair.host.situations.len());
    assert!(pair.host.situations.iter().all(|situation| situation.pitch_bytes == 4096 && situation.active));
}

#[test]
fn pattern_arrives_pixel_by_pixel_through_full_width_rows() {
    let mut pair = Pair::demo();
    pair.run_to(Milestone::Pattern);
    assert_eq!(pair.wrong_pixels(), 0);
    assert_eq!(pair.host.surface.pixel(1023, 767), Some(1023 << 12 | 767 ^ 1024));
    let rows: u32 = pair.host.dirt.iter().map(|(_, rect)| rect.height()).sum();
    assert!(pair.host.dirt.iter().all(|(_, rect)| rect.left == 0 && rect.right == 1024));
    assert_eq!(rows, 768, "a page is a row here, so no row is declared twice: {:?}", pair.host.dirt);
}

#[test]
fn two_hundred_lines_arrive_and_the_last_ones_stay() {
    let mut pair = Pair::demo();
    pair.run_to(Milestone::Console);
    assert_eq!(pair.wrong_pixels(), 0);
    assert!(pair.host.dirt.iter().any(|(_, rect)| *rect == Rect::new(0, 0, 1024, 768)), "scrolling");
    let lit = (0..16).any(|y| (0..8).any(|x| pair.guest.pixel(x, 752 + y) != Some(0)));
    assert!(lit, "nothing on the last line");
}

#[test]
fn demo_reaches_its_milestones_in_order_and_is_silent_at_the_end() {
    let mut pair = Pair::demo();
    pair.run_until(|_| false).expect("a guest");
    let reached: Vec<_> = pair.milestones.iter().map(|(_, milestone)| *milestone).collect();
    assert_eq!(reached, [Milestone::Pattern, Milestone::Console, Milestone::End]);
    assert!(pair.guest.is_over());
    assert_eq!(pair.guest.next_deadline(pair.clock.now_ns()), None);
    let (end, _) = pair.milestones[2];
    assert_eq!(pair.dirt_between(end - SECOND, u64::MAX), 0);
    assert_eq!(pair.guest.stats().dirt_sent, pair.host.dirt.len() as u64);
}

#[test]
fn kernel_drawing_declares_at_most_twenty_one_times_a_second() {
    let mut pair = Pair::new(Script::Box, HostConfig::default());
    pair.run_until(|_| false).expect("a guest");
    assert_eq!(pair.wrong_pixels(), 0);
    assert_eq!(pair.busiest_second(), 21);
    let gaps = pair.host.dirt.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.clone().all(|gap| gap >= 48 * MS), "{:?}", gaps.min());
}

#[test]
fn both_timers_together_declare_at_most_forty_two_times_a_second() {
    let mut pair = Pair::new(Script::Idle, HostConfig::default());
    pair.settle().expect("a guest");
    for _ in 0..200 {
        pair.guest.draw_both_ways(pair.clock.now_ns());
        pair.run_for(10 * MS);
    }
    assert!((22..=42).contains(&pair.busiest_second()), "{}", pair.busiest_second());
}

#[test]
fn idle_cursor_declares_five_small_boxes_a_second() {
    let mut pair = Pair::new(Script::Idle, HostConfig::default());
    pair.run_to(Milestone::End);
    assert_eq!((pair.host.dirt.len(), pair.busiest_second()), (50, 5));
    assert!(pair.host.dirt.iter().all(|(_, rect)| *rect == Rect::new(0, 14, 8, 16)));
}

#[test]
fn nothing_is_declared_before_the_host_wants_it() {
    let mut pair = Pair::new(Script::Demo, HostConfig { features: None, ..HostConfig::default() });
    pair.run_to(Milestone::Pattern);
    assert_eq!((pair.host.dirt.len(), pair.guest.stats().dirt_sent), (0, 0));
    assert!(pair.wrong_pixels() > 0, "the surface cannot know what was never declared");
    pair.host.want(Features::DIRT);
    pair.run_to(Milestone::Console);
    assert!(!pair.host.dirt.is_empty());
    assert_eq!(pair.wrong_pixels(), 0, "scrolling declared the whole screen");
}

#[test]
fn nothing_is_declared_after_the_host_wants_none_and_again_when_it_does() {
    let mut pair = Pair::new(Script::Box, HostConfig::default());
    pair.run_for(SECOND);
    pair.host.want(Features::NONE);
    pair.run_for(MS);
    let (told, before) = (pair.clock.now_ns(), pair.host.dirt.len());
    pair.run_for(SECOND);
    assert_eq!(pair.host.dirt.len(), before, "declared after {told}");
    pair.host.want(Features::DIRT);
    pair.run_for(SECOND);
    assert!(pair.host.dirt.len() > before);
}

#[test]
fn four_mebibytes_of_vram_lie_in_ram_and_are_drawn_to_directly() {
    let config = HostConfig { megabytes: 4, ..HostConfig::default() };
    let mut pair = Pair::new(Script::Demo, config);
    pair.settle().expect("a guest");
    assert_eq!(pair.guest.vram(), Some((0x40_0000, 4 << 20)));
    pair.run_to(Milestone::Console);
    assert_eq!(pair.wrong_pixels(), 0);
}

#[test]
fn mode_with_pages_across_rows_arrives_whole() {
    let config = HostConfig { mode: Mode::new(800, 600), ..HostConfig::default() };
    let mut pair = Pair::new(Script::Demo, config);
    pair.run_to(Milestone::Pattern);
    assert_eq!(pair.wrong_pixels(), 0);
}

#[test]
fn every_version_of_vmbus_leads_to_a_picture() {
    for max_version in Version::ALL {
        let mut pair = Pair::new(Script::Demo, HostConfig { max_version, ..HostConfig::default() });
        pair.run_to(Milestone::Pattern);
        assert_eq!(pair.wrong_pixels(), 0, "{max_version}");
        let fallback = matches!(max_version, Version::V2_4 | Version::V3_0);
        let expected = if fallback { Size::new(1152, 864) } else { Size::new(1024, 768) };
        assert_eq!(pair.guest.size(), Some(expected), "{max_version}");
    }
}

#[test]
fn refused_version_falls_back_only_where_linux_has_a_fallback() {
    let old = |max_version| {
        let synthvid = VersionSet::NONE.with(synthvid::Version::V3_2);
        Pair::new(Script::Demo, HostConfig { max_version, synthvid, ..HostConfig::default() })
    };
    let mut pair = old(Version::V5_0);
    pair.settle().expect("a guest");
    assert_eq!(pair.guest.size(), Some(Size::new(1152, 864)));
    assert!(matches!(old(Version::V5_3).settle(), Err(SimError::Video(_))));
}

#[test]
fn host_that_never_answers_makes_the_driver_give_up_after_ten_seconds() {
    let mut pair = Pair::demo();
    pair.host.asleep = true;
    let error = pair.run_until(|_| false).expect_err("nothing answers");
    assert!(matches!(error, SimError::Video(_)), "{error}");
    assert_eq!(pair.clock.now_ns(), 10 * SECOND);
}

#[test]
fn mode_that_does_not_fit_into_vram_is_refused() {
    let config = HostConfig { mode: Mode::new(1920, 1200), megabytes: 8, ..HostConfig::default() };
    let error = Pair::new(Script::Demo, config).settle().expect_err("9 MiB do not fit into 8");
    assert!(matches!(error, SimError::ModeTooLarge { bytes: 9_216_000, limit: 0x80_0000, .. }), "{error}");
}

#[test]
fn full_ring_costs_declarations_and_the_guest_goes_on() {
    let mut pair = Pair::new(Script::Idle, HostConfig::default());
    pair.settle().expect("a guest");
    pair.host.asleep = true;
    // 258,048 bytes of ring, 64 for each DIRT; a ring never fills completely.
    for step in 0..4_100 {
        pair.guest.draw_both_ways(pair.clock.now_ns());
        pair.clock.advance_to((step + 1) * 50 * MS);
        let _ = pair.guest.step(pair.clock.now_ns()).expect("a guest");
    }
    let stats = pair.guest.stats();
    assert!(stats.dirt_dropped > 0);
    assert!((4_000..=4_031).contains(&stats.dirt_sent), "{}", stats.dirt_sent);
    assert!(!pair.host.has_room_for_dirt());
    pair.host.asleep = false;
    pair.settle().expect("a guest");
    assert!(pair.host.has_room_for_dirt());
    assert_eq!(pair.host.dirt.len() as u64, stats.dirt_sent);
}

#[test]
fn every_attack_is_survived_and_the_pattern_still_arrives() {
    let mut pair = Pair::new(Script::Hostile, HostConfig::default());
    pair.run_to(Milestone::Pattern);
    assert_eq!(pair.guest.stats().attacks, Attack::ALL.len() as u64);
    assert_eq!(pair.guest.stats().opens, Attack::ALL.len() as u64 + 1);
    // The two connection ids that do not exist never get as far as the host's control plane.
    assert_eq!(pair.host.control_faults.len(), 9, "{:#?}", pair.host.control_faults);
    let expected = [
        "WriteIndex of the ring is 0xfffffff8",
        "WriteIndex of the ring is 0xd",
        "packet at 0x268 declares 0 bytes",
        "packet at 0x268 declares 524280 bytes",
        "packet at 0x268 puts its payload at 65536",
        "pipe packet has 0 bytes",
        "pipe type 0x4d",
        "pipe message declares 2147483647 bytes",
        "message of 3 bytes",
        "VRAM_LOCATION_ACK from the guest",
        "DIRT of 255 rectangles",
        "DIRT of 0 rectangles",
        "situation of 32768x32768",
        "situation of 0x0",
        "VRAM at 0xfffffffffffff000",
        "pointer of 4294967295x4294967295",
    ];
    let found = &pair.host.channel_faults;
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}, not {expected}");
    }
    assert_eq!(pair.wrong_pixels(), 0);
}

#[test]
fn leaving_guest_closes_its_channel_and_unloads() {
    let mut pair = Pair::demo();
    pair.run_to(Milestone::Pattern);
    pair.guest.leave().expect("a connection");
    pair.settle().expect("a guest");
    assert!(pair.guest.has_left() && pair.host.unloaded && !pair.host.is_open());
    assert!(pair.guest.is_over());
}

#[test]
fn same_script_gives_the_same_traffic_twice() {
    let traffic = |script| {
        let mut pair = Pair::new(script, HostConfig::default());
        pair.run_until(|_| false).expect("a guest");
        (pair.host.dirt, pair.milestones)
    };
    for script in Script::ALL {
        assert!(traffic(script) == traffic(script), "{script}");
    }
}

#[test]
fn guest_can_move_to_another_thread() {
    let guest = SimGuest::new(SimConfig::new(Script::Idle, Box::new(pattern))).expect("memory");
    let stepped = std::thread::spawn(move || guest.next_deadline(0)).join();
    assert!(matches!(stepped, Ok(None)));
}

#[test]
fn vram_is_where_generation_1_puts_it() {
    let memory = crate::SimMemory::new(0x1000, 0xf800_0000, 64 << 20).expect("memory");
    let place = |megabytes| crate::driver::VramPlace::choose(&memory, 0x40_0000, megabytes);
    for (megabytes, kind) in
        [(1, VramKind::Ram), (4, VramKind::Ram), (5, VramKind::Mmio), (64, VramKind::Mmio)]
    {
        assert_eq!(place(megabytes).expect("VRAM").kind, kind, "{megabytes}");
    }
    assert!(matches!(place(0), Err(SimError::NoVram)));
    assert!(matches!(place(65), Err(SimError::WindowTooSmall { limit: 0x400_0000, .. })));
}
