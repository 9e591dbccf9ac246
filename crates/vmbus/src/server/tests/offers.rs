//! Offers, rescinds, releases.

use alloc::vec::Vec;

use zerocopy::little_endian::U32;

use super::pair::{Pair, device};
use crate::client::ClientAction;
use crate::message::{
    AllOffersDelivered, CloseChannel, MessageType, OfferChannel, RelidReleased, RequestOffers,
};
use crate::server::{ControlFault, OfferError, OfferParams, PipeMode, ServerAction, ServerConfig};
use crate::{ChannelId, ConnectionId};

fn offered(pair: &Pair) -> Vec<ChannelId> {
    let channel = |action: &ClientAction| match action {
        ClientAction::Offered(offer) => Some(offer.channel),
        _ => None,
    };
    pair.guest.iter().filter_map(channel).collect()
}

#[test]
fn offers_arrive_in_order_and_end_with_all_offers_delivered() {
    let mut pair = Pair::new(ServerConfig::default());
    let channels: Vec<_> = (1..=3).map(|number| pair.server.offer(device(number)).expect("room")).collect();
    pair.client.connect();
    pair.drive();
    pair.guest.clear();
    pair.client.request_offers().expect("connected");
    pair.drive();
    assert_eq!(offered(&pair), channels);
    assert_eq!(pair.guest.last(), Some(&ClientAction::OffersDelivered));
    for (offer, number) in pair.client.offers().zip(1_u8..) {
        assert_eq!((offer.instance, offer.pipe), (device(number).instance, PipeMode::Message));
        assert_eq!(offer.mmio_megabytes, 8);
        assert!(offer.dedicated_interrupt && !offer.monitor_allocated);
        assert!(offer.connection.0 < 1 << 24 && offer.connection != ConnectionId::MESSAGE);
    }
    let connections: Vec<_> = pair.client.offers().map(|offer| offer.connection).collect();
    assert!(connections.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn offer_message_has_every_field_in_its_place() {
    let mut pair = Pair::new(ServerConfig::default());
    let raw = OfferParams { pipe: PipeMode::Raw, mmio_megabytes: 0, ..device(1) };
    let pipe = OfferParams { mmio_megabytes: 0x1234, ..device(2) };
    assert!(pair.server.offer(raw).is_ok() && pair.server.offer(pipe).is_ok());
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.post(&RequestOffers {}), Ok(()));
    let offers = pair.posted::<OfferChannel>();
    assert_eq!((offers[0].flags.get(), offers[0].user_defined[0]), (0x1, 0));
    assert_eq!((offers[1].flags.get(), offers[1].user_defined[0]), (0x11, 4));

    let message = crate::message::encode(&offers[1]);
    assert_eq!(message.len(), 196);
    assert_eq!(message[8..24], [0xaa; 16]);
    assert_eq!(message[24..40], [2; 16]);
    assert_eq!(message[58..60], [0x34, 0x12]);
    assert_eq!(message[60..64], [4, 0, 0, 0]);
    assert_eq!(message[184..188], [2, 0, 0, 0]);
    assert_eq!(message[189], 0);
    assert_eq!(message[190..192], [1, 0]);
    assert_eq!(message[192..196], [0x02, 0x20, 0, 0]);
}

#[test]
fn guest_without_devices_still_hears_that_all_offers_were_delivered() {
    let mut pair = Pair::new(ServerConfig::default());
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.post(&RequestOffers {}), Ok(()));
    assert_eq!(pair.posted::<AllOffersDelivered>().len(), 1);
    assert_eq!(pair.post(&RequestOffers {}), Err(ControlFault::OffersRequestedTwice));
}

#[test]
fn device_offered_later_is_announced_at_once() {
    let (mut pair, _) = Pair::with_offer();
    let second = pair.server.offer(device(2)).expect("room");
    pair.drive();
    assert_eq!(offered(&pair), [second]);
}

#[test]
fn same_device_twice_and_one_channel_too_many_are_our_errors() {
    let mut pair = Pair::new(ServerConfig { max_channels: 2, ..ServerConfig::default() });
    let existing = pair.server.offer(device(1)).expect("room");
    assert_eq!(pair.server.offer(device(1)), Err(OfferError::Duplicate { existing }));
    assert!(pair.server.offer(device(2)).is_ok());
    assert_eq!(pair.server.offer(device(3)), Err(OfferError::Full { limit: 2 }));
}

#[test]
fn relids_stay_in_range_and_are_not_reused_at_once() {
    let mut pair = Pair::new(ServerConfig { max_channels: 2047, ..ServerConfig::default() });
    let mut last = ChannelId(0);
    for _ in 0..5000 {
        let channel = pair.server.offer(device(1)).expect("room");
        assert!((ChannelId::MIN..=ChannelId::MAX).contains(&channel) && channel != last);
        assert!(pair.server.rescind(channel));
        last = channel;
        pair.drive();
    }
    for number in 0..2047_u32 {
        let mut params = device(0);
        params.interface_type = crate::Guid::from_u128(u128::from(number));
        assert!(pair.server.offer(params).is_ok());
    }
    assert_eq!(pair.server.offer(device(1)), Err(OfferError::Full { limit: 2047 }));
}

#[test]
fn rescind_of_a_closed_channel_is_over_when_the_guest_releases_it() {
    let (mut pair, channel) = Pair::with_offer();
    assert!(pair.server.rescind(channel));
    assert!(!pair.server.rescind(channel), "once is enough");
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Rescinded(channel)]);
    assert_eq!(pair.host, []);
    pair.client.release(channel).expect("rescinded and closed");
    pair.drive();
    assert_eq!(pair.host, [ServerAction::Released(channel)]);
    assert_eq!(pair.faults, []);
}

