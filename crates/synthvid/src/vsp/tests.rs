//! Every rule of the protocol, broken once, and the bounds of what a guest can make the device hold.

use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::geometry::Size;
use crate::modes::{Mode, ModeList};
use crate::pointer::{MAX_POINTER_BYTES, PointerFormat};
use crate::version::VersionSet;
use crate::wire::{MAX_HOST_MESSAGE_BYTES, POINTER_PART_LAST, encode};

const VRAM_BYTES: u64 = 4 << 20;
const GPA: u64 = 0xf800_0000;

fn config() -> VspConfig {
    let modes = ModeList::new(&[Mode::new(1024, 768), Mode::new(800, 600)], 0).unwrap();
    VspConfig::new(modes, VRAM_BYTES)
}

fn message(kind: MessageType, parts: &[&[u8]]) -> Vec<u8> {
    let mut buf = vec![0; 64 * 1024];
    let len = encode(&mut buf, kind, parts).unwrap();
    buf.truncate(len);
    buf
}

fn version(version: Version) -> Vec<u8> {
    message(MessageType::VersionRequest, &[&version.0.to_le_bytes()])
}

fn vram(user_ctx: u64, specified: u8, gpa: u64) -> Vec<u8> {
    message(MessageType::VramLocation, &[&user_ctx.to_le_bytes(), &[specified], &gpa.to_le_bytes()])
}

fn output(width: u32, height: u32, pitch: u32) -> wire::SituationOutput {
    wire::SituationOutput {
        active: 1,
        vram_offset: 0.into(),
        depth_bits: 32,
        width_pixels: width.into(),
        height_pixels: height.into(),
        pitch_bytes: pitch.into(),
    }
}

fn situation(user_ctx: u64, count: u8, output: wire::SituationOutput) -> Vec<u8> {
    message(MessageType::SituationUpdate, &[&user_ctx.to_le_bytes(), &[count], output.as_bytes()])
}

fn xga() -> Vec<u8> {
    situation(0, 1, output(1024, 768, 4096))
}

fn dirt() -> Vec<u8> {
    let rect = wire::DirtRect { x1: 0.into(), y1: 0.into(), x2: 8.into(), y2: 8.into() };
    message(MessageType::Dirt, &[&[0, 1], rect.as_bytes()])
}

fn shape(part: u8, argb: u8, width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let head = wire::PointerShape {
        part_index: part,
        is_argb: argb,
        width: width.into(),
        height: height.into(),
        hot_x: 0.into(),
        hot_y: 0.into(),
    };
    message(MessageType::PointerShape, &[head.as_bytes(), data])
}

fn sent(vsp: &mut Vsp) -> Vec<Vec<u8>> {
    let mut buf = [0; MAX_HOST_MESSAGE_BYTES];
    core::iter::from_fn(|| vsp.poll_transmit(&mut buf).map(|len| buf[..len].to_vec())).collect()
}

fn sent_kinds(vsp: &mut Vsp) -> Vec<u8> {
    sent(vsp).iter().map(|message| message[0]).collect()
}

/// A device whose guest has come through the version.
fn versioned() -> Vsp {
    let mut vsp = Vsp::new(config());
    vsp.receive(&version(Version::V3_5)).unwrap();
    sent(&mut vsp);
    vsp
}

/// A device whose guest has VRAM and a situation.
fn situated() -> Vsp {
    let mut vsp = versioned();
    vsp.receive(&vram(GPA, 1, GPA)).unwrap();
    vsp.vram_mapped(true);
    vsp.receive(&xga()).unwrap();
    sent(&mut vsp);
    vsp
}

#[track_caller]
fn assert_fault(mut vsp: Vsp, message: &[u8], expected: ProtocolFault) {
    let faults = vsp.stats().faults;
    let situation = vsp.situation().copied();
    assert_eq!(vsp.receive(message).unwrap_err(), expected);
    assert_eq!(vsp.stats().faults, faults + 1, "the fault is counted");
    assert_eq!(vsp.situation().copied(), situation, "the fault changes nothing");
    assert!(!vsp.has_transmit(), "a fault is not answered");
}

#[test]
fn message_without_a_whole_header_is_a_fault() {
    assert_fault(versioned(), &[1, 0, 0, 0, 8, 0, 0], ProtocolFault::NoHeader { len: 7 });
    assert_fault(versioned(), &[], ProtocolFault::NoHeader { len: 0 });
}

