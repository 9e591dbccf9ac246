//! A guest that declares faster than the host looks: its ring is seen full on the real bus, once for each look.

use anyhow::Result;
use synthvid::Rect;
use tests::in_process::InProcess;

const SCREEN: Rect = Rect::new(0, 0, 8, 8);

/// Times at which the ring was seen full since the last call.
fn seen_full(guest: &InProcess) -> Option<u64> {
    let now_ns = guest.clock.now_ns();
    guest.traffic.with(|traffic| {
        let seen = traffic.result().ring_full;
        traffic.begin(now_ns);
        seen
    })
}

/// Declares until the ring takes no more; how often it did.
fn fill(guest: &mut InProcess) -> u64 {
    let mut sent = 0;
    while guest.send_dirt(&[SCREEN]).is_ok() {
        sent += 1;
    }
    sent
}

#[test]
fn ring_that_the_host_does_not_drain_is_seen_full_once_for_each_look() -> Result<()> {
    let mut guest = InProcess::new()?;
    guest.boot()?;
    assert_eq!(seen_full(&guest), Some(0), "a handshake fills no ring");
    for _ in 0..3 {
        // 63 pages of data, 64 bytes for each DIRT, and never quite full.
        assert_eq!(fill(&mut guest), 63 * 4096 / 64 - 1);
        // The host takes it out in several turns; after the first there is room again.
        for _ in 0..100 {
            guest.host_turn();
        }
        assert_eq!(seen_full(&guest), Some(1));
    }
    guest.send_dirt(&[SCREEN])?;
    guest.host_turn();
    assert_eq!(seen_full(&guest), Some(0), "one message fills no ring");
    assert_eq!(guest.traffic.with(|traffic| traffic.result().dirt_messages), 0, "a window of its own");
    Ok(())
}