#[test]
fn rescind_of_an_open_channel_closes_it_and_frees_the_ring_at_release() {
    let (mut pair, channel, gpadl) = Pair::with_open_channel();
    assert!(pair.server.rescind(channel));
    pair.drive();
    assert_eq!(pair.host, [ServerAction::Close(channel)]);
    // Linux: CLOSECHANNEL, no GPADL_TEARDOWN, RELID_RELEASED.
    pair.client.close(channel).expect("open");
    pair.client.teardown(gpadl).expect("created");
    pair.drive();
    assert_eq!(pair.server.gpadls.len(), 1);
    pair.client.release(channel).expect("closed");
    pair.drive();
    assert_eq!(pair.server.gpadls.len(), 0);
    assert_eq!(pair.host, [ServerAction::Close(channel), ServerAction::Released(channel)]);
    assert_eq!(pair.faults, []);
}

#[test]
fn release_before_the_host_let_go_waits_for_it() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.auto_complete = false;
    assert!(pair.server.rescind(channel));
    assert_eq!(pair.post(&RelidReleased { relid: U32::new(channel.0) }), Ok(()));
    pair.drive();
    assert_eq!(pair.host, [ServerAction::Close(channel)]);
    pair.server.close_complete(channel);
    pair.drive();
    assert_eq!(pair.host.last(), Some(&ServerAction::Released(channel)));
    let kind = MessageType::CloseChannel;
    let late = pair.post(&CloseChannel { relid: U32::new(channel.0) });
    assert_eq!(late, Err(ControlFault::UnknownChannel { kind, channel }));
}

#[test]
fn rescinded_device_offered_again_waits_for_the_release_and_gets_a_fresh_relid() {
    let (mut pair, old) = Pair::with_offer();
    assert!(pair.server.rescind(old));
    let new = pair.server.offer(device(1)).expect("room");
    assert_ne!(old, new);
    pair.drive();
    assert_eq!(offered(&pair), [], "Linux warns about an offer of a device it still knows");
    pair.client.release(old).expect("rescinded");
    pair.drive();
    assert_eq!(offered(&pair), [new]);
}

#[test]
fn release_of_a_channel_that_was_not_rescinded_is_a_fault() {
    let (mut pair, channel) = Pair::with_offer();
    let release = RelidReleased { relid: U32::new(channel.0) };
    let kind = MessageType::RelidReleased;
    assert_eq!(pair.post(&release), Err(ControlFault::ChannelState { kind, channel, state: "closed" }));
    let unknown = ChannelId(99);
    let release = RelidReleased { relid: U32::new(unknown.0) };
    assert_eq!(pair.post(&release), Err(ControlFault::UnknownChannel { kind, channel: unknown }));
}

#[test]
fn offer_that_the_guest_never_saw_is_released_at_once() {
    let mut pair = Pair::new(ServerConfig::default());
    let channel = pair.server.offer(device(1)).expect("room");
    assert!(pair.server.rescind(channel));
    assert_eq!(pair.server.poll_action(), Some(ServerAction::Released(channel)));
    assert!(!pair.server.rescind(channel));
    assert_eq!(pair.server.poll_action(), None);
}

#[test]
fn rescind_in_every_state_of_a_channel_ends_with_one_release() {
    /// Brings a channel into a state; the host completes nothing by itself.
    type Prepare = fn(&mut Pair, ChannelId);
    let states: [(&str, Prepare); 5] = [
        ("closed", |_, _| {}),
        ("lending", |pair, channel| {
            pair.client.create_gpadl(channel, &[1; 16]).expect("on offer");
        }),
        ("opening", |pair, channel| {
            let gpadl = pair.lend(channel, 16);
            pair.client.open(channel, gpadl, 8, 0).expect("closed");
            pair.drive();
        }),
        ("open", |pair, channel| {
            let gpadl = pair.lend(channel, 16);
            pair.client.open(channel, gpadl, 8, 0).expect("closed");
            pair.drive();
            pair.server.open_complete(channel, true);
            pair.drive();
        }),
        ("closing", |pair, channel| {
            let gpadl = pair.lend(channel, 16);
            pair.client.open(channel, gpadl, 8, 0).expect("closed");
            pair.drive();
            pair.server.open_complete(channel, true);
            pair.drive();
            pair.client.close(channel).expect("open");
            pair.drive();
        }),
    ];
    for (name, prepare) in states {
        let (mut pair, channel) = Pair::with_offer();
        pair.auto_complete = false;
        prepare(&mut pair, channel);
        assert!(pair.server.rescind(channel), "{name}");
        pair.drive();
        assert!(pair.server.is_rescinded(channel), "{name}");
        let _ = pair.post(&RelidReleased { relid: U32::new(channel.0) });
        // Whichever of the two the host still owes.
        pair.server.open_complete(channel, true);
        pair.server.close_complete(channel);
        pair.drive();
        let released = pair.host.iter().filter(|action| **action == ServerAction::Released(channel)).count();
        assert_eq!(released, 1, "{name}: {:?}", pair.host);
        assert_eq!((pair.server.channel_count(), pair.server.gpadls.len()), (0, 0), "{name}");
    }
}

#[test]
fn guest_that_never_releases_costs_two_channels_however_often_the_device_comes_back() {
    let (mut pair, first, _) = Pair::with_open_channel();
    assert!(pair.server.rescind(first));
    for _ in 0..1000 {
        let channel = pair.server.offer(device(1)).expect("room");
        pair.drive();
        assert_eq!(pair.server.channel_count(), 2);
        assert!(pair.server.rescind(channel));
    }
    pair.drive();
    assert_eq!(offered(&pair), []);
    assert_eq!(pair.server.channel_count(), 1);
}
