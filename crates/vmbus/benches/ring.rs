//! One small packet through a ring in plain memory: the floor under every device's packet rate.

use vmbus::ring::{DrainLimits, HeapRing, InRing, OutPacket, OutRing};

fn main() {
    divan::main();
}

/// As many of the largest packets as the ring holds.
const BATCH: u32 = 240;
const SIZES: [usize; 3] = [16, 34, 1024];

/// Writes `BATCH` packets and reads them in one drain.
#[divan::bench(args = SIZES)]
fn write_and_read(bencher: divan::Bencher<'_, '_>, len: usize) {
    let (mut out, mut incoming) = ring();
    let payload = vec![7; len];
    let mut buf = vec![0; 4096];
    bencher.counter(BATCH).bench_local(|| {
        for _ in 0..BATCH {
            let _ = out.write(&OutPacket::in_band(&[&payload])).expect("the ring is large enough");
        }
        let mut drain = incoming.drain(DrainLimits::NONE);
        while let Some(packet) = drain.next_packet(&mut buf).expect("sound") {
            divan::black_box(packet.payload);
        }
        drain.finish()
    });
}

/// Only the writes; the reads are not timed.
#[divan::bench(args = SIZES)]
fn write(bencher: divan::Bencher<'_, '_>, len: usize) {
    let (mut out, mut incoming) = ring();
    let payload = vec![7; len];
    let mut buf = vec![0; 4096];
    let out = &mut out;
    bencher
        .counter(BATCH)
        .with_inputs(move || {
            let mut drain = incoming.drain(DrainLimits::NONE);
            while drain.next_packet(&mut buf).expect("sound").is_some() {}
            drain.finish()
        })
        .bench_local_values(|_| {
            for _ in 0..BATCH {
                let _ = out.write(&OutPacket::in_band(&[&payload])).expect("the ring is large enough");
            }
        });
}

/// As large as the video ring of Linux.
fn ring() -> (OutRing<HeapRing>, InRing<HeapRing>) {
    let ring = HeapRing::new(258_048);
    (OutRing::open(ring.clone()).expect("fresh"), InRing::open(ring).expect("fresh"))
}