#[test]
fn message_longer_than_a_packet_is_a_fault() {
    let long = vec![0; MAX_GUEST_MESSAGE_BYTES + 1];
    assert_fault(versioned(), &long, ProtocolFault::TooLong { len: 16377 });
}

#[test]
fn size_in_the_header_is_not_trusted() {
    let mut vsp = Vsp::new(config());
    let mut request = version(Version::V3_5);
    for size in [0u32, 4, u32::MAX] {
        request[4..8].copy_from_slice(&size.to_le_bytes());
        assert!(matches!(vsp.receive(&request), Ok(Some(VspAction::Version { accepted: true, .. }))));
    }
}

#[test]
fn body_that_is_too_short_is_a_fault_for_each_message() {
    use MessageType::{Dirt, PointerPosition, PointerShape, ResolutionRequest, SituationUpdate};
    use MessageType::{VersionRequest, VramLocation};
    let needs = [
        (VersionRequest, 4),
        (VramLocation, 17),
        (SituationUpdate, 9),
        (PointerPosition, 10),
        (PointerShape, 18),
        (Dirt, 2),
        (ResolutionRequest, 1),
    ];
    for (kind, need) in needs {
        let vsp = if kind == VersionRequest { Vsp::new(config()) } else { situated() };
        let body = vec![0; need - 1];
        assert_fault(vsp, &message(kind, &[&body]), ProtocolFault::TooShort { kind, len: need - 1, need });
    }
    let head_alone = message(SituationUpdate, &[&[0; 8], &[1], &[0; 17]]);
    assert_fault(
        situated(),
        &head_alone,
        ProtocolFault::TooShort { kind: SituationUpdate, len: 26, need: 27 },
    );
}

#[test]
fn bytes_after_the_last_field_are_ignored_and_counted() {
    let mut vsp = Vsp::new(config());
    let long = message(MessageType::VersionRequest, &[&Version::V3_2.0.to_le_bytes(), &[1, 2, 3]]);
    assert!(matches!(vsp.receive(&long), Ok(Some(VspAction::Version { accepted: true, .. }))));
    assert_eq!(vsp.stats().overlong_messages, 1);
}

#[test]
fn host_message_from_the_guest_is_a_fault() {
    for kind in MessageType::ALL.iter().filter(|kind| kind.direction() == Direction::HostToGuest) {
        assert_fault(versioned(), &message(*kind, &[&[0; 64]]), ProtocolFault::WrongDirection(*kind));
    }
}

#[test]
fn unknown_message_is_counted_and_ignored() {
    let mut vsp = Vsp::new(config());
    for number in [0u32, 17, u32::MAX] {
        let mut unknown = number.to_le_bytes().to_vec();
        unknown.extend([8, 0, 0, 0]);
        assert!(matches!(vsp.receive(&unknown), Ok(None)));
    }
    assert_eq!(vsp.stats().unknown_messages, 3);
    assert!(!vsp.has_transmit());
}

#[test]
fn everything_before_the_version_is_a_fault() {
    for kind in MessageType::ALL.iter().filter(|kind| kind.direction() == Direction::GuestToHost) {
        if *kind != MessageType::VersionRequest {
            let early = message(*kind, &[&[0; 64]]);
            assert_fault(Vsp::new(config()), &early, ProtocolFault::BeforeVersion(*kind));
        }
    }
}

#[test]
fn refused_version_is_answered_and_another_may_follow() {
    let versions = VersionSet::ALL.without(Version::V3_5);
    let mut vsp = Vsp::new(VspConfig { versions, ..config() });
    let request = version(Version::V3_5);
    let refused = vsp.receive(&request).unwrap();
    assert!(matches!(refused, Some(VspAction::Version { version: Version::V3_5, accepted: false })));
    assert_eq!(sent(&mut vsp), [[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 5, 0, 0, 1]]);
    assert_eq!(vsp.version(), None);
    vsp.receive(&version(Version::V3_2)).unwrap();
    assert_eq!(vsp.version(), Some(Version::V3_2));
    assert_eq!(sent(&mut vsp), [[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 2, 0, 1, 1]]);
}

