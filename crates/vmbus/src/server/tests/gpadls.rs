//! Lending pages and getting them back.

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32};

use super::pair::{Pair, device};
use crate::client::ClientAction;
use crate::message::{
    GpadlBody, GpadlCreated, GpadlHeader, GpadlTeardown, GpadlTorndown, MessageType, encode_with_tail,
};
use crate::server::{ControlFault, ServerAction, ServerConfig};
use crate::{ChannelId, GpadlId};

const GPADL: GpadlId = GpadlId(0x77);

fn header(channel: ChannelId, pages: u16) -> GpadlHeader {
    GpadlHeader {
        relid: U32::new(channel.0),
        gpadl: U32::new(GPADL.0),
        range_buflen: U16::new(8 + 8 * pages),
        range_count: U16::new(1),
        byte_count: U32::new(u32::from(pages) * 4096),
        byte_offset: U32::ZERO,
    }
}

fn gpns(count: u64) -> Vec<u8> {
    (0x100..0x100 + count).flat_map(u64::to_le_bytes).collect()
}

fn body(count: u64) -> Vec<u8> {
    encode_with_tail(&GpadlBody { message_number: U32::ZERO, gpadl: U32::new(GPADL.0) }, &gpns(count))
}

/// Posts a header that must be refused with a status.
fn refused(pair: &mut Pair, header: &GpadlHeader, tail: &[u8]) -> ControlFault {
    let fault = pair.post_raw(&encode_with_tail(header, tail)).expect_err("malformed");
    let answers = pair.posted::<GpadlCreated>();
    assert_eq!(answers.len(), 1, "the guest waits without a timeout");
    assert_eq!((answers[0].relid, answers[0].gpadl), (header.relid, header.gpadl));
    assert_ne!(answers[0].status.get(), 0);
    fault
}

#[test]
fn video_ring_of_128_pages_comes_in_five_messages_and_keeps_its_order() {
    let (mut pair, channel) = Pair::with_offer();
    let gpns: Vec<u64> = (0..128).map(|page| page * 3 + 7).collect();
    let gpadl = pair.client.create_gpadl(channel, &gpns).expect("on offer");
    let mut sizes = Vec::new();
    while let Some(ClientAction::Post { connection, message }) = pair.client.poll_action() {
        sizes.push(message.len());
        assert_eq!(pair.server.gpadl_gpns(channel, gpadl), None);
        assert_eq!(pair.server.receive(connection, &message), Ok(()));
    }
    assert_eq!(sizes, [28 + 26 * 8, 16 + 28 * 8, 16 + 28 * 8, 16 + 28 * 8, 16 + 18 * 8]);
    assert_eq!(pair.server.gpadl_gpns(channel, gpadl), Some(&gpns[..]));
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::GpadlCreated { gpadl, ok: true }]);
}

#[test]
fn malformed_ranges_are_refused_with_a_status() {
    let (mut pair, channel) = Pair::with_offer();
    let ok = header(channel, 2);
    let shape = |header: &GpadlHeader| ControlFault::RangeShape {
        gpadl: GPADL,
        byte_count: header.byte_count.get(),
        byte_offset: header.byte_offset.get(),
        range_buflen: header.range_buflen.get(),
    };
    for bad in [
        GpadlHeader { byte_count: U32::ZERO, range_buflen: U16::new(8), ..ok },
        GpadlHeader { byte_count: U32::new(4096), ..ok },
        GpadlHeader { byte_count: U32::new(u32::MAX), ..ok },
        GpadlHeader { byte_offset: U32::new(4096), byte_count: U32::new(4096), ..ok },
        GpadlHeader { byte_offset: U32::new(1), ..ok },
        GpadlHeader { range_buflen: U16::new(7), ..ok },
        GpadlHeader { range_buflen: U16::new(25), ..ok },
        GpadlHeader { range_buflen: U16::ZERO, ..ok },
    ] {
        assert_eq!(refused(&mut pair, &bad, &gpns(2)), shape(&bad));
    }
    for ranges in [0, 2, 0xffff] {
        let bad = GpadlHeader { range_count: U16::new(ranges), ..ok };
        assert_eq!(refused(&mut pair, &bad, &gpns(2)), ControlFault::RangeCount { gpadl: GPADL, ranges });
    }
    let fault = refused(&mut pair, &ok, &gpns(3));
    assert_eq!(fault, ControlFault::PageList { gpadl: GPADL, bytes: 24, limit: 16 });
    let fault = refused(&mut pair, &ok, &gpns(2)[..15]);
    assert_eq!(fault, ControlFault::PageList { gpadl: GPADL, bytes: 15, limit: 16 });
    let fault = refused(&mut pair, &header(channel, 1), &(1_u64 << 52).to_le_bytes());
    assert_eq!(fault, ControlFault::PageNumber { gpadl: GPADL, gpn: 1 << 52 });
    assert_eq!(pair.server.gpadls.len(), 0);
}

