//! Both ends of a ring against each other, and against memory that makes no sense.

mod hostile;
mod signals;
mod threads;

use alloc::vec;
use alloc::vec::Vec;

use super::{DrainLimits, Drained, HeaderField, HeapRing, InRing, OutPacket, OutRing, RingMem, WriteError};
use crate::packet::{FLAG_COMPLETION_REQUESTED, PacketKind};

fn pair(data_len: u32) -> (OutRing<HeapRing>, InRing<HeapRing>) {
    let ring = HeapRing::new(data_len);
    (OutRing::open(ring.clone()).expect("fresh ring"), InRing::open(ring).expect("fresh ring"))
}

/// Payloads of all packets, padding included.
fn read_all<M: RingMem>(ring: &mut InRing<M>) -> (Vec<Vec<u8>>, Drained) {
    let mut buf = [0; 8192];
    let mut payloads = Vec::new();
    let mut drain = ring.drain(DrainLimits::NONE);
    while let Some(packet) = drain.next_packet(&mut buf).expect("the producer is ours") {
        payloads.push(packet.payload.to_vec());
    }
    (payloads, drain.finish())
}

/// `len` bytes that differ with `seed`.
fn payload(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + seed * 31) % 251).expect("below 251")).collect()
}

#[test]
fn packet_is_read_as_it_was_written() {
    let (mut out, mut incoming) = pair(4096);
    let parts: [&[u8]; 2] = [&[1, 2, 3], &[4, 5]];
    let packet = OutPacket::in_band(&parts).with_completion(0x1122_3344_5566_7788);
    assert!(out.write(&packet).is_ok_and(|sent| sent.signal));
    let completion = OutPacket { kind: PacketKind::Completion, ..OutPacket::in_band(&[]) };
    assert!(out.write(&completion).is_ok_and(|sent| !sent.signal));

    let mut buf = [0xee; 64];
    let mut drain = incoming.drain(DrainLimits::NONE);
    let packet = drain.next_packet(&mut buf).expect("sound").expect("two packets");
    assert_eq!(packet.payload, [1, 2, 3, 4, 5, 0, 0, 0]);
    assert_eq!((packet.kind, packet.flags), (PacketKind::InBand, FLAG_COMPLETION_REQUESTED));
    assert_eq!(packet.transaction_id, 0x1122_3344_5566_7788);
    let packet = drain.next_packet(&mut buf).expect("sound").expect("one more packet");
    assert_eq!((packet.kind, packet.payload), (PacketKind::Completion, &[][..]));
    assert_eq!(drain.next_packet(&mut buf), Ok(None));
    assert_eq!(drain.finish(), Drained { packets: 2, bytes: 32 + 24, more: false, signal_producer: false });
}

#[test]
fn consumer_sees_a_ring_without_room_when_its_producer_does() {
    const DIRT: u32 = 34;
    let (mut out, mut incoming) = pair(4096);
    let dirt = [0xab; DIRT as usize];
    let mut sent = 0;
    while incoming.has_room_for(DIRT) {
        assert!(out.write(&OutPacket::in_band(&[&dirt])).is_ok(), "there was room after {sent}");
        sent += 1;
    }
    // The last 64 of 4096 bytes stay free: a full ring would look like an empty one.
    assert_eq!(sent, 63);
    assert!(matches!(
        out.write(&OutPacket::in_band(&[&dirt])),
        Err(WriteError::Full { needed: 64, free: 64 })
    ));
    assert!(incoming.has_room_for(32), "56 bytes with descriptor and trailer");
    assert_eq!(read_all(&mut incoming).0.len(), 63);
    assert!(incoming.has_room_for(DIRT));
    assert!(!incoming.has_room_for(u32::MAX));
}

#[test]
fn index_without_sense_is_no_full_ring() {
    let ring = HeapRing::new(4096);
    let mut incoming = InRing::open(ring.clone()).expect("fresh ring");
    for index in [4096, 7, u32::MAX] {
        ring.store(HeaderField::WriteIndex, index);
        assert!(incoming.has_room_for(34), "{index}");
    }
    assert!(incoming.drain(DrainLimits::NONE).next_packet(&mut [0; 64]).is_err(), "the drain finds it");
}

#[test]
fn parts_of_odd_lengths_are_joined() {
    let (mut out, mut incoming) = pair(4096);
    let bytes = payload(256, 1);
    for lengths in [[0, 1, 7, 9], [3, 3, 3, 3], [8, 0, 5, 2], [1, 1, 1, 1], [13, 30, 1, 40]] {
        let mut rest = &bytes[..];
        let parts = lengths.map(|len| {
            let (part, behind) = rest.split_at(len);
            rest = behind;
            part
        });
        assert!(out.write(&OutPacket::in_band(&parts)).is_ok());
        let len = lengths.iter().sum::<usize>();
        let mut expected = bytes[..len].to_vec();
        expected.resize(len.next_multiple_of(8), 0);
        assert_eq!(read_all(&mut incoming).0, [expected], "{lengths:?}");
    }
}

