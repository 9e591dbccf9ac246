use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use surface::{VramBytes, VramError, VramKind, VramMapError};
use synthvid::wire::{self, MessageType};
use vmbus::ChannelId;

use super::*;
use crate::clock::MonotonicClock;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;

/// White VRAM that counts what is read of it.
struct CountedVram {
    bytes: u64,
    read: Arc<AtomicU64>,
}

impl VramBytes for CountedVram {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read(&self, _offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        buf.fill(0xff);
        Ok(())
    }
}

/// Counts the lines of a log.
struct Lines(Arc<AtomicU64>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let line = u64::from(*event.metadata().level() <= tracing::Level::WARN);
        self.0.fetch_add(line, Ordering::Relaxed);
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

/// Has no VRAM for anybody.
struct NoMapper;

impl VramMapper for NoMapper {
    fn map(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        Err(VramMapError::NotAllowed { gpa, len, window: "no window".into() })
    }

    fn unmap(&mut self) {}

    fn kind(&self) -> Option<VramKind> {
        None
    }
}

struct CountedMapper(Arc<AtomicU64>);

impl VramMapper for CountedMapper {
    fn map(&mut self, _gpa: u64, bytes: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        Ok(Arc::new(CountedVram { bytes, read: Arc::clone(&self.0) }))
    }

    fn unmap(&mut self) {}

    fn kind(&self) -> Option<VramKind> {
        Some(VramKind::Mmio)
    }
}

#[derive(Default)]
struct LastDirt {
    rects: u32,
    declared_px: u64,
    changed_px: u64,
}

impl Observer for LastDirt {
    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        *self = Self { rects: dirt.rects, declared_px: dirt.declared_px, changed_px: dirt.changed_px };
    }
}

fn send(video: &mut Synthvid, observer: &mut LastDirt, kind: MessageType, body: &[u8]) {
    receive(video, observer, kind, body).expect("no rule is broken");
}

