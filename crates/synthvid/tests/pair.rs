//! Both ends of the protocol against each other.
#![cfg(feature = "vsc")]

use synthvid::vsc::{DriverModel, Vsc, VscConfig, VscEvent, VscFault};
use synthvid::wire::{MAX_HOST_MESSAGE_BYTES, MessageType};
use synthvid::{Features, Mode, ModeList, Rect, Situation, Version, VersionSet, Vsp, VspAction, VspConfig};

const GPA: u64 = 0xf800_0000;
const BOTH: &[Version] = &[Version::V3_5, Version::V3_2];

struct Pair {
    vsp: Vsp,
    vsc: Vsc,
    map_succeeds: bool,
    /// Numbers of the messages, in the order in which they crossed.
    trace: Vec<u8>,
    events: Vec<VscEvent>,
}

impl Pair {
    fn new(versions: VersionSet, client: VscConfig) -> Self {
        let modes = ModeList::new(&[Mode::new(1024, 768), Mode::new(1280, 1024)], 1).expect("two modes");
        let mut vsc = Vsc::new(client);
        vsc.start();
        let vsp = Vsp::new(VspConfig { versions, ..VspConfig::new(modes, 8 << 20) });
        Self { vsp, vsc, map_succeeds: true, trace: Vec::new(), events: Vec::new() }
    }

    fn fb() -> Self {
        Self::new(VersionSet::ALL, VscConfig::new(DriverModel::HypervFb, GPA))
    }

    /// Carries messages until both ends are silent.
    fn settle(&mut self) -> Result<(), VscFault> {
        let mut buf = [0; MAX_HOST_MESSAGE_BYTES];
        loop {
            if let Some(len) = self.vsc.poll_transmit(&mut buf) {
                self.trace.push(buf[0]);
                let action = self.vsp.receive(&buf[..len]).expect("the client follows the rules");
                if matches!(action, Some(VspAction::MapVram { .. })) {
                    self.vsp.vram_mapped(self.map_succeeds);
                }
            } else if let Some(len) = self.vsp.poll_transmit(&mut buf) {
                self.trace.push(buf[0]);
                self.events.push(self.vsc.receive(&buf[..len])?);
            } else {
                return Ok(());
            }
        }
    }

    fn dirt(&mut self, rects: &[Rect]) -> Option<Vec<Rect>> {
        let mut buf = [0; 8192];
        let len = self.vsc.dirt(rects, &mut buf)?;
        match self.vsp.receive(&buf[..len]).expect("the client follows the rules") {
            Some(VspAction::Dirt(rects)) => Some(rects.collect()),
            other => panic!("no dirt in {other:?}"),
        }
    }
}

#[test]
fn hyperv_fb_comes_up_with_the_default_mode() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    assert_eq!(pair.trace, [1, 2, 13, 14, 3, 4, 7, 8, 5, 6]);
    assert!(pair.vsc.is_ready());
    assert_eq!(pair.vsc.mode(), Mode::new(1280, 1024));
    assert_eq!(pair.vsp.situation(), pair.vsc.situation());
    assert!(pair.events.contains(&VscEvent::Mode(Mode::new(1280, 1024))));
}

#[test]
fn no_dirt_flows_until_the_host_wants_it() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    assert_eq!(pair.dirt(&[Rect::new(0, 0, 8, 8)]), None);
    pair.vsp.want(Features::DIRT);
    pair.settle().expect("feature change");
    let rects = [Rect::new(0, 0, 8, 8), Rect::new(-1, 5, 3, i32::MAX)];
    assert_eq!(pair.dirt(&rects), Some(rects.to_vec()));
    pair.vsp.want(Features::NONE);
    pair.settle().expect("feature change");
    assert_eq!(pair.dirt(&rects), None);
    assert_eq!(pair.vsp.stats().unwanted_dirt, 0);
}

#[test]
fn hyperv_fb_answers_feature_change_with_pointer_and_situation() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    pair.trace.clear();
    pair.vsp.want(Features::NONE);
    pair.settle().expect("feature change");
    assert_eq!(pair.trace, [9, 7, 8, 5, 6]);
}

#[test]
fn hyperv_drm_answers_feature_change_with_the_pointer_alone() {
    let mut pair = Pair::new(VersionSet::ALL, VscConfig::new(DriverModel::HypervDrm, GPA));
    pair.settle().expect("handshake");
    pair.trace.clear();
    pair.vsp.want(Features::DIRT);
    pair.settle().expect("feature change");
    assert_eq!(pair.trace, [9, 7, 8]);
    pair.trace.clear();
    pair.vsp.want(Features::NONE);
    pair.settle().expect("feature change");
    assert_eq!(pair.trace, [9]);
}

#[test]
fn features_wanted_before_the_guest_came_reach_it() {
    let mut pair = Pair::fb();
    pair.vsp.want(Features::DIRT);
    pair.settle().expect("handshake");
    assert!(pair.vsc.is_dirt_wanted());
}

