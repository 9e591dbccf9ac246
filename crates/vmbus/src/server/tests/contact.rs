//! Versions, connections, unload, reset.

use alloc::vec;
use alloc::vec::Vec;

use zerocopy::little_endian::{U32, U64};

use super::pair::{Pair, device};
use crate::client::ClientAction;
use crate::message::{
    self, DecodeFault, GpadlTeardown, InitiateContact, MessageType, RequestOffers, TlConnectRequest, Unload,
    UnloadResponse, VersionResponse,
};
use crate::server::{ControlFault, Server, ServerAction, ServerConfig};
use crate::{ConnectionId, Guid, Target, Version};

fn contact(version: u32, target_vp: u32, sint: u8) -> InitiateContact {
    InitiateContact {
        version: U32::new(version),
        target_vp: U32::new(target_vp),
        interrupt_page_or_target: [sint, 0, 0, 0, 0, 0, 0, 0],
        monitor_page_1: U64::ZERO,
        monitor_page_2: U64::ZERO,
    }
}

fn supported(pair: &mut Pair) -> Vec<(u8, u32)> {
    let answers = pair.posted::<VersionResponse>();
    answers.iter().map(|answer| (answer.supported, answer.msg_connection_id.get())).collect()
}

#[test]
fn newest_common_version_is_taken() {
    for max_version in Version::ALL {
        let mut pair = Pair::new(ServerConfig { max_version, ..ServerConfig::default() });
        pair.client.connect();
        pair.drive();
        assert_eq!(pair.guest, [ClientAction::Contacted(max_version)]);
        assert_eq!(pair.host.last(), Some(&ServerAction::Contacted { version: max_version }));
        assert_eq!(pair.server.version(), Some(max_version));
        assert_eq!(pair.server.target(), Some(Target { vp: 0, sint: 2 }));
        assert_eq!(pair.faults, []);
    }
}

#[test]
fn version_outside_the_supported_set_is_refused() {
    let mut pair =
        Pair::new(ServerConfig { versions: vec![Version::V4_0, Version::V3_0], ..ServerConfig::default() });
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Contacted(Version::V4_0)]);

    let mut pair = Pair::new(ServerConfig { versions: vec![], ..ServerConfig::default() });
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Refused]);
    assert_eq!(pair.server.version(), None);
}

#[test]
fn unknown_newer_version_is_refused_on_the_sint_it_names() {
    let mut pair = Pair::new(ServerConfig::default());
    assert_eq!(pair.post(&contact(0x0006_0000, 0, 5)), Ok(()));
    assert_eq!(pair.server.poll_action(), Some(ServerAction::DropMessages));
    let Some(ServerAction::Post { sint, message, .. }) = pair.server.poll_action() else {
        panic!("no answer");
    };
    assert_eq!((sint, message.len(), message[8]), (5, 16, 0));
}

#[test]
fn answer_names_connection_four_from_version_five_on() {
    let mut pair = Pair::new(ServerConfig::default());
    assert_eq!(pair.post(&contact(Version::V5_0.wire(), 0, 2)), Ok(()));
    assert_eq!(supported(&mut pair), [(1, 4)]);
    let legacy = message::encode(&contact(Version::V4_1.wire(), 0, 9));
    assert_eq!(pair.server.receive(ConnectionId::MESSAGE_LEGACY, &legacy), Ok(()));
    assert_eq!(supported(&mut pair), [(1, 1)]);
    assert_eq!(pair.server.target(), Some(Target { vp: 0, sint: 2 }), "byte 16 is the interrupt page there");
}

#[test]
fn contact_on_the_wrong_connection_is_refused_but_answered() {
    let mut pair = Pair::new(ServerConfig::default());
    let message = message::encode(&contact(Version::V5_3.wire(), 0, 2));
    let fault = ControlFault::WrongConnection {
        kind: MessageType::InitiateContact,
        connection: ConnectionId::MESSAGE_LEGACY,
        expected: ConnectionId::MESSAGE,
    };
    assert_eq!(pair.server.receive(ConnectionId::MESSAGE_LEGACY, &message), Err(fault));
    assert_eq!(supported(&mut pair), [(0, 0)]);
}

