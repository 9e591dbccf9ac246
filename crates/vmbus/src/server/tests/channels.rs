//! Open, close, retarget.

use alloc::vec;
use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32};

use super::pair::{Pair, device};
use crate::client::ClientAction;
use crate::message::{
    CloseChannel, GpadlHeader, MessageType, ModifyChannel, ModifyChannelResponse, OpenChannel,
    OpenChannelResult, encode_with_tail,
};
use crate::server::{ControlFault, ServerAction};
use crate::{ChannelId, ConnectionId, GpadlId, Version};

fn open(channel: ChannelId, gpadl: GpadlId, downstream_page: u32) -> OpenChannel {
    OpenChannel {
        relid: U32::new(channel.0),
        open_id: U32::new(0xabc),
        ring_gpadl: U32::new(gpadl.0),
        target_vp: U32::ZERO,
        downstream_page_offset: U32::new(downstream_page),
        user_data: [0; 120],
    }
}

/// Posts an OPENCHANNEL that must be refused with a status.
fn refused(pair: &mut Pair, open: &OpenChannel) -> ControlFault {
    let fault = pair.post(open).expect_err("malformed");
    let answers = pair.posted::<OpenChannelResult>();
    assert_eq!(answers.len(), 1, "the guest waits without a timeout");
    assert_eq!((answers[0].relid, answers[0].open_id), (open.relid, open.open_id));
    assert_ne!(answers[0].status.get(), 0);
    fault
}

#[test]
fn open_is_answered_when_the_device_runs() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    pair.auto_complete = false;
    pair.client.open(channel, gpadl, 10, 1).expect("closed");
    pair.drive();
    assert_eq!(pair.guest, []);
    let request = pair.opens()[0].clone();
    assert_eq!((request.channel, request.gpadl), (channel, gpadl));
    assert_eq!(request.connection_id, ConnectionId::doorbell(channel));
    assert_eq!((u32::from(request.event_flag), request.target_vp, request.sint), (channel.0, 1, 2));
    assert_eq!(request.incoming_gpns(), (0x1000..0x100a).collect::<Vec<u64>>());
    assert_eq!(request.outgoing_gpns(), (0x100a..0x1010).collect::<Vec<u64>>());
    pair.server.open_complete(channel, true);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Opened { channel, ok: true }]);
}

#[test]
fn device_that_does_not_start_refuses_the_open_and_frees_the_ring() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    pair.auto_complete = false;
    pair.client.open(channel, gpadl, 8, 0).expect("closed");
    pair.drive();
    pair.server.open_complete(channel, false);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Opened { channel, ok: false }]);
    assert!(!pair.server.is_open(channel));
    pair.client.teardown(gpadl).expect("created");
    pair.drive();
    assert_eq!(pair.guest.last(), Some(&ClientAction::TornDown(gpadl)));
}

#[test]
fn rings_that_do_not_fit_the_gpadl_are_refused() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    for downstream_page in [0, 1, 15, 16, 17, u32::MAX] {
        let fault = refused(&mut pair, &open(channel, gpadl, downstream_page));
        assert_eq!(fault, ControlFault::RingShape { channel, downstream_page, pages: 16 });
    }
    assert_eq!(pair.post(&open(channel, gpadl, 14)), Ok(()));
}

#[test]
fn ring_over_part_of_a_page_is_refused() {
    let (mut pair, channel) = Pair::with_offer();
    let header = GpadlHeader {
        relid: U32::new(channel.0),
        gpadl: U32::new(5),
        range_buflen: U16::new(8 + 8 * 4),
        range_count: U16::new(1),
        byte_count: U32::new(4 * 4096 - 8),
        byte_offset: U32::ZERO,
    };
    assert_eq!(pair.post_raw(&encode_with_tail(&header, &[0; 32])), Ok(()));
    assert_eq!(pair.posted::<crate::message::GpadlCreated>().len(), 1);
    let fault = refused(&mut pair, &open(channel, GpadlId(5), 2));
    assert_eq!(fault, ControlFault::RingShape { channel, downstream_page: 2, pages: 4 });
}

#[test]
fn open_with_a_wrong_gpadl_is_refused() {
    let (mut pair, owner, gpadl) = Pair::with_gpadl(16);
    let channel = pair.server.offer(device(2)).expect("room");
    pair.drive();
    let kind = MessageType::OpenChannel;
    let fault = refused(&mut pair, &open(channel, gpadl, 8));
    assert_eq!(fault, ControlFault::ForeignGpadl { kind, gpadl, channel, owner });
    let unknown = GpadlId(1);
    let fault = refused(&mut pair, &open(owner, unknown, 8));
    assert_eq!(fault, ControlFault::UnknownGpadl { kind, gpadl: unknown });
}

#[test]
fn open_of_an_incomplete_gpadl_is_refused() {
    let (mut pair, channel) = Pair::with_offer();
    let header = GpadlHeader {
        relid: U32::new(channel.0),
        gpadl: U32::new(5),
        range_buflen: U16::new(8 + 8 * 4),
        range_count: U16::new(1),
        byte_count: U32::new(4 * 4096),
        byte_offset: U32::ZERO,
    };
    assert_eq!(pair.post_raw(&encode_with_tail(&header, &[0; 8])), Ok(()));
    let fault = refused(&mut pair, &open(channel, GpadlId(5), 2));
    let kind = MessageType::OpenChannel;
    assert_eq!(fault, ControlFault::GpadlState { kind, gpadl: GpadlId(5), state: "incomplete" });
}