#[test]
fn second_version_request_is_answered_once_if_the_first_answer_still_waits() {
    let mut vsp = Vsp::new(config());
    vsp.receive(&version(Version::V3_5)).unwrap();
    vsp.receive(&version(Version::V3_2)).unwrap();
    assert_eq!(sent(&mut vsp), [[2, 0, 0, 0, 14, 0, 0, 0, 3, 0, 2, 0, 1, 1]]);
    assert_eq!(vsp.stats().superseded_answers, 1);
}

#[test]
fn version_request_after_vram_is_a_fault() {
    assert_fault(situated(), &version(Version::V3_5), ProtocolFault::VersionAfterVram);
}

#[test]
fn vram_ack_waits_for_mapping() {
    let mut vsp = versioned();
    let location = vram(0x1234, 1, GPA);
    let action = vsp.receive(&location).unwrap();
    assert!(matches!(action, Some(VspAction::MapVram { gpa: GPA, bytes: VRAM_BYTES, user_ctx: 0x1234 })));
    assert!(!vsp.has_transmit());
    vsp.vram_mapped(true);
    assert_eq!(sent(&mut vsp), [[4, 0, 0, 0, 16, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0]]);
    assert!(vsp.is_vram_mapped());
}

#[test]
fn refused_mapping_is_counted_and_stays_unanswered() {
    let mut vsp = versioned();
    vsp.receive(&vram(GPA, 1, GPA)).unwrap();
    vsp.vram_mapped(false);
    assert!(!vsp.has_transmit());
    assert!(!vsp.is_vram_mapped());
    assert_eq!(vsp.stats().vram_refused, 1);
    assert_fault(vsp, &xga(), ProtocolFault::SituationBeforeVram);
}

#[test]
fn mapping_that_nobody_asked_for_is_not_acknowledged() {
    let mut vsp = versioned();
    vsp.vram_mapped(true);
    assert!(!vsp.has_transmit());
    assert!(!vsp.is_vram_mapped());
    vsp.receive(&vram(GPA, 1, GPA)).unwrap();
    vsp.vram_mapped(true);
    vsp.vram_mapped(true);
    assert_eq!(sent_kinds(&mut vsp), [4]);
}

#[test]
fn moved_vram_forgets_the_situation_and_the_old_acknowledgement() {
    let mut vsp = versioned();
    vsp.receive(&vram(1, 1, GPA)).unwrap();
    vsp.vram_mapped(true);
    vsp.receive(&xga()).unwrap();
    vsp.receive(&vram(2, 1, GPA + 0x1000)).unwrap();
    assert_eq!(vsp.situation(), None);
    assert_eq!(sent_kinds(&mut vsp), [6]);
    vsp.vram_mapped(true);
    assert_eq!(sent(&mut vsp), [[4, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]]);
}

#[test]
fn bad_vram_locations_are_faults() {
    assert_fault(versioned(), &vram(0, 0, GPA), ProtocolFault::VramUnspecified(0));
    assert_fault(versioned(), &vram(0, 2, GPA), ProtocolFault::VramUnspecified(2));
    assert_fault(versioned(), &vram(0, 1, GPA + 1), ProtocolFault::VramUnaligned { gpa: GPA + 1 });
    let gpa = u64::MAX - 0xfff;
    assert_fault(versioned(), &vram(0, 1, gpa), ProtocolFault::VramWraps { gpa, bytes: VRAM_BYTES });
}

#[test]
fn situation_before_vram_is_mapped_is_a_fault() {
    assert_fault(versioned(), &xga(), ProtocolFault::SituationBeforeVram);
    let mut mapping = versioned();
    mapping.receive(&vram(GPA, 1, GPA)).unwrap();
    assert_fault(mapping, &xga(), ProtocolFault::SituationBeforeVram);
}

#[test]
fn bad_situations_are_faults_and_keep_the_old_one() {
    let good = output(1024, 768, 4096);
    let count = |count| situation(0, count, good);
    assert_fault(situated(), &count(0), ProtocolFault::SituationCount(0));
    assert_fault(situated(), &count(2), ProtocolFault::SituationCount(2));
    let deep = wire::SituationOutput { depth_bits: 8, ..good };
    assert_fault(situated(), &situation(0, 1, deep), ProtocolFault::SituationDepth(8));
    let wide = situation(0, 1, output(20000, 1, u32::MAX));
    assert_fault(situated(), &wide, ProtocolFault::SituationSize(Size::new(20000, 1)));
    let narrow = situation(0, 1, output(1024, 768, 4092));
    let fault = ProtocolFault::SituationPitch { pitch: 4092, width: 1024, need: 4096 };
    assert_fault(situated(), &narrow, fault);
    let tall = situation(0, 1, output(1024, 1025, 4096));
    let fault = ProtocolFault::SituationOutsideVram { end: 1025 * 4096, vram_bytes: VRAM_BYTES };
    assert_fault(situated(), &tall, fault);
}

