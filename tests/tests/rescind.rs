//! The host takes its video device away from a guest and offers it again, whatever the guest is at and whether it plays along.

use anyhow::{Result, ensure};
use device_model::Synthvid;
use synic::Sint;
use tests::in_process::{InProcess, RING_GPA, RING_PAGES};
use vmbus::message::{
    self, ChannelMessage, CloseChannel, GpadlTeardown, MessageType, OfferChannel, RelidReleased,
    RequestOffers,
};
use vmbus::{ChannelId, ConnectionId};

const CONTROL: u32 = ConnectionId::MESSAGE.0;
const VP: u32 = 0;
/// A device on offer, and the relid of its earlier offer.
const MOST_RELIDS: usize = 2;

/// Posts a control message and lets the host serve it.
fn post<M: ChannelMessage>(sim: &mut InProcess, body: &M) -> Result<()> {
    sim.cpu.post(CONTROL, &message::encode(body))?;
    sim.host_turn();
    Ok(())
}

/// Types of the control messages that wait for the guest, in order, and the relid of the last offer among them.
fn heard(sim: &mut InProcess) -> Result<(Vec<MessageType>, Option<ChannelId>)> {
    let (mut kinds, mut offered) = (Vec::new(), None);
    sim.host_turn();
    while let Some(message) = sim.cpu.take_message(VP, Sint::VMBUS)? {
        let (kind, body) = message::split(&message.payload)?;
        if kind == MessageType::OfferChannel {
            offered = Some(ChannelId(message::read::<OfferChannel>(body)?.0.relid.get()));
        }
        kinds.push(kind);
        sim.host_turn();
    }
    Ok((kinds, offered))
}

/// Whether the host has the guest's VRAM.
fn is_mapped(sim: &InProcess) -> bool {
    sim.meter.with(|meter| meter.device().vram_mapped)
}

fn release(channel: ChannelId) -> RelidReleased {
    RelidReleased { relid: channel.0.into() }
}

#[test]
fn rescinded_device_closes_and_is_offered_under_a_new_relid_once_the_guest_let_go() -> Result<()> {
    let mut sim = InProcess::new()?;
    sim.boot()?;
    let (old, _) = sim.video_channel().expect("open");
    assert!(sim.bus.rescind_device::<Synthvid>());
    assert!(!sim.bus.rescind_device::<Synthvid>(), "once is enough");
    assert!(sim.bus.is_releasing::<Synthvid>());
    assert!(sim.video().situation().is_none(), "the device still serves a channel that is gone");
    let new = sim.bus.reoffer_device::<Synthvid>()?.expect("the device is on the bus");
    assert_ne!(old, new);
    assert_eq!(heard(&mut sim)?, (vec![MessageType::RescindChannelOffer], None));

    assert!(is_mapped(&sim), "the guest's driver may be in the middle of a copy");

    // As Linux does: it closes, keeps its rings to itself, and releases.
    post(&mut sim, &CloseChannel { relid: old.0.into() })?;
    assert_eq!(heard(&mut sim)?, (vec![], None), "an offer of a device that the guest still knows");
    post(&mut sim, &release(old))?;
    assert_eq!(heard(&mut sim)?, (vec![MessageType::OfferChannel], Some(new)));
    assert!(!sim.bus.is_releasing::<Synthvid>());
    assert!(!is_mapped(&sim), "VRAM outlives the channel");
    assert_eq!(sim.bus.relids(), 1);
    sim.boot()?;
    assert_eq!(sim.video_channel().map(|(channel, _)| channel), Some(new));
    assert_eq!(sim.meter.with(|meter| meter.counters().faults.total()), 0);
    Ok(())
}

#[test]
fn device_that_is_not_offered_again_stays_away_until_it_is() -> Result<()> {
    let mut sim = InProcess::new()?;
    sim.boot()?;
    let (old, _) = sim.video_channel().expect("open");
    assert!(sim.bus.rescind_device::<Synthvid>());
    post(&mut sim, &release(old))?;
    assert_eq!(sim.bus.relids(), 0);
    assert!(!sim.bus.rescind_device::<Synthvid>(), "there is no offer to withdraw");
    assert!(sim.boot().is_err(), "a guest found a device that is not on offer");
    sim.bus.reoffer_device::<Synthvid>()?;
    assert!(sim.bus.reoffer_device::<Synthvid>().is_err(), "it is on offer");
    sim.boot()
}