#[test]
fn gpadl_for_a_channel_not_on_offer_is_refused_with_a_status() {
    let (mut pair, channel) = Pair::with_offer();
    let kind = MessageType::GpadlHeader;
    let unknown = ChannelId(55);
    let fault = refused(&mut pair, &header(unknown, 2), &gpns(2));
    assert_eq!(fault, ControlFault::UnknownChannel { kind, channel: unknown });
    assert!(pair.server.rescind(channel));
    let fault = refused(&mut pair, &header(channel, 2), &gpns(2));
    assert_eq!(fault, ControlFault::ChannelState { kind, channel, state: "rescinded" });
}

#[test]
fn handle_in_use_is_refused() {
    let (mut pair, channel) = Pair::with_offer();
    assert_eq!(pair.post_raw(&encode_with_tail(&header(channel, 2), &gpns(2))), Ok(()));
    assert_eq!(pair.posted::<GpadlCreated>().len(), 1);
    let fault = refused(&mut pair, &header(channel, 2), &gpns(2));
    assert_eq!(fault, ControlFault::GpadlExists { gpadl: GPADL });
    assert!(pair.server.gpadl_gpns(channel, GPADL).is_some());
}

#[test]
fn tables_are_bounded_and_say_so() {
    let mut pair = Pair::new(ServerConfig {
        max_gpadls: 3,
        max_incomplete_gpadls: 1,
        max_gpadl_pages: 4,
        ..ServerConfig::default()
    });
    let channel = pair.server.offer(device(1)).expect("room");
    pair.connect();
    let numbered = |gpadl: u32, pages| GpadlHeader { gpadl: U32::new(gpadl), ..header(channel, pages) };

    let fault = refused(&mut pair, &numbered(1, 5), &[]);
    assert_eq!(fault, ControlFault::TooManyPages { gpadl: GpadlId(1), pages: 5, limit: 4 });
    assert_eq!(pair.post_raw(&encode_with_tail(&numbered(2, 4), &gpns(1))), Ok(()));
    let fault = refused(&mut pair, &numbered(3, 4), &gpns(3));
    assert_eq!(fault, ControlFault::TooManyIncomplete { gpadl: GpadlId(3), limit: 1 });
    for gpadl in 4..6 {
        assert_eq!(pair.post_raw(&encode_with_tail(&numbered(gpadl, 1), &gpns(1))), Ok(()));
    }
    pair.server.poll_action();
    pair.server.poll_action();
    let fault = refused(&mut pair, &numbered(6, 1), &gpns(1));
    assert_eq!(fault, ControlFault::TooManyGpadls { gpadl: GpadlId(6), limit: 3 });
    assert_eq!(pair.server.gpadls.len(), 3);
}

#[test]
fn body_with_too_many_pages_is_refused_and_the_rest_is_a_fault() {
    let (mut pair, channel) = Pair::with_offer();
    let kind = MessageType::GpadlBody;
    assert_eq!(pair.post_raw(&encode_with_tail(&header(channel, 30), &gpns(26))), Ok(()));
    let fault = ControlFault::PageList { gpadl: GPADL, bytes: 40, limit: 32 };
    assert_eq!(pair.post_raw(&body(5)), Err(fault));
    assert_eq!(pair.posted::<GpadlCreated>().iter().filter(|answer| answer.status.get() != 0).count(), 1);
    assert_eq!(pair.post_raw(&body(5)), Err(ControlFault::UnknownGpadl { kind, gpadl: GPADL }));
    assert_eq!(pair.server.gpadls.len(), 0);
}

