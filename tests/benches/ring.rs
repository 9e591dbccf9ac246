//! Packets through a ring in guest memory, page by page through its GPADL, beside the same ring in one piece of heap: what the
//! indirection of a real guest's ring costs.
//!
//! Small packets are what a DIRT is, large ones are pointer shapes. A sample is one batch (`sample_size = 1`), because what
//! prepares the next one needs the ring as the last one left it.

use device_model::ring_memory::GpadlRing;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmbus::ring::{DrainLimits, HeaderField, HeapRing, InRing, OutPacket, OutRing, RingMem};

const SIZES: [usize; 2] = [16, 8192];
/// Pages of the ring, header included; Linux's video driver has 64.
const PAGES: u64 = 64;
const PAGE: u64 = 4096;
/// Packets in a sample: as many of the largest as the ring holds.
const BATCH: u32 = 24;

fn main() {
    divan::main();
}

type GuestMemoryRing = GpadlRing<GuestMemoryMmap>;

/// Both ends of a ring whose pages lie apart, as a guest's allocator leaves them.
fn in_guest_memory() -> (GuestMemoryRing, GuestMemoryRing) {
    let bytes = usize::try_from(2 * PAGES * PAGE).expect("512 KiB");
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), bytes)]).expect("anonymous memory");
    let gpns: Vec<u64> = (0..PAGES).map(|page| 2 * page).collect();
    let ring = || GpadlRing::new(memory.clone(), &gpns).expect("all pages are RAM");
    let (producer, consumer) = (ring(), ring());
    producer.store(HeaderField::Features, 1);
    (producer, consumer)
}

fn in_heap() -> (HeapRing, HeapRing) {
    let ring = HeapRing::new(u32::try_from((PAGES - 1) * PAGE).expect("252 KiB"));
    (ring.clone(), ring)
}

fn ends<M: RingMem>((producer, consumer): (M, M)) -> (OutRing<M>, InRing<M>) {
    let out = OutRing::open(producer).expect("a fresh ring").with_max_packet(17 << 10);
    (out, InRing::open(consumer).expect("a fresh ring"))
}

fn fill<M: RingMem>(out: &mut OutRing<M>, payload: &[u8]) {
    for _ in 0..BATCH {
        let _ = black_box(out.write(&OutPacket::in_band(&[payload])).expect("the ring has room"));
    }
}

fn empty<M: RingMem>(incoming: &mut InRing<M>, buffer: &mut [u8]) {
    let mut drain = incoming.drain(DrainLimits::NONE);
    let mut packets = 0;
    while let Some(packet) = drain.next_packet(buffer).expect("a sound ring") {
        black_box(packet.payload);
        packets += 1;
    }
    let _ = drain.finish();
    assert_eq!(packets, BATCH);
}

/// Times the writes of a batch; the reads in between are not timed.
fn write<M: RingMem>(bencher: Bencher<'_, '_>, len: usize, ring: (M, M)) {
    let (mut out, mut incoming) = ends(ring);
    let (payload, mut buffer) = (vec![7; len], vec![0; 16 << 10]);
    fill(&mut out, &payload);
    let out = &mut out;
    bencher
        .counter(BytesCount::new(len * BATCH as usize))
        .with_inputs(|| empty(&mut incoming, &mut buffer))
        .bench_local_values(|()| fill(out, &payload));
}

/// Times the reads of a batch; the writes in between are not timed.
fn read<M: RingMem>(bencher: Bencher<'_, '_>, len: usize, ring: (M, M)) {
    let (mut out, mut incoming) = ends(ring);
    let (payload, mut buffer) = (vec![7; len], vec![0; 16 << 10]);
    let incoming = &mut incoming;
    bencher
        .counter(BytesCount::new(len * BATCH as usize))
        .with_inputs(|| fill(&mut out, &payload))
        .bench_local_values(|()| empty(incoming, &mut buffer));
}

#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn write_guest_memory(bencher: Bencher<'_, '_>, len: usize) {
    write(bencher, len, in_guest_memory());
}

#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn write_heap(bencher: Bencher<'_, '_>, len: usize) {
    write(bencher, len, in_heap());
}

#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn read_guest_memory(bencher: Bencher<'_, '_>, len: usize) {
    read(bencher, len, in_guest_memory());
}

#[divan::bench(args = SIZES, sample_size = 1, sample_count = 2000)]
fn read_heap(bencher: Bencher<'_, '_>, len: usize) {
    read(bencher, len, in_heap());
}
