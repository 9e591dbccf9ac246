//! Who is signalled when, and races between looking and masking.

use alloc::boxed::Box;
use core::cell::Cell;

use super::super::{DrainLimits, HeaderField, HeapRing, InRing, OutPacket, OutRing, RingMem, WriteError};
use super::{pair, read_all};

/// A ring where something happens just before its `after`th fence from now: what the other end does at the
/// worst time.
struct RacyRing {
    ring: HeapRing,
    race: Cell<Option<Box<dyn FnOnce()>>>,
    after: Cell<u32>,
}

impl RacyRing {
    fn new(ring: HeapRing) -> Self {
        Self { ring, race: Cell::new(None), after: Cell::new(0) }
    }

    fn race_at(&self, after: u32, race: impl FnOnce() + 'static) {
        self.after.set(after);
        self.race.set(Some(Box::new(race)));
    }
}

impl RingMem for RacyRing {
    fn data_len(&self) -> u32 {
        self.ring.data_len()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) {
        self.ring.read(offset, buf);
    }

    fn write(&self, offset: u32, bytes: &[u8]) {
        self.ring.write(offset, bytes);
    }

    fn load(&self, field: HeaderField) -> u32 {
        self.ring.load(field)
    }

    fn store(&self, field: HeaderField, value: u32) {
        self.ring.store(field, value);
    }

    fn fence(&self) {
        match self.after.get() {
            0 => {
                if let Some(race) = self.race.take() {
                    race();
                }
            }
            left => self.after.set(left - 1),
        }
        self.ring.fence();
    }
}

#[test]
fn consumer_is_signalled_only_for_the_packet_that_ends_emptiness() {
    let (mut out, mut incoming) = pair(4096);
    let packet = OutPacket::in_band(&[&[1; 8]]);
    assert!(out.write(&packet).is_ok_and(|sent| sent.signal));
    assert!(out.write(&packet).is_ok_and(|sent| !sent.signal));
    let _ = read_all(&mut incoming);
    assert!(out.write(&packet).is_ok_and(|sent| sent.signal));
}

#[test]
fn consumer_that_masked_is_not_signalled_and_learns_of_the_packet_when_it_finishes() {
    let (mut out, mut incoming) = pair(4096);
    let drain = incoming.drain(DrainLimits::NONE);
    assert!(out.write(&OutPacket::in_band(&[])).is_ok_and(|sent| !sent.signal));
    assert!(drain.finish().more);
    assert_eq!(read_all(&mut incoming).0.len(), 1);
    assert_eq!(out.memory().load(HeaderField::InterruptMask), 0);
}

#[test]
fn packet_that_comes_while_unmasking_is_handed_out() {
    let ring = HeapRing::new(4096);
    let mut out = OutRing::open(ring.clone()).expect("fresh");
    assert!(out.write(&OutPacket::in_band(&[&[1; 8]])).is_ok());
    let racy = RacyRing::new(ring);
    let mut incoming = InRing::open(&racy).expect("sound");
    let mut buf = [0; 64];
    let mut drain = incoming.drain(DrainLimits::NONE);
    assert!(drain.next_packet(&mut buf).is_ok_and(|packet| packet.is_some()));
    // The first fence belongs to the commit, the second follows the unmasking. The producer saw the mask,
    // say.
    racy.race_at(1, move || assert!(out.write(&OutPacket::in_band(&[&[2; 8]])).is_ok()));
    let packet = drain.next_packet(&mut buf).expect("sound").expect("the late packet");
    assert_eq!(packet.payload, [2; 8]);
    assert_eq!(racy.load(HeaderField::InterruptMask), 1, "masked again while it reads");
    assert_eq!(drain.next_packet(&mut buf), Ok(None));
    assert_eq!(racy.load(HeaderField::InterruptMask), 0);
    assert_eq!(drain.finish().packets, 2);
}

#[test]
fn drain_stops_at_its_packet_limit_and_stays_masked() {
    let (mut out, mut incoming) = pair(4096);
    for _ in 0..5 {
        assert!(out.write(&OutPacket::in_band(&[&[1; 8]])).is_ok());
    }
    let mut buf = [0; 64];
    let mut drain = incoming.drain(DrainLimits { packets: 3, bytes: u32::MAX });
    for _ in 0..3 {
        assert!(drain.next_packet(&mut buf).is_ok_and(|packet| packet.is_some()));
    }
    assert_eq!(drain.next_packet(&mut buf), Ok(None));
    let done = drain.finish();
    assert_eq!((done.packets, done.bytes, done.more), (3, 3 * 32, true));
    assert_eq!(incoming.memory().load(HeaderField::InterruptMask), 1);
    assert_eq!(incoming.memory().load(HeaderField::ReadIndex), 3 * 32);
    assert_eq!(read_all(&mut incoming).0.len(), 2);
    assert_eq!(incoming.memory().load(HeaderField::InterruptMask), 0);
}