#[test]
fn body_for_a_complete_gpadl_is_a_fault() {
    let (mut pair, channel) = Pair::with_offer();
    assert_eq!(pair.post_raw(&encode_with_tail(&header(channel, 2), &gpns(2))), Ok(()));
    let fault = ControlFault::GpadlState { kind: MessageType::GpadlBody, gpadl: GPADL, state: "created" };
    assert_eq!(pair.post_raw(&body(1)), Err(fault));
    assert_eq!(pair.server.gpadl_gpns(channel, GPADL).map(<[u64]>::len), Some(2));
}

#[test]
fn teardown_of_an_idle_gpadl_is_answered_at_once() {
    let (mut pair, channel, gpadl) = Pair::with_gpadl(4);
    pair.client.teardown(gpadl).expect("created");
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::TornDown(gpadl)]);
    assert_eq!(pair.server.gpadl_gpns(channel, gpadl), None);
}

#[test]
fn teardown_of_the_ring_waits_until_the_host_let_go_of_it() {
    let (mut pair, channel, gpadl) = Pair::with_open_channel();
    pair.auto_complete = false;
    pair.client.close(channel).expect("open");
    pair.client.teardown(gpadl).expect("created");
    pair.drive();
    assert_eq!(pair.host, [ServerAction::Close(channel)]);
    assert_eq!(pair.guest, []);
    let again = GpadlTeardown { relid: U32::new(channel.0), gpadl: U32::new(gpadl.0) };
    let fault =
        ControlFault::GpadlState { kind: MessageType::GpadlTeardown, gpadl, state: "being torn down" };
    assert_eq!(pair.post(&again), Err(fault));
    pair.server.close_complete(channel);
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::TornDown(gpadl)]);
}

#[test]
fn teardown_of_another_gpadl_does_not_wait_for_the_ring() {
    let (mut pair, channel, _) = Pair::with_open_channel();
    pair.auto_complete = false;
    let other = pair.lend(channel, 4);
    pair.client.teardown(other).expect("created");
    pair.drive();
    assert_eq!(pair.guest, [ClientAction::TornDown(other)]);
}

#[test]
fn teardown_of_an_unknown_gpadl_is_answered_and_a_fault() {
    let (mut pair, channel) = Pair::with_offer();
    let teardown = GpadlTeardown { relid: U32::new(channel.0), gpadl: U32::new(GPADL.0) };
    let fault = ControlFault::UnknownGpadl { kind: MessageType::GpadlTeardown, gpadl: GPADL };
    assert_eq!(pair.post(&teardown), Err(fault));
    assert_eq!(pair.posted::<GpadlTorndown>().len(), 1);
}

#[test]
fn teardown_through_another_channel_is_a_fault_and_changes_nothing() {
    let (mut pair, owner, gpadl) = Pair::with_gpadl(4);
    let channel = pair.server.offer(device(2)).expect("room");
    pair.drive();
    let teardown = GpadlTeardown { relid: U32::new(channel.0), gpadl: U32::new(gpadl.0) };
    let fault = ControlFault::ForeignGpadl { kind: MessageType::GpadlTeardown, gpadl, channel, owner };
    assert_eq!(pair.post(&teardown), Err(fault));
    assert!(pair.server.gpadl_gpns(owner, gpadl).is_some());
}

#[test]
fn incomplete_gpadl_can_be_given_up() {
    let (mut pair, channel) = Pair::with_offer();
    assert_eq!(pair.post_raw(&encode_with_tail(&header(channel, 30), &gpns(26))), Ok(()));
    let teardown = GpadlTeardown { relid: U32::new(channel.0), gpadl: U32::new(GPADL.0) };
    assert_eq!(pair.post(&teardown), Ok(()));
    assert_eq!(pair.posted::<GpadlTorndown>().len(), 1);
    assert_eq!(pair.server.gpadls.len(), 0);
}