#[test]
fn open_of_a_wrong_channel_or_vp_is_refused() {
    let (mut pair, channel, gpadl) = Pair::with_open_channel();
    let kind = MessageType::OpenChannel;
    let fault = refused(&mut pair, &open(channel, gpadl, 8));
    assert_eq!(fault, ControlFault::ChannelState { kind, channel, state: "open" });
    let unknown = ChannelId(0);
    let fault = refused(&mut pair, &open(unknown, gpadl, 8));
    assert_eq!(fault, ControlFault::UnknownChannel { kind, channel: unknown });

    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    let fault = refused(&mut pair, &OpenChannel { target_vp: U32::new(2), ..open(channel, gpadl, 8) });
    assert_eq!(fault, ControlFault::TargetVp { kind, vp: 2, vp_count: 2 });
}

#[test]
fn closed_channel_can_be_opened_again_over_the_same_gpadl() {
    let (mut pair, channel, gpadl) = Pair::with_open_channel();
    pair.client.close(channel).expect("open");
    pair.client.open(channel, gpadl, 4, 0).expect("closed");
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::Opened { channel, ok: false }], "the host was still closing");
    assert_eq!(pair.faults.len(), 1);
    pair.client.open(channel, gpadl, 4, 0).expect("closed");
    pair.drive();
    assert_eq!(pair.guest.last(), Some(&ClientAction::Opened { channel, ok: true }));
}

#[test]
fn close_while_opening_waits_for_the_device() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    pair.auto_complete = false;
    assert_eq!(pair.post(&open(channel, gpadl, 8)), Ok(()));
    let close = CloseChannel { relid: U32::new(channel.0) };
    assert_eq!(pair.post(&close), Ok(()));
    let fault = ControlFault::ChannelState { kind: MessageType::CloseChannel, channel, state: "opening" };
    assert_eq!(pair.post(&close), Err(fault));
    assert!(matches!(pair.server.poll_action(), Some(ServerAction::Open(_))));
    assert_eq!(pair.server.poll_action(), None);
    pair.server.open_complete(channel, true);
    assert_eq!(pair.posted::<OpenChannelResult>().len(), 1);
    assert_eq!(pair.host, [ServerAction::Close(channel)]);
    pair.server.close_complete(channel);
    assert!(!pair.server.is_open(channel));
}

#[test]
fn close_of_a_channel_that_is_not_open_is_a_fault() {
    let (mut pair, channel) = Pair::with_offer();
    let kind = MessageType::CloseChannel;
    let close = CloseChannel { relid: U32::new(channel.0) };
    assert_eq!(pair.post(&close), Err(ControlFault::ChannelState { kind, channel, state: "closed" }));
    assert_eq!(pair.server.poll_action(), None);
}

#[test]
fn completions_nobody_waits_for_are_ignored() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.server.open_complete(channel, false);
    pair.server.close_complete(channel);
    pair.server.close_complete(ChannelId(77));
    assert!(pair.server.is_open(channel));
    assert_eq!(pair.server.poll_action(), None);
}

#[test]
fn rescind_while_opening_closes_after_the_open() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(16);
    pair.auto_complete = false;
    pair.client.open(channel, gpadl, 8, 0).expect("closed");
    pair.drive();
    assert!(pair.server.rescind(channel));
    pair.drive();
    assert_eq!(
        pair.guest,
        [ClientAction::Rescinded(channel), ClientAction::Opened { channel, ok: false }],
        "Linux wakes whoever waits for the open"
    );
    pair.server.open_complete(channel, true);
    pair.drive();
    assert_eq!(pair.host.last(), Some(&ServerAction::Close(channel)));
    pair.server.close_complete(channel);
    pair.client.release(channel).expect("rescinded");
    pair.drive();
    assert_eq!(pair.host.last(), Some(&ServerAction::Released(channel)));
    assert_eq!(pair.faults, []);
}

#[test]
fn open_channel_is_retargeted_and_answered_from_version_5_3_on() {
    for (max_version, answers) in [(Version::V4_1, 0), (Version::V5_2, 0), (Version::V5_3, 1)] {
        let (mut pair, channel) = Pair::with_offer_at(max_version);
        let gpadl = pair.lend(channel, 4);
        pair.client.open(channel, gpadl, 2, 0).expect("closed");
        pair.drive();
        pair.clear();
        pair.client.modify(channel, 1).expect("open");
        pair.drive();
        assert_eq!(pair.host, [ServerAction::Retarget { channel, target_vp: 1 }]);
        assert_eq!(pair.guest, vec![ClientAction::Modified { channel, ok: true }; answers]);
        assert_eq!(pair.faults, []);
    }
}

#[test]
fn retarget_that_cannot_be_is_refused_with_a_status() {
    let (mut pair, channel, _) = Pair::with_gpadl(4);
    let kind = MessageType::ModifyChannel;
    let closed = ModifyChannel { relid: U32::new(channel.0), target_vp: U32::ZERO };
    let far = ModifyChannel { relid: U32::new(channel.0), target_vp: U32::new(2) };
    let unknown = ModifyChannel { relid: U32::new(9), target_vp: U32::ZERO };
    for (modify, fault) in [
        (closed, ControlFault::ChannelState { kind, channel, state: "closed" }),
        (far, ControlFault::TargetVp { kind, vp: 2, vp_count: 2 }),
        (unknown, ControlFault::UnknownChannel { kind, channel: ChannelId(9) }),
    ] {
        assert_eq!(pair.post(&modify), Err(fault));
        let answers = pair.posted::<ModifyChannelResponse>();
        assert!(answers.len() == 1 && answers[0].status.get() != 0);
    }
}