fn receive(
    video: &mut Synthvid,
    observer: &mut LastDirt,
    kind: MessageType,
    body: &[u8],
) -> Result<(), DeviceFault> {
    let mut message = [0; 4352];
    let len = wire::encode(&mut message, kind, &[body]).expect("it fits");
    let payload = [&pipe::header(len).expect("it fits")[..], &message[..len]].concat();
    let clock = MonotonicClock::default();
    let mut context =
        DeviceContext { channel: ChannelId(1), now_ns: 0, doorbell_ns: 0, clock: &clock, observer };
    video.receive(&payload, &mut context)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn screen_named_in_all_rectangles_of_a_message_is_copied_once() {
    let read = Arc::new(AtomicU64::new(0));
    let options = SynthvidOptions::parse("hyperv-synthvid").expect("the default");
    let mut video = Synthvid::new(options, Box::new(CountedMapper(Arc::clone(&read)))).expect("the default");
    let mut seen = LastDirt::default();
    send(&mut video, &mut seen, MessageType::VersionRequest, &words(&[0x0002_0003]));
    let location = [&[0; 8][..], &[1], &[0; 8]].concat();
    send(&mut video, &mut seen, MessageType::VramLocation, &location);
    let shape = words(&[WIDTH, HEIGHT, WIDTH * 4]);
    let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
    send(&mut video, &mut seen, MessageType::SituationUpdate, &situation);

    let dirt = [&[0, 255][..], &words(&[0, 0, WIDTH, HEIGHT]).repeat(255)].concat();
    send(&mut video, &mut seen, MessageType::Dirt, &dirt);

    let screen_px = u64::from(WIDTH * HEIGHT);
    assert_eq!(read.load(Ordering::Relaxed), screen_px * 4, "bytes of VRAM that were read");
    assert_eq!((seen.rects, seen.declared_px, seen.changed_px), (255, 255 * screen_px, screen_px));
}

/// As hyperv_drm does when it thaws: dirt was wanted before, and its worker does not wait for the mode.
#[test]
fn dirt_before_there_is_a_screen_is_counted_and_does_not_cost_the_channel() {
    let options = SynthvidOptions::parse("hyperv-synthvid").expect("the default");
    let mut video = Synthvid::new(options, Box::new(CountedMapper(Arc::default()))).expect("the default");
    let mut seen = LastDirt::default();
    let dirt = [&[0, 1][..], &words(&[0, 0, WIDTH, HEIGHT])].concat();
    let early = |video: &mut Synthvid, seen: &mut LastDirt| {
        let fault = receive(video, seen, MessageType::Dirt, &dirt).expect_err("there is no screen");
        assert!(!fault.is_fatal(), "{fault}");
    };
    early(&mut video, &mut seen);
    send(&mut video, &mut seen, MessageType::VersionRequest, &words(&[0x0002_0003]));
    early(&mut video, &mut seen);
    let location = [&[0; 8][..], &[1], &[0; 8]].concat();
    send(&mut video, &mut seen, MessageType::VramLocation, &location);
    early(&mut video, &mut seen);
    let shape = words(&[WIDTH, HEIGHT, WIDTH * 4]);
    let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
    send(&mut video, &mut seen, MessageType::SituationUpdate, &situation);
    assert_eq!(seen.declared_px, 0);
    send(&mut video, &mut seen, MessageType::Dirt, &dirt);
    assert_eq!(seen.declared_px, u64::from(WIDTH * HEIGHT));
}

#[test]
fn guest_that_declares_wrong_vram_again_and_again_does_not_fill_the_log() {
    let lines = Arc::new(AtomicU64::new(0));
    let options = SynthvidOptions::parse("hyperv-synthvid").expect("the default");
    let mut video = Synthvid::new(options, Box::new(NoMapper)).expect("the default");
    let mut seen = LastDirt::default();
    tracing::subscriber::with_default(Lines(Arc::clone(&lines)), || {
        send(&mut video, &mut seen, MessageType::VersionRequest, &words(&[0x0002_0003]));
        let location = [&[0; 8][..], &[1], &[0; 8]].concat();
        for _ in 0..1000 {
            send(&mut video, &mut seen, MessageType::VramLocation, &location);
        }
    });
    let lines = lines.load(Ordering::Relaxed);
    assert!((1..=10).contains(&lines), "{lines} lines");
}

fn video() -> Synthvid {
    let read = Arc::new(AtomicU64::new(0));
    let options = SynthvidOptions::parse("hyperv-synthvid").expect("the default");
    Synthvid::new(options, Box::new(CountedMapper(read))).expect("the default")
}

fn show(video: &mut Synthvid, seen: &mut LastDirt) {
    send(video, seen, MessageType::VersionRequest, &words(&[0x0002_0003]));
    send(video, seen, MessageType::VramLocation, &[&[0; 8][..], &[1], &[0; 8]].concat());
    let shape = words(&[WIDTH, HEIGHT, WIDTH * 4]);
    let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
    send(video, seen, MessageType::SituationUpdate, &situation);
}

#[test]
fn pointer_is_drawn_on_request_only_and_forgotten_when_the_guest_lets_go() {
    let (mut video, mut seen) = (video(), LastDirt::default());
    show(&mut video, &mut seen);
    let position = [&[1, 0][..], &words(&[3, 2])].concat();
    send(&mut video, &mut seen, MessageType::PointerPosition, &position);
    let shape = [&[0xff, 1][..], &words(&[1, 1, 0, 0]), &[1, 2, 3, 255]].concat();
    send(&mut video, &mut seen, MessageType::PointerShape, &shape);
    let at = |picture: &Picture| picture.pixels[usize::try_from(2 * WIDTH + 3).expect("it is small")];
    assert_eq!((at(&video.picture()), at(&video.picture_with_pointer())), (0, 0x0003_0201));
    assert_eq!(video.cursor().hot_spot(), Some((3, 2)));
    let clock = MonotonicClock::default();
    let channel = ChannelId(1);
    let observer = &mut seen;
    video.closed(&mut DeviceContext { channel, now_ns: 0, doorbell_ns: 0, clock: &clock, observer });
    assert_eq!(video.cursor().hot_spot(), None);
    assert_eq!(video.picture_with_pointer().pixels, video.picture().pixels);
}

#[test]
fn mode_that_is_not_offered_or_does_not_fit_is_refused_with_the_reason() {
    let mut video = video();
    let told = |refusal: ModeRefusal| refusal.to_string();
    let text = told(video.request_mode(Size::new(1000, 700)).unwrap_err());
    assert!(text.starts_with("mode 1000x700 is not offered to the guest, offered are 640x480, "), "{text}");
    let text = told(video.request_mode(Size::new(4096, 4096)).unwrap_err());
    assert_eq!(text, "mode 4096x4096 needs 67108864 bytes of video memory, there are 8388608");
}

#[test]
fn mode_that_is_asked_for_is_the_default_of_the_next_answer() {
    let (mut video, mut seen) = (video(), LastDirt::default());
    show(&mut video, &mut seen);
    let mut buffer = [0; 4096];
    while video.poll_transmit(&mut buffer).is_some() {}
    video.request_mode(Size::new(800, 600)).expect("it is offered");
    let len = video.poll_transmit(&mut buffer).expect("the guest is told");
    assert_eq!(buffer[..len][8..], [9, 0, 0, 0, 12, 0, 0, 0, 1, 1, 1, 1], "FEATURE_CHANGE, situation wanted");
    send(&mut video, &mut seen, MessageType::ResolutionRequest, &[64]);
    let len = video.poll_transmit(&mut buffer).expect("there is an answer");
    let answer = &buffer[..len][16..];
    let default = usize::from(answer[129]);
    assert_eq!(answer[131 + 4 * default..][..4], [0x20, 3, 0x58, 2]);
    assert_eq!(video.options().mode(), Size::new(800, 600));
}

/// A device with keys, whose guest has declared its VRAM, and the acknowledgements of it: their contexts.
fn misbehaving(keys: &str) -> (Synthvid, LastDirt) {
    let options = SynthvidOptions::parse(&format!("hyperv-synthvid,{keys}")).expect("keys are right");
    let mut video = Synthvid::new(options, Box::new(CountedMapper(Arc::default()))).expect("as above");
    let mut seen = LastDirt::default();
    send(&mut video, &mut seen, MessageType::VersionRequest, &words(&[0x0002_0003]));
    let location = [&7_u64.to_le_bytes()[..], &[1], &[0; 8]].concat();
    send(&mut video, &mut seen, MessageType::VramLocation, &location);
    (video, seen)
}

fn acknowledged(video: &mut Synthvid) -> Vec<u64> {
    let mut buffer = [0; 4096];
    let mut contexts = Vec::new();
    while let Some(len) = video.poll_transmit(&mut buffer) {
        if buffer[8] == 4 && len == 24 {
            contexts.push(u64::from_le_bytes(buffer[16..24].try_into().expect("eight bytes")));
        }
    }
    contexts
}

fn tick(video: &mut Synthvid, seen: &mut LastDirt, now_ns: u64) {
    let clock = MonotonicClock::default();
    let channel = ChannelId(1);
    video.tick(&mut DeviceContext { channel, now_ns, doorbell_ns: now_ns, clock: &clock, observer: seen });
}

#[test]
fn vram_is_acknowledged_with_the_guests_context_unless_the_host_is_told_to_misbehave() {
    let said = |keys: &str| acknowledged(&mut misbehaving(keys).0);
    assert_eq!(said("vram-ack=normal"), [7]);
    assert_eq!(said("vram-ack=wrong-context"), [!7]);
    assert!(said("vram-ack=never").is_empty());
}

#[test]
fn late_acknowledgement_comes_at_its_time_and_the_guest_may_go_on_before() {
    let (mut video, mut seen) = misbehaving("vram-ack=late:12,repaint=strict");
    assert_eq!(video.deadline_ns(), Some(12_000_000_000));
    let shape = words(&[WIDTH, HEIGHT, WIDTH * 4]);
    let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
    send(&mut video, &mut seen, MessageType::SituationUpdate, &situation);
    tick(&mut video, &mut seen, 11_999_999_999);
    assert!(acknowledged(&mut video).is_empty());
    tick(&mut video, &mut seen, 12_000_000_000);
    assert_eq!(acknowledged(&mut video), [7]);
    tick(&mut video, &mut seen, 24_000_000_000);
    assert!(acknowledged(&mut video).is_empty());
}

#[test]
fn late_acknowledgement_of_a_channel_that_was_closed_never_comes() {
    let (mut video, mut seen) = misbehaving("vram-ack=late:12");
    let clock = MonotonicClock::default();
    let channel = ChannelId(1);
    let observer = &mut seen;
    video.closed(&mut DeviceContext { channel, now_ns: 0, doorbell_ns: 0, clock: &clock, observer });
    tick(&mut video, &mut seen, 13_000_000_000);
    assert!(acknowledged(&mut video).is_empty());
}

#[test]
fn stall_begins_with_its_dirt_ends_at_its_time_and_never_comes_again() {
    let (mut video, mut seen) = misbehaving("stall=2:5000");
    let shape = words(&[WIDTH, HEIGHT, WIDTH * 4]);
    let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
    send(&mut video, &mut seen, MessageType::SituationUpdate, &situation);
    tick(&mut video, &mut seen, 0);
    let dirt = [&[0, 1][..], &words(&[0, 0, WIDTH, HEIGHT])].concat();
    send(&mut video, &mut seen, MessageType::Dirt, &dirt);
    assert_eq!(video.stalled_until_ns(), None);
    send(&mut video, &mut seen, MessageType::Dirt, &dirt);
    assert_eq!(video.stalled_until_ns(), Some(5_000_000_000));
    tick(&mut video, &mut seen, 4_999_999_999);
    assert_eq!(video.stalled_until_ns(), Some(5_000_000_000));
    tick(&mut video, &mut seen, 5_000_000_000);
    assert_eq!(video.stalled_until_ns(), None);
    send(&mut video, &mut seen, MessageType::Dirt, &dirt);
    assert_eq!(video.stalled_until_ns(), None);
}