#[test]
fn accepted_situation_is_acknowledged_with_the_guests_context() {
    let mut vsp = situated();
    let update = situation(7, 1, output(640, 480, 4096));
    let action = vsp.receive(&update).unwrap();
    let Some(VspAction::Situation(situation)) = action else { panic!("no situation in {action:?}") };
    assert_eq!((situation.width, situation.height, situation.pitch_bytes), (640, 480, 4096));
    assert_eq!(vsp.situation(), Some(&situation));
    assert_eq!(sent(&mut vsp), [[6, 0, 0, 0, 16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]]);
}

#[test]
fn dirt_before_a_situation_is_a_fault() {
    assert_fault(versioned(), &dirt(), ProtocolFault::DirtBeforeSituation);
}

#[test]
fn dirt_that_was_not_wanted_is_carried_out_and_counted() {
    let mut vsp = situated();
    assert!(matches!(vsp.receive(&dirt()), Ok(Some(VspAction::Dirt(_)))));
    vsp.want(Features::DIRT);
    assert!(matches!(vsp.receive(&dirt()), Ok(Some(VspAction::Dirt(_)))));
    assert_eq!(vsp.stats().unwanted_dirt, 1);
}

#[test]
fn caller_may_use_the_device_while_it_walks_the_rectangles() {
    let mut vsp = situated();
    let dirt = dirt();
    let Some(VspAction::Dirt(rects)) = vsp.receive(&dirt).unwrap() else { panic!("no dirt") };
    for rect in rects {
        let bounds = vsp.situation().unwrap().bounds();
        assert!(crate::DirtVerdict::of(rect, bounds).accepted().is_some());
        vsp.want(Features::DIRT);
    }
    assert_eq!(sent_kinds(&mut vsp), [9]);
}

#[test]
fn feature_change_is_held_back_until_a_version_is_accepted() {
    let mut vsp = Vsp::new(VspConfig { versions: VersionSet::NONE.with(Version::V3_2), ..config() });
    vsp.want(Features::DIRT);
    assert!(!vsp.has_transmit());
    vsp.receive(&version(Version::V3_5)).unwrap();
    assert_eq!(sent_kinds(&mut vsp), [2], "refused: nothing but the answer");
    vsp.receive(&version(Version::V3_2)).unwrap();
    assert_eq!(sent_kinds(&mut vsp), [2, 9]);
}

#[test]
fn newer_features_replace_those_that_wait() {
    let mut vsp = situated();
    vsp.want(Features::DIRT);
    vsp.want(Features { pointer_position: true, situation: true, ..Features::NONE });
    assert_eq!(sent(&mut vsp), [[9, 0, 0, 0, 12, 0, 0, 0, 0, 1, 0, 1]]);
}

#[test]
fn flooding_guest_that_never_reads_keeps_one_answer_of_each_kind() {
    let mut vsp = situated();
    vsp.want(Features::DIRT);
    for user_ctx in 0..1000 {
        vsp.receive(&situation(user_ctx, 1, output(1024, 768, 4096))).unwrap();
        vsp.receive(&message(MessageType::ResolutionRequest, &[&[64]])).unwrap();
        vsp.receive(&message(MessageType::BiosInfoRequest, &[])).unwrap();
        vsp.receive(&message(MessageType::CapabilityRequest, &[])).unwrap();
    }
    assert_eq!(vsp.stats().superseded_answers, 4 * 999);
    let messages = sent(&mut vsp);
    assert_eq!(messages.iter().map(|message| message[0]).collect::<Vec<_>>(), [9, 6, 14, 12, 16]);
    assert_eq!(messages[1][8..], 999u64.to_le_bytes());
}