#[test]
fn refused_3_5_falls_back_to_3_2_without_modes() {
    let versions = VersionSet::ALL.without(Version::V3_5);
    let client = VscConfig { versions: BOTH, ..VscConfig::new(DriverModel::HypervFb, GPA) };
    let mut pair = Pair::new(versions, client);
    pair.settle().expect("handshake");
    assert_eq!(pair.trace, [1, 2, 1, 2, 3, 4, 7, 8, 5, 6]);
    assert_eq!(pair.vsp.version(), Some(Version::V3_2));
    assert_eq!(pair.vsc.mode(), Mode::new(1152, 864));
}

#[test]
fn host_that_refuses_all_versions_ends_the_probe() {
    let mut pair = Pair::new(VersionSet::NONE, VscConfig::new(DriverModel::HypervFb, GPA));
    assert_eq!(pair.settle(), Err(VscFault::NoVersion(Version::V3_5)));
    assert!(!pair.vsc.is_ready());
}

#[test]
fn refused_vram_ends_hyperv_fb_by_timeout() {
    let mut pair = Pair::fb();
    pair.map_succeeds = false;
    pair.settle().expect("silence is no fault");
    assert_eq!(pair.trace, [1, 2, 13, 14, 3]);
    assert_eq!(pair.vsc.timed_out(), Err(VscFault::TimedOut(MessageType::VramLocationAck)));
    assert_eq!(pair.vsp.stats().vram_refused, 1);
}

#[test]
fn closed_and_reopened_channel_repeats_the_handshake() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    pair.vsp.reset();
    pair.trace.clear();
    pair.vsc.start();
    pair.settle().expect("second handshake");
    assert_eq!(pair.trace, [1, 2, 13, 14, 3, 4, 7, 8, 5, 6]);
    assert!(!pair.vsc.is_dirt_wanted(), "the host has to say again what it wants");
}

#[test]
fn changed_mode_reaches_the_host() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    let narrow = Situation { width: 640, height: 480, ..*pair.vsc.situation().expect("ready") };
    pair.vsc.situate(narrow);
    pair.settle().expect("situation");
    assert_eq!(pair.vsp.situation(), Some(&narrow));
    assert_eq!(pair.events.last(), Some(&VscEvent::SituationAck));
}

#[test]
fn answer_that_comes_twice_is_the_hosts_fault() {
    let mut pair = Pair::fb();
    pair.settle().expect("handshake");
    let again = [4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0];
    assert_eq!(pair.vsc.receive(&again), Err(VscFault::Unexpected(MessageType::VramLocationAck)));
}

#[test]
fn acknowledgement_for_other_memory_is_the_hosts_fault() {
    let mut pair = Pair::fb();
    pair.map_succeeds = false;
    pair.settle().expect("silence is no fault");
    let other = [4, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(pair.vsc.receive(&other), Err(VscFault::VramAck { got: 1, expected: GPA }));
}

#[test]
fn timed_out_modes_lead_to_the_fallback() {
    let mut vsc = Vsc::new(VscConfig::new(DriverModel::HypervDrm, GPA));
    vsc.start();
    vsc.receive(&[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 1, 1]).expect("accepted");
    vsc.timed_out().expect("falls back");
    assert_eq!(vsc.mode(), Mode::new(1600, 1200));
    vsc.timed_out().expect("hyperv_drm goes on without an acknowledgement");
    assert!(vsc.is_ready());
}

#[test]
fn bad_mode_table_is_the_hosts_fault() {
    let mut vsc = Vsc::new(VscConfig::new(DriverModel::HypervFb, GPA));
    vsc.start();
    vsc.receive(&[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 1, 1]).expect("accepted");
    let mut table = vec![0; 8 + 131 + 65 * 4];
    table[0] = 14;
    for (count, index) in [(65, 0), (1, 1), (64, 64)] {
        table[136] = count;
        table[137] = index;
        assert_eq!(vsc.receive(&table), Err(VscFault::Modes { count, index }));
    }
    table[136] = 64;
    table.truncate(8 + 131 + 63 * 4);
    table[137] = 0;
    assert_eq!(vsc.receive(&table), Err(VscFault::TooShort { len: 63 * 4, need: 64 * 4 }));
}

#[test]
fn guest_message_from_the_host_is_its_fault() {
    let mut vsc = Vsc::new(VscConfig::new(DriverModel::HypervFb, GPA));
    vsc.start();
    assert_eq!(vsc.receive(&[10, 0, 0, 0, 8, 0, 0, 0]), Err(VscFault::NotFromHost(10)));
    assert_eq!(vsc.receive(&[99, 0, 0, 0, 8, 0, 0, 0]), Err(VscFault::NotFromHost(99)));
    assert_eq!(vsc.receive(&[2, 0]), Err(VscFault::TooShort { len: 2, need: 8 }));
}

#[test]
fn dirt_of_none_or_256_rectangles_is_not_sent() {
    let mut pair = Pair::fb();
    pair.vsp.want(Features::DIRT);
    pair.settle().expect("handshake");
    let mut buf = [0; 8192];
    assert_eq!(pair.vsc.dirt(&[], &mut buf), None);
    assert_eq!(pair.vsc.dirt(&[Rect::new(0, 0, 1, 1); 256], &mut buf), None);
    assert_eq!(pair.dirt(&[Rect::new(0, 0, 1, 1); 255]).map(|rects| rects.len()), Some(255));
}
