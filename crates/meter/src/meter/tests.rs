use device_model::observer::{FaultLayer, RepaintCause};
use surface::VramKind;

use super::*;
use crate::device::{Mode, Vram};

const MS: u64 = 1_000_000;

fn channel(number: u32) -> ChannelId {
    ChannelId(number)
}

fn dirt(at_ns: u64) -> DirtEvent<'static> {
    DirtEvent {
        doorbell_ns: at_ns,
        done_ns: at_ns,
        rects: 1,
        rejected_rects: 0,
        declared_px: 100,
        changed_px: 40,
        accepted: &[],
    }
}

fn situation(width: u32) -> VideoEvent {
    VideoEvent::Situation { width, height: 768, pitch: width * 4, depth: 32, active: true }
}

#[test]
fn dirt_message_adds_to_each_of_its_counters() {
    let mut meter = Meter::new();
    meter.dirt(&DirtEvent { rects: 3, rejected_rects: 1, ..dirt(0) });
    meter.dirt(&DirtEvent { rects: 255, declared_px: 7, changed_px: 0, ..dirt(1) });
    let expected = Counters {
        dirt_messages: 2,
        dirt_rects: 258,
        rejected_rects: 1,
        declared_px: 107,
        changed_px: 40,
        ..Counters::default()
    };
    assert_eq!(*meter.counters(), expected);
}

#[test]
fn implied_repaint_is_counted_apart_from_dirt() {
    let mut meter = Meter::new();
    meter.implied_repaint(5, &ImpliedRepaint { cause: RepaintCause::Situation, px: 786_432, changed_px: 12 });
    let expected =
        Counters { implied_repaints: 1, implied_px: 786_432, implied_changed_px: 12, ..Counters::default() };
    assert_eq!(*meter.counters(), expected);
    assert_eq!((meter.last_dirt_ns(), meter.last_painted_ns()), (None, Some(5)));
}

#[test]
fn only_rings_of_the_video_channel_are_signals() {
    let mut meter = Meter::new();
    meter.doorbell(0, channel(1), 3);
    meter.doorbell(0, channel(2), 4);
    assert_eq!(meter.signals(), None);
    meter.watch_video_channel(channel(2));
    meter.doorbell(1, channel(2), 1);
    assert_eq!((meter.signals(), meter.rings_of(channel(1)), meter.counters().rings), (Some(5), 3, 8));
    assert_eq!(meter.rings_of(channel(9)), 0);
}

#[test]
fn packets_and_their_bytes_are_counted() {
    let mut meter = Meter::new();
    meter.packet(0, channel(1), 34);
    meter.packet(0, channel(2), 6);
    assert_eq!((meter.counters().packets, meter.counters().packet_bytes), (2, 40));
}

#[test]
fn every_feature_change_counts_and_the_last_one_holds() {
    let mut meter = Meter::new();
    meter.video(0, &VideoEvent::FeatureChange { dirt: true });
    meter.video(1, &VideoEvent::FeatureChange { dirt: true });
    meter.video(2, &VideoEvent::FeatureChange { dirt: false });
    assert_eq!((meter.counters().feature_changes, meter.device().dirt_wanted), (3, Some(false)));
}

#[test]
fn repeated_situation_is_no_change() {
    let mut meter = Meter::new();
    for width in [1024, 1024, 800, 800, 1024] {
        meter.video(0, &situation(width));
    }
    assert_eq!(meter.counters().situation_changes, 3);
    let mode = Mode { width: 1024, height: 768, pitch: 4096, depth: 32, active: true };
    assert_eq!(meter.device().mode, Some(mode));
}

#[test]
fn fault_is_counted_by_layer_and_the_last_one_is_kept() {
    let mut meter = Meter::new();
    for (layer, text) in [(FaultLayer::Ring, "first"), (FaultLayer::Device, "second")] {
        meter.fault(0, &FaultEvent { channel: Some(channel(1)), layer, text: text.into(), closed: true });
    }
    assert_eq!((meter.counters().faults.ring, meter.counters().faults.device), (1, 1));
    assert_eq!(meter.last_fault().map(|fault| fault.text.as_str()), Some("second"));
}

#[test]
fn device_facts_follow_the_handshake_and_outlive_it() {
    let mut meter = Meter::new();
    meter.control(0, &ControlEvent::Contacted { version: 0x0005_0003 });
    meter.video(1, &VideoEvent::Version { major: 3, minor: 5, accepted: true });
    meter.video(2, &VideoEvent::Version { major: 9, minor: 9, accepted: false });
    meter.video(3, &VideoEvent::VramRefused { gpa: 1 });
    meter.video(4, &VideoEvent::VramMapped { gpa: 0xf800_0000, bytes: 8 << 20, kind: VramKind::Mmio });
    assert!(meter.device().vram_mapped);
    meter.video(5, &VideoEvent::VramUnmapped);
    meter.control(6, &ControlEvent::Unloaded);
    let facts = meter.device();
    assert_eq!((facts.vmbus_version, facts.synthvid_version), (Some((5, 3)), Some((3, 5))));
    assert_eq!(facts.vram, Some(Vram { kind: VramKind::Mmio, gpa: 0xf800_0000, bytes: 8 << 20 }));
    assert_eq!((facts.vram_mapped, facts.unloaded, facts.vram_refused), (false, true, 1));
}

