//! Rings whose other end does not keep to the rules.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::{
    DrainLimits, HeaderField, HeapRing, InRing, OpenFault, OutPacket, OutRing, RingFault, RingMem, WriteError,
};
use super::pair;

const DATA_LEN: u32 = 4096;

/// The fault of reading a ring with this descriptor at its start and `write` bytes in it.
fn fault_of(offset8: u16, len8: u16, write: u32) -> RingFault {
    let ring = HeapRing::new(DATA_LEN);
    let mut incoming = InRing::open(ring.clone()).expect("fresh");
    ring.write(0, &6_u16.to_le_bytes());
    ring.write(2, &offset8.to_le_bytes());
    ring.write(4, &len8.to_le_bytes());
    ring.store(HeaderField::WriteIndex, write);
    let mut buf = [0; 100];
    let mut drain = incoming.drain(DrainLimits::NONE);
    let fault = drain.next_packet(&mut buf).expect_err("broken ring");
    assert_eq!(drain.next_packet(&mut buf), Err(fault), "there is no next packet");
    drop(drain);
    assert_eq!(incoming.fault(), Some(fault));
    assert_eq!(ring.load(HeaderField::ReadIndex), 0);
    fault
}

#[test]
fn write_index_outside_the_ring_or_between_packets_is_a_fault() {
    for index in [4, 4096, 4104, 0xffff_fff8, u32::MAX] {
        let field = HeaderField::WriteIndex;
        assert_eq!(fault_of(2, 2, index), RingFault::Index { field, index, data_len: DATA_LEN });
    }
}

#[test]
fn descriptor_that_does_not_fit_the_ring_is_a_fault() {
    assert_eq!(fault_of(2, 2, 16), RingFault::Fragment { offset: 0, available: 16 });
    for (len8, len) in [(0, 0), (1, 8), (4, 32), (u16::MAX, 65535 * 8)] {
        assert_eq!(fault_of(2, len8, 32), RingFault::Length { offset: 0, len, available: 32 });
    }
    for (offset8, payload_offset) in [(0, 0), (1, 8), (4, 32), (u16::MAX, 65535 * 8)] {
        let fault = RingFault::PayloadOffset { offset: 0, payload_offset, len: 24 };
        assert_eq!(fault_of(offset8, 3, 32), fault);
    }
}

#[test]
fn payload_larger_than_the_readers_buffer_is_a_fault() {
    assert_eq!(fault_of(2, 15, 128), RingFault::TooLong { offset: 0, len: 104, limit: 100 });
}

#[test]
fn page_list_before_the_payload_is_skipped() {
    let ring = HeapRing::new(DATA_LEN);
    ring.write(0, &[9, 0, 4, 0, 5, 0, 0, 0]);
    ring.write(32, b"payload!");
    ring.store(HeaderField::WriteIndex, 48);
    let mut incoming = InRing::open(ring).expect("sound");
    let mut buf = [0; 16];
    let packet =
        incoming.drain(DrainLimits::NONE).next_packet(&mut buf).map(|packet| packet.map(|it| it.payload));
    assert_eq!(packet, Ok(Some(&b"payload!"[..])));
}

#[test]
fn read_index_outside_the_ring_stops_the_producer() {
    let (mut out, _) = pair(DATA_LEN);
    let packet = OutPacket::in_band(&[&[0; 1000]]);
    for _ in 0..3 {
        assert!(out.write(&packet).is_ok());
    }
    out.memory().store(HeaderField::ReadIndex, 4097);
    let fault = RingFault::Index { field: HeaderField::ReadIndex, index: 4097, data_len: DATA_LEN };
    assert_eq!(out.write(&packet), Err(WriteError::Corrupt(fault)));
    out.memory().store(HeaderField::ReadIndex, 0);
    assert_eq!(out.write(&packet), Err(WriteError::Corrupt(fault)), "once broken, always broken");
    assert_eq!(out.fault(), Some(fault));
}

#[test]
fn ring_whose_indices_make_no_sense_is_not_opened() {
    for field in [HeaderField::WriteIndex, HeaderField::ReadIndex] {
        let ring = HeapRing::new(DATA_LEN);
        ring.store(field, 4100);
        let fault = OpenFault::Index { field, index: 4100, data_len: DATA_LEN };
        assert_eq!(InRing::open(&ring).err(), Some(fault));
        assert_eq!(OutRing::open(&ring).err(), Some(fault));
    }
}