#[test]
fn resolutions_carry_edid_modes_and_default() {
    let mut vsp = versioned();
    vsp.receive(&message(MessageType::ResolutionRequest, &[&[64]])).unwrap();
    let messages = sent(&mut vsp);
    let answer = &messages[0];
    assert_eq!(answer.len(), 8 + 131 + 2 * 4);
    assert_eq!(answer[..8], [14, 0, 0, 0, 147, 0, 0, 0]);
    assert_eq!(&answer[8..136], Edid::for_mode(Mode::new(1024, 768)).as_bytes());
    assert_eq!(answer[136..139], [2, 0, 0]);
    assert_eq!(answer[139..], [0x00, 0x04, 0x00, 0x03, 0x20, 0x03, 0x58, 0x02]);
}

#[test]
fn resolutions_never_exceed_what_the_guest_can_take() {
    let modes = ModeList::new(&[Mode::new(800, 600), Mode::new(640, 480), Mode::new(1024, 768)], 2).unwrap();
    let mut vsp = Vsp::new(VspConfig::new(modes, VRAM_BYTES));
    vsp.receive(&version(Version::V3_5)).unwrap();
    sent(&mut vsp);
    for (max, count, index) in [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 3, 2), (255, 3, 2)] {
        vsp.receive(&message(MessageType::ResolutionRequest, &[&[max]])).unwrap();
        let messages = sent(&mut vsp);
        assert_eq!(messages[0][136..138], [count, index], "max {max}");
        assert_eq!(messages[0].len(), 139 + usize::from(count) * 4);
    }
}

#[test]
fn longest_answer_fits_the_promised_buffer() {
    let modes = ModeList::new(&[Mode::new(640, 480); 64], 63).unwrap();
    let mut vsp = Vsp::new(VspConfig::new(modes, VRAM_BYTES));
    vsp.receive(&version(Version::V3_5)).unwrap();
    sent(&mut vsp);
    vsp.receive(&message(MessageType::ResolutionRequest, &[&[64]])).unwrap();
    let mut buf = [0; MAX_HOST_MESSAGE_BYTES];
    assert_eq!(vsp.poll_transmit(&mut buf[1..]), None, "one byte too few");
    assert_eq!(vsp.poll_transmit(&mut buf), Some(MAX_HOST_MESSAGE_BYTES));
    assert!(!vsp.has_transmit());
}

