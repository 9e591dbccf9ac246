//! A ring between two threads that sleep whenever the protocol lets them.

extern crate std;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::super::{DrainLimits, HeapRing, InRing, OutPacket, OutRing, WriteError};

const PACKETS: u64 = 100_000;
/// Far beyond any scheduling delay: only a lost signal takes this long.
const LOST: Duration = Duration::from_secs(20);

/// An edge: many rings before a look are one.
fn doorbell() -> (SyncSender<()>, Receiver<()>) {
    sync_channel(1)
}

fn produce(ring: HeapRing, ring_consumer: &SyncSender<()>, space: &Receiver<()>) {
    let mut out = OutRing::open(ring).expect("fresh");
    for number in 0..PACKETS {
        let payload = [number.to_le_bytes(); 4];
        let parts: [&[u8]; 1] = [&payload.as_flattened()[..8 + usize::try_from(number % 24).expect("small")]];
        loop {
            match out.write(&OutPacket::in_band(&parts)) {
                Ok(sent) => {
                    if sent.signal {
                        // A full channel is a bell that rings already.
                        let _ = ring_consumer.try_send(());
                    }
                    break;
                }
                Err(WriteError::Full { .. }) => {
                    space.recv_timeout(LOST).expect("a signal for space was lost")
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn no_signal_is_lost_between_two_threads_that_sleep() {
    let ring = HeapRing::new(4096);
    let mut incoming = InRing::open(ring.clone()).expect("fresh");
    let (ring_consumer, data) = doorbell();
    let (ring_producer, space) = doorbell();
    let producer = thread::spawn(move || produce(ring, &ring_consumer, &space));
    let mut buf = [0; 64];
    let mut expected = 0_u64;
    let mut more = false;
    while expected < PACKETS {
        if !more {
            data.recv_timeout(LOST).expect("a signal for data was lost");
        }
        let mut drain = incoming.drain(DrainLimits { packets: 7, bytes: u32::MAX });
        while let Some(packet) = drain.next_packet(&mut buf).expect("sound") {
            assert_eq!(packet.payload.first_chunk(), Some(&expected.to_le_bytes()));
            expected += 1;
        }
        let done = drain.finish();
        more = done.more;
        if done.signal_producer {
            let _ = ring_producer.try_send(());
        }
    }
    producer.join().expect("the producer did not panic");
}