#[test]
fn contact_with_a_sint_that_carries_no_messages_is_refused_on_sint_two() {
    for sint in [0, 16, 255] {
        let mut pair = Pair::new(ServerConfig::default());
        assert_eq!(
            pair.post(&contact(Version::V5_3.wire(), 0, sint)),
            Err(ControlFault::TargetSint { sint })
        );
        assert_eq!(pair.server.poll_action(), Some(ServerAction::DropMessages));
        assert!(matches!(pair.server.poll_action(), Some(ServerAction::Post { sint: 2, .. })));
    }
}

#[test]
fn contact_for_a_vp_that_does_not_exist_changes_nothing() {
    let (mut pair, _) = Pair::with_offer();
    let fault = ControlFault::TargetVp { kind: MessageType::InitiateContact, vp: 2, vp_count: 2 };
    assert_eq!(pair.post(&contact(Version::V5_3.wire(), 2, 2)), Err(fault));
    assert_eq!(pair.server.poll_action(), None);
    assert_eq!(pair.server.version(), Some(Version::V5_3));
}

#[test]
fn messages_before_contact_or_on_another_connection_are_faults() {
    let mut pair = Pair::new(ServerConfig::default());
    let kind = MessageType::RequestOffers;
    assert_eq!(pair.post(&RequestOffers {}), Err(ControlFault::NotConnected { kind }));
    assert_eq!(pair.post(&Unload {}), Err(ControlFault::NotConnected { kind: MessageType::Unload }));
    pair.client.connect();
    pair.drive();
    let stray = ConnectionId(1);
    let fault = ControlFault::WrongConnection { kind, connection: stray, expected: ConnectionId::MESSAGE };
    assert_eq!(pair.server.receive(stray, &message::encode(&RequestOffers {})), Err(fault));
}

#[test]
fn unknown_unserved_and_host_only_messages_are_named_and_ignored() {
    let (mut pair, _) = Pair::with_offer();
    let socket = TlConnectRequest { endpoint: Guid::from_wire([1; 16]), service: Guid::from_wire([2; 16]) };
    let kind = MessageType::TlConnectRequest;
    assert_eq!(pair.post(&socket), Err(ControlFault::Unsupported { kind }));
    let kind = MessageType::UnloadResponse;
    assert_eq!(pair.post(&UnloadResponse {}), Err(ControlFault::Direction { kind }));
    let unknown = [19, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(pair.post_raw(&unknown), Err(DecodeFault::UnknownType { kind: 19 }.into()));
    assert_eq!(pair.post_raw(&[]), Err(DecodeFault::NoHeader { len: 0 }.into()));
    assert_eq!(pair.server.poll_action(), None);
}

#[test]
fn message_newer_than_the_version_is_a_fault() {
    let (mut pair, _) = Pair::with_offer_at(Version::V2_4);
    let fault = ControlFault::NotInVersion { kind: MessageType::Unload, version: Version::V2_4 };
    assert_eq!(pair.post(&Unload {}), Err(fault));
    assert_eq!(pair.server.version(), Some(Version::V2_4));
}

#[test]
fn second_contact_closes_everything_before_it_is_answered() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.auto_complete = false;
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.host, [ServerAction::DropMessages, ServerAction::Close(channel)]);
    assert_eq!(pair.guest, []);
    pair.server.close_complete(channel);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Contacted(Version::V5_3)]);
    assert_eq!(pair.server.gpadls.len(), 0);

    pair.auto_complete = true;
    pair.client.request_offers().expect("connected");
    pair.drive();
    assert!(matches!(pair.guest[1], ClientAction::Offered(offer) if offer.channel == channel));
    let gpadl = pair.client.create_gpadl(channel, &[1, 2, 3, 4]).expect("on offer");
    pair.drive();
    assert_eq!(pair.guest.last(), Some(&ClientAction::GpadlCreated { gpadl, ok: true }));
}