#[test]
fn bios_and_capability_requests_are_answered() {
    let mut vsp = versioned();
    vsp.receive(&message(MessageType::BiosInfoRequest, &[])).unwrap();
    vsp.receive(&message(MessageType::CapabilityRequest, &[])).unwrap();
    let messages = sent(&mut vsp);
    assert_eq!(messages[0][..12], [12, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(messages[1][..12], [16, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((messages[0].len(), messages[1].len()), (24, 72));
}

#[test]
fn pointer_position_is_passed_on() {
    let mut vsp = versioned();
    let moved =
        message(MessageType::PointerPosition, &[&[1, 0], &(-3i32).to_le_bytes(), &9i32.to_le_bytes()]);
    let action = vsp.receive(&moved).unwrap();
    let Some(VspAction::PointerPosition(position)) = action else { panic!("no position in {action:?}") };
    assert_eq!(position, PointerPosition { visible: true, x: -3, y: 9 });
    let other = message(MessageType::PointerPosition, &[&[1, 2], &[0; 8]]);
    let kind = MessageType::PointerPosition;
    assert_fault(versioned(), &other, ProtocolFault::UnknownOutput { kind, output: 2 });
}

#[test]
fn largest_shape_in_parts_comes_out_whole() {
    let mut vsp = versioned();
    let pixels: Vec<u8> = (0..=250).cycle().take(MAX_POINTER_BYTES).collect();
    let chunks: Vec<_> = pixels.chunks(8192).collect();
    let (last, first) = chunks.split_last().unwrap();
    for (part, data) in (0..).zip(first) {
        assert!(matches!(vsp.receive(&shape(part, 1, 96, 96, data)), Ok(None)));
        assert_eq!(vsp.pointer_pixels(), None);
    }
    let end = shape(POINTER_PART_LAST, 1, 96, 96, last);
    let Some(VspAction::PointerShape(whole)) = vsp.receive(&end).unwrap() else { panic!("no shape") };
    assert_eq!((whole.format, whole.size), (PointerFormat::Argb8888, Size::new(96, 96)));
    assert_eq!(vsp.pointer_pixels(), Some((whole, &pixels[..])));
}

#[test]
fn monochrome_shape_counts_two_masks_of_whole_bytes() {
    let mut vsp = versioned();
    let masks = vec![0xaa; 3 * 10 * 2];
    let Some(VspAction::PointerShape(whole)) = vsp.receive(&shape(0xff, 0, 17, 10, &masks)).unwrap() else {
        panic!("no shape")
    };
    assert_eq!(whole.format, PointerFormat::Monochrome);
    assert_eq!(vsp.pointer_pixels(), Some((whole, &masks[..])));
}

#[test]
fn part_0_starts_over() {
    let mut vsp = versioned();
    vsp.receive(&shape(0, 1, 2, 1, &[1; 4])).unwrap();
    vsp.receive(&shape(0, 1, 1, 2, &[2; 4])).unwrap();
    let end = shape(POINTER_PART_LAST, 1, 1, 2, &[3; 4]);
    assert!(matches!(vsp.receive(&end), Ok(Some(VspAction::PointerShape(_)))));
    assert_eq!(vsp.pointer_pixels().unwrap().1, [2, 2, 2, 2, 3, 3, 3, 3]);
}

#[test]
fn bad_shapes_are_faults() {
    for (width, height) in [(0, 1), (1, 0), (97, 1), (1, 97), (u32::MAX, u32::MAX)] {
        let size = Size::new(width, height);
        assert_fault(versioned(), &shape(0xff, 1, width, height, &[]), ProtocolFault::PointerSize(size));
    }
    let fault = ProtocolFault::PointerPart { got: 1, expected: 0 };
    assert_fault(versioned(), &shape(1, 1, 2, 2, &[0; 4]), fault);
    assert_fault(
        versioned(),
        &shape(0xff, 1, 2, 2, &[0; 15]),
        ProtocolFault::PointerBytes { got: 15, need: 16 },
    );
    assert_fault(
        versioned(),
        &shape(0, 1, 2, 2, &[0; 17]),
        ProtocolFault::PointerBytes { got: 17, need: 16 },
    );
    let mut hot = shape(0xff, 1, 2, 2, &[0; 16]);
    hot[8 + 10] = 2;
    let fault = ProtocolFault::PointerHotSpot { x: 2, y: 0, size: Size::new(2, 2) };
    assert_fault(versioned(), &hot, fault);
}

#[test]
fn parts_that_skip_or_disagree_are_faults_and_throw_the_shape_away() {
    let begun = || {
        let mut vsp = versioned();
        vsp.receive(&shape(0, 1, 2, 2, &[0; 4])).unwrap();
        vsp
    };
    assert_fault(begun(), &shape(2, 1, 2, 2, &[0; 4]), ProtocolFault::PointerPart { got: 2, expected: 1 });
    assert_fault(begun(), &shape(1, 1, 2, 3, &[0; 4]), ProtocolFault::PointerChanged(1));
    assert_fault(begun(), &shape(0xff, 0, 2, 2, &[0; 4]), ProtocolFault::PointerChanged(0xff));
    assert_fault(begun(), &shape(1, 1, 2, 2, &[0; 13]), ProtocolFault::PointerBytes { got: 17, need: 16 });
    let mut vsp = begun();
    vsp.receive(&shape(2, 1, 2, 2, &[0; 4])).unwrap_err();
    let next = vsp.receive(&shape(1, 1, 2, 2, &[0; 4])).unwrap_err();
    assert_eq!(next, ProtocolFault::PointerPart { got: 1, expected: 0 });
}

#[test]
fn reset_forgets_all_but_the_counters() {
    let mut vsp = situated();
    vsp.want(Features::DIRT);
    vsp.receive(&shape(0xff, 1, 1, 1, &[0; 4])).unwrap();
    let stats = *vsp.stats();
    vsp.reset();
    assert_eq!((vsp.version(), vsp.situation(), vsp.wanted()), (None, None, None));
    assert_eq!(vsp.pointer_pixels(), None);
    assert!(!vsp.has_transmit() && !vsp.is_vram_mapped());
    assert_eq!(*vsp.stats(), stats);
    vsp.vram_mapped(true);
    assert!(!vsp.has_transmit(), "a mapping from before is not acknowledged");
    assert_fault(vsp, &dirt(), ProtocolFault::BeforeVersion(MessageType::Dirt));
}

#[test]
fn offered_modes_are_checked_against_vram() {
    assert!(config().modes_fit());
    let modes = ModeList::single(Mode::new(1366, 768)).unwrap();
    assert!(!VspConfig::new(modes, VRAM_BYTES).modes_fit());
}