/// A ring of a size that none can have.
struct Odd(u32);

impl RingMem for Odd {
    fn data_len(&self) -> u32 {
        self.0
    }

    fn read(&self, _: u32, _: &mut [u8]) {}

    fn write(&self, _: u32, _: &[u8]) {}

    fn load(&self, _: HeaderField) -> u32 {
        0
    }

    fn store(&self, _: HeaderField, _: u32) {}
}

#[test]
fn ring_of_an_impossible_size_is_not_opened() {
    for data_len in [0, 8, 4095, 4100, (1 << 30) + 4096, u32::MAX] {
        assert_eq!(InRing::open(Odd(data_len)).err(), Some(OpenFault::Size { data_len }));
    }
    assert!(OutRing::open(Odd(1 << 30)).is_ok());
    let sizes = [0, 1, 2, 64, (1 << 18) + 1, (1 << 18) + 2, u64::MAX].map(super::super::ring_data_bytes);
    assert_eq!(sizes, [None, None, Some(4096), Some(258_048), Some(1 << 30), None, None]);
}

/// What the other end does to the shared memory between two steps of ours.
#[derive(Clone, Debug)]
enum Meddling {
    Header(HeaderField, u32),
    Data(u32, Vec<u8>),
    Read,
    Write(usize),
}

fn meddling() -> impl Strategy<Value = Meddling> {
    let field = prop::sample::select(&[
        HeaderField::WriteIndex,
        HeaderField::ReadIndex,
        HeaderField::InterruptMask,
        HeaderField::PendingSendSize,
        HeaderField::Features,
    ]);
    let value = prop_oneof![4 => (0..DATA_LEN / 8).prop_map(|word| word * 8), 1 => any::<u32>()];
    // Descriptor-like words, so that packets come out now and then.
    let word =
        prop_oneof![Just([6_u8, 0, 2, 0, 3, 0, 0, 0]), Just([6, 0, 3, 0, 9, 0, 0, 0]), any::<[u8; 8]>()];
    let data = prop::collection::vec(word, 1..40).prop_map(|words| words.concat());
    prop_oneof![
        4 => (field, value).prop_map(|(field, value)| Meddling::Header(field, value)),
        4 => (0..DATA_LEN / 8, data).prop_map(|(word, data)| Meddling::Data(word * 8, data)),
        3 => Just(Meddling::Read),
        3 => (0_usize..5000).prop_map(Meddling::Write),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        rng_seed: prop::test_runner::RngSeed::Fixed(0x0ddb_a115),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_shared_memory_yields_packets_or_a_fault_and_never_runs_past_a_limit(
        steps in prop::collection::vec(meddling(), 1..60),
    ) {
        let ring = HeapRing::new(DATA_LEN);
        let mut incoming = InRing::open(ring.clone()).expect("fresh");
        let mut out = OutRing::open(ring.clone()).expect("fresh");
        let mut buf = [0; 512];
        for step in steps {
            match step {
                Meddling::Header(field, value) => ring.store(field, value),
                Meddling::Data(offset, bytes) => {
                    let room = (DATA_LEN - offset) as usize;
                    ring.write(offset, &bytes[..bytes.len().min(room)]);
                }
                Meddling::Read => {
                    let mut drain = incoming.drain(DrainLimits { packets: 50, bytes: 2048 });
                    while let Ok(Some(packet)) = drain.next_packet(&mut buf) {
                        prop_assert!(packet.payload.len() <= 512);
                    }
                    let done = drain.finish();
                    prop_assert!(done.packets <= 50 && done.bytes < 2048 + DATA_LEN);
                    if incoming.fault().is_some() {
                        incoming = match InRing::open(ring.clone()) {
                            Ok(incoming) => incoming,
                            Err(_) => return Ok(()),
                        };
                    }
                }
                Meddling::Write(len) => {
                    let bytes = alloc::vec![6; len];
                    let before = ring.load(HeaderField::WriteIndex);
                    if out.write(&OutPacket::in_band(&[&bytes])).is_err() {
                        prop_assert_eq!(ring.load(HeaderField::WriteIndex), before);
                    }
                }
            }
        }
    }
}