#[test]
fn contact_while_a_channel_is_opening_waits_for_open_and_close() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(4);
    pair.auto_complete = false;
    pair.client.open(channel, gpadl, 2, 0).expect("closed");
    pair.drive();
    pair.client.connect();
    pair.drive();
    assert_eq!(pair.guest, []);
    pair.server.open_complete(channel, true);
    pair.drive();
    assert_eq!(pair.host.last(), Some(&ServerAction::Close(channel)));
    assert_eq!(pair.guest, [], "not told of an open that it no longer knows");
    pair.server.close_complete(channel);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Contacted(Version::V5_3)]);
}

#[test]
fn contact_drops_messages_that_were_not_taken() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(4);
    pair.client.teardown(gpadl).expect("created");
    let Some(ClientAction::Post { connection, message }) = pair.client.poll_action() else {
        panic!("no teardown");
    };
    assert_eq!(pair.server.receive(connection, &message), Ok(()));
    assert!(pair.server.rescind(channel));
    pair.client.connect();
    pair.drive();
    // Neither GPADL_TORNDOWN nor RESCIND reached the new guest; its client would have panicked the pair.
    assert_eq!(pair.guest, [ClientAction::Contacted(Version::V5_3)]);
    assert!(pair.host.contains(&ServerAction::Released(channel)));
}

#[test]
fn unload_is_answered_after_the_last_close_and_contact_works_again() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.auto_complete = false;
    pair.client.unload().expect("connected");
    pair.drive();
    assert_eq!(pair.host, [ServerAction::DropMessages, ServerAction::Close(channel)]);
    assert_eq!(pair.guest, []);
    pair.server.close_complete(channel);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Unloaded]);
    assert_eq!(pair.host.last(), Some(&ServerAction::Unloaded));
    assert_eq!(pair.server.version(), None);
    assert_eq!(pair.server.gpadls.len(), 0);
    pair.connect();
    assert_eq!(pair.client.offers().count(), 1);
}

#[test]
fn unload_replaces_a_contact_that_still_waits() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.auto_complete = false;
    assert_eq!(pair.post(&contact(Version::V5_3.wire(), 0, 2)), Ok(()));
    assert_eq!(pair.post(&Unload {}), Ok(()));
    assert_eq!(pair.post(&Unload {}), Ok(()));
    pair.server.close_complete(channel);
    assert_eq!(pair.posted::<UnloadResponse>().len(), 1);
    assert_eq!(pair.server.version(), None);
}

#[test]
fn reset_closes_without_a_word_and_keeps_offers() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.server.reset();
    assert_eq!(pair.server.poll_action(), Some(ServerAction::DropMessages));
    assert_eq!(pair.server.poll_action(), Some(ServerAction::Close(channel)));
    assert_eq!(pair.server.poll_action(), None);
    assert!(pair.server.is_open(channel));
    assert_eq!(pair.post(&Unload {}), Err(ControlFault::NotConnected { kind: MessageType::Unload }));
    pair.server.close_complete(channel);
    assert!(!pair.server.is_open(channel));
    pair.connect();
    assert_eq!(pair.client.offers().map(|offer| offer.channel).collect::<Vec<_>>(), [channel]);
}

#[test]
fn contact_flood_does_not_grow_the_queue() {
    let mut server = Server::new(ServerConfig::default());
    assert!(server.offer(device(1)).is_ok());
    let message = message::encode(&contact(Version::V5_3.wire(), 0, 2));
    for _ in 0..1000 {
        assert_eq!(server.receive(ConnectionId::MESSAGE, &message), Ok(()));
    }
    assert_eq!(server.actions.len(), 3);
}

#[test]
fn flood_of_requests_hits_the_backlog_limit_and_drains() {
    let (mut pair, _) = Pair::with_offer();
    let teardown = GpadlTeardown { relid: U32::new(1), gpadl: U32::new(7) };
    let faults = (0..300)
        .map(|_| pair.post(&teardown))
        .filter(|outcome| *outcome == Err(ControlFault::Backlog { waiting: 256, limit: 256 }));
    assert_eq!(faults.count(), 44);
    assert!(!pair.server.can_receive());
    assert!(pair.server.poll_action().is_some());
    assert!(pair.server.can_receive());
}