#[test]
fn drain_stops_at_its_byte_limit() {
    let (mut out, mut incoming) = pair(4096);
    for _ in 0..5 {
        assert!(out.write(&OutPacket::in_band(&[&[1; 8]])).is_ok());
    }
    let mut buf = [0; 64];
    let mut drain = incoming.drain(DrainLimits { packets: u32::MAX, bytes: 33 });
    while drain.next_packet(&mut buf).expect("sound").is_some() {}
    let done = drain.finish();
    assert_eq!((done.packets, done.more), (2, true));
}

#[test]
fn limit_hit_with_the_last_packet_leaves_nothing_to_come_back_for() {
    let (mut out, mut incoming) = pair(4096);
    assert!(out.write(&OutPacket::in_band(&[])).is_ok());
    let mut buf = [0; 64];
    let mut drain = incoming.drain(DrainLimits { packets: 1, bytes: u32::MAX });
    while drain.next_packet(&mut buf).expect("sound").is_some() {}
    assert!(!drain.finish().more);
    assert_eq!(incoming.memory().load(HeaderField::InterruptMask), 0);
}

#[test]
fn dropped_drain_commits_and_unmasks() {
    let (mut out, mut incoming) = pair(4096);
    assert!(out.write(&OutPacket::in_band(&[])).is_ok());
    let mut drain = incoming.drain(DrainLimits::default());
    assert!(drain.next_packet(&mut []).is_ok_and(|packet| packet.is_some()));
    drop(drain);
    assert_eq!(incoming.memory().load(HeaderField::InterruptMask), 0);
    assert_eq!(incoming.memory().load(HeaderField::ReadIndex), 24);
}

fn fill(out: &mut OutRing<HeapRing>) -> u32 {
    let mut written = 0;
    while out.write(&OutPacket::in_band(&[&[0; 104]])).is_ok() {
        written += 1;
    }
    written
}

#[test]
fn producer_that_waits_for_space_is_signalled_when_it_gets_it() {
    let (mut out, mut incoming) = pair(4096);
    assert_eq!(fill(&mut out), 31);
    assert_eq!(out.memory().load(HeaderField::PendingSendSize), 128);
    let mut buf = [0; 128];
    let mut drain = incoming.drain(DrainLimits { packets: 1, bytes: u32::MAX });
    while drain.next_packet(&mut buf).expect("sound").is_some() {}
    assert!(drain.finish().signal_producer, "256 bytes are free, 128 were wanted");
    // Said once: the next bytes do not cross the threshold again.
    assert!(!read_all(&mut incoming).1.signal_producer);
    assert!(out.write(&OutPacket::in_band(&[&[0; 104]])).is_ok());
    assert_eq!(out.memory().load(HeaderField::PendingSendSize), 0);
}

#[test]
fn producer_is_not_signalled_before_there_is_enough_space() {
    let (mut out, mut incoming) = pair(4096);
    assert_eq!(fill(&mut out), 31);
    assert!(matches!(
        out.write(&OutPacket::in_band(&[&[0; 300]])),
        Err(WriteError::Full { needed: 328, .. })
    ));
    let mut buf = [0; 128];
    let mut signals = [false; 3];
    for signal in &mut signals {
        let mut drain = incoming.drain(DrainLimits { packets: 1, bytes: u32::MAX });
        while drain.next_packet(&mut buf).expect("sound").is_some() {}
        *signal = drain.finish().signal_producer;
    }
    assert_eq!(signals, [false, true, false], "free: 256, 384, 512");
}

#[test]
fn producer_without_the_feature_is_never_signalled() {
    let (mut out, mut incoming) = pair(4096);
    out.memory().store(HeaderField::Features, 0);
    fill(&mut out);
    assert!(!read_all(&mut incoming).1.signal_producer);
}

#[test]
fn space_that_comes_while_the_producer_asks_for_it_is_used() {
    let ring = HeapRing::new(4096);
    let racy = RacyRing::new(ring.clone());
    let mut out = OutRing::open(&racy).expect("fresh");
    while out.free() > 128 {
        assert!(out.write(&OutPacket::in_band(&[&[0; 104]])).is_ok());
    }
    let mut incoming = InRing::open(ring).expect("sound");
    racy.race_at(0, move || assert_eq!(read_all(&mut incoming).0.len(), 31));
    assert!(out.write(&OutPacket::in_band(&[&[0; 104]])).is_ok());
    assert_eq!(racy.load(HeaderField::PendingSendSize), 0);
}
