//! The client against a host that makes mistakes, and against its own owner.

use zerocopy::little_endian::{U16, U32, U64};

use super::{Client, ClientAction, ClientConfig, ClientError, HostFault};
use crate::message::{
    self, ChannelMessage, DecodeFault, GpadlCreated, GpadlTorndown, MessageType, OfferChannel,
    OpenChannelResult, RequestOffers, RescindChannelOffer, UnloadResponse, VersionResponse,
};
use crate::{ChannelId, ConnectionId, GpadlId, Guid, Version};

const CHANNEL: ChannelId = ChannelId(3);

fn receive<M: ChannelMessage>(client: &mut Client, body: &M) -> Result<(), HostFault> {
    client.receive(&message::encode(body))
}

fn offer(relid: u32, instance: u8) -> OfferChannel {
    OfferChannel {
        interface_type: Guid::from_wire([1; 16]),
        instance: Guid::from_wire([instance; 16]),
        reserved: [U64::ZERO; 2],
        flags: U16::new(1),
        mmio_megabytes: U16::ZERO,
        user_defined: [0; 120],
        subchannel_index: U16::ZERO,
        reserved2: U16::ZERO,
        relid: U32::new(relid),
        monitor_id: 0,
        monitor_allocated: 0,
        dedicated_interrupt: U16::new(1),
        connection_id: U32::new(77),
    }
}

fn connected() -> Client {
    let mut client = Client::new(ClientConfig::default());
    client.connect();
    let response = VersionResponse {
        supported: 1,
        connection_state: 0,
        padding: U16::ZERO,
        msg_connection_id: U32::new(9),
    };
    assert_eq!(receive(&mut client, &response), Ok(()));
    assert_eq!(client.version(), Some(Version::V5_3));
    assert_eq!(receive(&mut client, &offer(CHANNEL.0, 1)), Ok(()));
    while client.poll_action().is_some() {}
    client
}

#[test]
fn later_messages_go_to_the_connection_that_the_host_named() {
    let mut client = connected();
    client.request_offers().expect("connected");
    let message = message::encode(&RequestOffers {});
    let connection = ConnectionId(9);
    assert_eq!(client.poll_action(), Some(ClientAction::Post { connection, message }));
}

#[test]
fn answers_nobody_waits_for_are_faults() {
    let mut client = Client::new(ClientConfig::default());
    let kind = MessageType::UnloadResponse;
    assert_eq!(receive(&mut client, &UnloadResponse {}), Err(HostFault::Unexpected { kind }));
    let mut client = connected();
    assert_eq!(receive(&mut client, &UnloadResponse {}), Err(HostFault::Unexpected { kind }));
    let result = OpenChannelResult { relid: U32::new(CHANNEL.0), open_id: U32::ZERO, status: U32::ZERO };
    let kind = MessageType::OpenChannelResult;
    assert_eq!(receive(&mut client, &result), Err(HostFault::Unexpected { kind }));
    let gpadl = GpadlId(5);
    let created = GpadlCreated { relid: U32::new(CHANNEL.0), gpadl: U32::new(gpadl.0), status: U32::ZERO };
    let kind = MessageType::GpadlCreated;
    assert_eq!(receive(&mut client, &created), Err(HostFault::UnknownGpadl { kind, gpadl }));
    let kind = MessageType::GpadlTorndown;
    let torndown = GpadlTorndown { gpadl: U32::new(gpadl.0) };
    assert_eq!(receive(&mut client, &torndown), Err(HostFault::UnknownGpadl { kind, gpadl }));
}

#[test]
fn offers_and_rescinds_that_linux_would_warn_about_are_faults() {
    let mut client = connected();
    for relid in [0, 2048, CHANNEL.0] {
        let channel = ChannelId(relid);
        assert_eq!(receive(&mut client, &offer(relid, 2)), Err(HostFault::Relid { channel }));
    }
    let duplicate = HostFault::DuplicateDevice { existing: CHANNEL };
    assert_eq!(receive(&mut client, &offer(4, 1)), Err(duplicate));
    let kind = MessageType::RescindChannelOffer;
    let unknown = HostFault::UnknownChannel { kind, channel: ChannelId(4) };
    assert_eq!(receive(&mut client, &RescindChannelOffer { relid: U32::new(4) }), Err(unknown));
}

#[test]
fn message_shorter_than_linux_takes_it_is_a_fault() {
    let mut client = connected();
    let message = message::encode(&offer(4, 2));
    let fault = DecodeFault::Short { kind: MessageType::OfferChannel, len: 195 };
    assert_eq!(client.receive(&message[..195]), Err(fault.into()));
}

#[test]
fn requests_in_the_wrong_state_are_errors() {
    let mut client = Client::new(ClientConfig::default());
    assert_eq!(client.request_offers(), Err(ClientError::NotConnected));
    assert_eq!(client.unload(), Err(ClientError::NotConnected));

    let mut client = connected();
    let gpadl = GpadlId(1);
    assert_eq!(client.open(CHANNEL, gpadl, 2, 0), Err(ClientError::UnknownGpadl { gpadl }));
    assert_eq!(client.teardown(gpadl), Err(ClientError::UnknownGpadl { gpadl }));
    assert_eq!(client.close(CHANNEL), Err(ClientError::ChannelState { channel: CHANNEL }));
    assert_eq!(client.release(CHANNEL), Err(ClientError::ChannelState { channel: CHANNEL }));
    let channel = ChannelId(8);
    assert_eq!(client.modify(channel, 0), Err(ClientError::UnknownChannel { channel }));
    assert_eq!(client.create_gpadl(CHANNEL, &[]), Err(ClientError::PageCount { pages: 0 }));
    let gpns = [0; 8191];
    assert_eq!(client.create_gpadl(CHANNEL, &gpns), Err(ClientError::PageCount { pages: 8191 }));
    assert!(client.create_gpadl(CHANNEL, &gpns[..8190]).is_ok());
}

#[test]
fn rescind_wakes_whoever_waits_for_a_gpadl() {
    let mut client = connected();
    let gpadl = client.create_gpadl(CHANNEL, &[1]).expect("on offer");
    client.poll_action();
    assert_eq!(receive(&mut client, &RescindChannelOffer { relid: U32::new(CHANNEL.0) }), Ok(()));
    assert_eq!(client.poll_action(), Some(ClientAction::Rescinded(CHANNEL)));
    assert_eq!(client.poll_action(), Some(ClientAction::GpadlCreated { gpadl, ok: false }));
    let late = GpadlCreated { relid: U32::new(CHANNEL.0), gpadl: U32::new(gpadl.0), status: U32::ZERO };
    assert_eq!(receive(&mut client, &late), Ok(()), "the answer crossed the rescind");
    assert_eq!(client.release(CHANNEL), Ok(()));
}