#[test]
fn dirt_of_34_bytes_takes_64_and_its_trailer_says_where_it_started() {
    let (mut out, _) = pair(4096);
    for _ in 0..2 {
        assert!(out.write(&OutPacket::in_band(&[&[0xab; 34]])).is_ok());
    }
    let mut bytes = [0; 64];
    out.memory().read(64, &mut bytes);
    assert_eq!(bytes[..16], [6, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[16..50], [0xab; 34]);
    assert_eq!(bytes[50..56], [0; 6]);
    assert_eq!(bytes[56..], [0, 0, 0, 0, 64, 0, 0, 0]);
}

#[test]
fn ring_wrap_mid_packet_is_read_whole() {
    let (mut out, mut incoming) = pair(4096);
    // 1000 bytes take 1024; with one filler the start moves by 24 each round, so every wrap position comes
    // up.
    for round in 0..600 {
        let sent = payload(1000, round);
        assert!(out.write(&OutPacket::in_band(&[&sent[..700], &sent[700..]])).is_ok());
        assert!(out.write(&OutPacket::in_band(&[])).is_ok());
        let (read, _) = read_all(&mut incoming);
        assert_eq!(read, [sent, vec![]], "round {round}");
    }
}

#[test]
fn ring_never_fills_completely() {
    let (mut out, mut incoming) = pair(4096);
    let mut written = 0;
    while out.write(&OutPacket::in_band(&[&[0; 40]])).is_ok() {
        written += 1;
    }
    assert_eq!(written, 63, "64 packets of 64 bytes would fill it");
    let packet = OutPacket::in_band(&[&[0; 32]]);
    assert!(out.write(&packet).is_ok(), "56 of the last 64 bytes may be used");
    let full = Err(WriteError::Full { needed: 24, free: 8 });
    assert_eq!(out.write(&OutPacket::in_band(&[])), full);
    assert_eq!(read_all(&mut incoming).0.len(), 64);
}

#[test]
fn video_ring_holds_4031_dirts() {
    let (mut out, mut incoming) = pair(258_048);
    let mut written = 0;
    while out.write(&OutPacket::in_band(&[&[0; 34]])).is_ok() {
        written += 1;
    }
    assert_eq!(written, 4031);
    assert_eq!(read_all(&mut incoming).0.len(), 4031);
}

#[test]
fn packet_that_a_guest_would_truncate_is_our_error() {
    let (mut out, _) = pair(258_048);
    assert!(out.write(&OutPacket::in_band(&[&[0; 4080]])).is_ok());
    let too_long = WriteError::TooLong { len: 4097, limit: 4096 };
    assert_eq!(out.write(&OutPacket::in_band(&[&[0; 4081]])), Err(too_long));

    let (out, _) = pair(258_048);
    let mut out = out.with_max_packet(20_000);
    assert!(out.write(&OutPacket::in_band(&[&[0; 16_000]])).is_ok());
}

#[test]
fn packet_that_can_never_fit_is_too_long_rather_than_waited_for() {
    let (out, mut incoming) = pair(4096);
    let mut out = out.with_max_packet(u32::MAX);
    let too_long = WriteError::TooLong { len: 4081, limit: 4080 };
    assert_eq!(out.write(&OutPacket::in_band(&[&[0; 4065]])), Err(too_long));
    for seed in 0..10 {
        let sent = payload(4064, seed);
        assert!(out.write(&OutPacket::in_band(&[&sent])).is_ok());
        assert_eq!(read_all(&mut incoming).0, [sent]);
    }
}

#[test]
fn read_index_is_ours_and_what_the_guest_writes_there_is_ignored() {
    let (mut out, mut incoming) = pair(4096);
    for seed in 0..3 {
        incoming.memory().store(HeaderField::ReadIndex, 0xdead_beef);
        let sent = payload(16, seed);
        assert!(out.write(&OutPacket::in_band(&[&sent])).is_ok());
        assert_eq!(read_all(&mut incoming).0, [sent]);
        assert_eq!(incoming.memory().load(HeaderField::ReadIndex) as usize, (seed + 1) * 40);
    }
}

#[test]
fn reopened_ring_goes_on_where_its_header_says() {
    let (mut out, mut incoming) = pair(4096);
    assert!(out.write(&OutPacket::in_band(&[&[1; 8]])).is_ok());
    let _ = read_all(&mut incoming);
    assert!(out.write(&OutPacket::in_band(&[&[2; 8]])).is_ok());
    let mut reopened = InRing::open(out.memory().clone()).expect("sound");
    assert_eq!(read_all(&mut reopened).0, [vec![2; 8]]);
    let mut out = OutRing::open(out.memory().clone()).expect("sound");
    assert!(out.write(&OutPacket::in_band(&[&[3; 8]])).is_ok());
    assert_eq!(read_all(&mut reopened).0, [vec![3; 8]]);
}