/// A guest in the middle of something, after `steps` of its way to an open channel and out again.
fn guest_after(steps: usize) -> Result<InProcess> {
    let mut sim = InProcess::new()?;
    if steps == 0 {
        return Ok(sim);
    }
    if steps >= 4 {
        sim.boot()?;
    } else {
        sim.cpu.enable()?;
        sim.cpu.post(CONTROL, &contact())?;
    }
    let (relid, gpadl) = (1_u32, 77_u32);
    for step in 1..=steps {
        match step {
            2 if steps < 4 => post(&mut sim, &RequestOffers {})?,
            // A page list of which the rest never comes.
            3 | 5 => {
                sim.cpu.post(CONTROL, &incomplete_gpadl())?;
            }
            6 => post(&mut sim, &GpadlTeardown { relid: relid.into(), gpadl: gpadl.into() })?,
            // Not served yet when the host rescinds.
            7 => {
                sim.cpu.post(CONTROL, &message::encode(&CloseChannel { relid: relid.into() }))?;
            }
            8 => sim.host_turn(),
            9 => post(&mut sim, &message::Unload {})?,
            _ => {}
        }
    }
    Ok(sim)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// INITIATE_CONTACT with version 5.3 and messages to SINT 2.
fn contact() -> Vec<u8> {
    words(&[14, 0, 0x0005_0003, 0, 2, 0, 0, 0, 0, 0])
}

/// GPADL_HEADER of channel 1 for both rings, with the first of their pages and no more.
fn incomplete_gpadl() -> Vec<u8> {
    let pages = u32::try_from(2 * RING_PAGES).unwrap_or_default();
    let first = u32::try_from(RING_GPA / 4096).unwrap_or_default();
    words(&[8, 0, 1, 77, (8 * (pages + 1)) | (1 << 16), pages * 4096, 0, first, 0])
}

#[test]
fn rescind_at_every_step_of_a_guest_leaves_a_host_that_serves_the_next_one() -> Result<()> {
    for steps in 0..=9 {
        for offered_at_once in [true, false] {
            let mut sim = guest_after(steps)?;
            assert!(sim.bus.rescind_device::<Synthvid>(), "after {steps} steps");
            if offered_at_once {
                sim.bus.reoffer_device::<Synthvid>()?;
            }
            // What it would still send: all of it late, some of it twice.
            for relid in [1_u32, 1, 2] {
                post(&mut sim, &CloseChannel { relid: relid.into() })?;
                post(&mut sim, &release(ChannelId(relid)))?;
            }
            if !offered_at_once {
                sim.bus.reoffer_device::<Synthvid>()?;
            }
            assert!(sim.bus.relids() <= MOST_RELIDS, "{} relids after {steps} steps", sim.bus.relids());
            sim.boot().map_err(|error| error.context(format!("after {steps} steps")))?;
            assert_eq!(sim.bus.relids(), 1);
        }
    }
    Ok(())
}

#[test]
fn guest_that_never_lets_go_costs_two_relids_and_no_more() -> Result<()> {
    let mut sim = InProcess::new()?;
    sim.boot()?;
    for round in 0..5_000 {
        ensure!(sim.bus.rescind_device::<Synthvid>(), "round {round}");
        sim.bus.reoffer_device::<Synthvid>()?;
        sim.host_turn();
        ensure!(sim.bus.relids() <= MOST_RELIDS, "{} relids in round {round}", sim.bus.relids());
    }
    // It has one message to take, of the first rescind; of the others it never knew.
    assert_eq!(heard(&mut sim)?.0, [MessageType::RescindChannelOffer]);
    sim.boot()?;
    assert_eq!(sim.bus.relids(), 1);
    Ok(())
}

#[test]
fn rescind_with_dirt_in_the_ring_takes_nothing_more_from_it() -> Result<()> {
    let mut sim = InProcess::new()?;
    sim.boot()?;
    let whole = synthvid::Rect::new(0, 0, 1024, 768);
    for _ in 0..100 {
        sim.send_dirt(&[whole])?;
    }
    assert!(sim.bus.rescind_device::<Synthvid>());
    let mark = sim.meter.with(|meter| meter.mark());
    for _ in 0..10 {
        sim.host_turn();
    }
    assert_eq!(sim.meter.with(|meter| meter.since(&mark).dirt_messages), 0);
    assert!(sim.send_dirt(&[whole]).is_ok(), "the guest may write to its own memory");
    sim.host_turn();
    assert_eq!(sim.meter.with(|meter| meter.since(&mark).packets), 0);
    Ok(())
}