#[test]
fn interval_is_from_one_surface_write_to_the_next_and_latency_from_the_doorbell() {
    let mut meter = Meter::new();
    for n in 0..101 {
        let doorbell_ns = n * 48 * MS;
        meter.dirt(&DirtEvent { done_ns: doorbell_ns + 250_000, ..dirt(doorbell_ns) });
    }
    assert_eq!(meter.dirt_intervals().count(), 100);
    assert_eq!(meter.dirt_intervals().percentile_us(0.5), Some(48_000));
    assert_eq!(meter.doorbell_to_surface().count(), 101);
    assert_eq!(meter.doorbell_to_surface().percentile_us(0.99), Some(250));
    assert_eq!(meter.max_dirt_in_1s(), 21);
}

#[test]
fn first_dirt_message_has_no_interval() {
    let mut meter = Meter::new();
    meter.dirt(&dirt(7));
    assert_eq!(meter.dirt_intervals().percentile_us(0.5), None);
    assert_eq!((meter.first_dirt_ns(), meter.last_dirt_ns()), (Some(7), Some(7)));
}

#[test]
fn screen_is_quiet_only_after_the_whole_time_and_never_before_the_first_paint() {
    let mut meter = Meter::new();
    assert!(!meter.is_quiet(u64::MAX, 1));
    meter.dirt(&dirt(100 * MS));
    assert!(!meter.is_quiet(599 * MS, 500 * MS));
    assert!(meter.is_quiet(600 * MS, 500 * MS));
    meter.implied_repaint(600 * MS, &ImpliedRepaint { cause: RepaintCause::VramMoved, px: 1, changed_px: 0 });
    assert!(!meter.is_quiet(600 * MS, 500 * MS));
}

#[test]
fn dirt_after_a_mark_is_told_from_dirt_before_it() {
    let mut meter = Meter::new();
    meter.watch_video_channel(channel(1));
    meter.dirt(&dirt(0));
    meter.doorbell(0, channel(1), 1);
    meter.video(1, &VideoEvent::FeatureChange { dirt: false });
    let mark = meter.mark();
    assert_eq!((meter.since(&mark), meter.signals_since(&mark)), (Counters::default(), Some(0)));
    meter.dirt(&dirt(2));
    meter.doorbell(2, channel(1), 2);
    assert_eq!((meter.since(&mark).dirt_messages, meter.since(&mark).declared_px), (1, 100));
    assert_eq!(meter.signals_since(&mark), Some(2));
}

#[test]
fn counters_saturate_instead_of_overflowing() {
    let mut meter = Meter::new();
    for _ in 0..2 {
        meter.dirt(&DirtEvent { declared_px: u64::MAX, ..dirt(0) });
        meter.doorbell(0, channel(1), u64::MAX);
    }
    assert_eq!((meter.counters().declared_px, meter.counters().rings), (u64::MAX, u64::MAX));
}

#[test]
fn clones_of_a_shared_meter_count_together() {
    let shared = crate::SharedMeter::new(Meter::new());
    let mut observer = shared.clone();
    observer.dirt(&dirt(0));
    observer.packet(0, channel(1), 1);
    observer.doorbell(0, channel(1), 1);
    observer.control(0, &ControlEvent::Contacted { version: 0x0004_0000 });
    observer.video(0, &situation(640));
    observer.implied_repaint(0, &ImpliedRepaint { cause: RepaintCause::DirtWanted, px: 1, changed_px: 1 });
    observer.fault(
        0,
        &FaultEvent { channel: None, layer: FaultLayer::Control, text: String::new(), closed: false },
    );
    let expected = Counters {
        dirt_messages: 1,
        dirt_rects: 1,
        declared_px: 100,
        changed_px: 40,
        implied_repaints: 1,
        implied_px: 1,
        implied_changed_px: 1,
        situation_changes: 1,
        packets: 1,
        packet_bytes: 1,
        rings: 1,
        faults: crate::FaultCounts { control: 1, ..Default::default() },
        ..Counters::default()
    };
    assert_eq!(shared.with(|meter| *meter.counters()), expected);
    assert_eq!(shared.with(|meter| meter.device().vmbus_version), Some((4, 0)));
}
