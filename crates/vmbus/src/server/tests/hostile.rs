//! The server against messages that make no sense, in any order.

use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::pair::device;
use crate::ConnectionId;
use crate::message::MessageType;
use crate::server::{ControlFault, Server, ServerAction, ServerConfig};

const CHANNELS: u8 = 3;

/// One thing that a guest or the host does.
#[derive(Clone, Debug)]
enum Step {
    /// Any bytes.
    Noise(Vec<u8>),
    /// A message of the table, its fields mostly small numbers, so that ids meet.
    Message {
        kind: MessageType,
        fields: Vec<u8>,
        tail: usize,
    },
    /// A good INITIATE_CONTACT.
    Contact,
    /// Take this many actions and serve them.
    Serve {
        count: usize,
        ok: bool,
    },
    Rescind(u32),
    Offer(u8),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let small = prop_oneof![8 => 0_u8..5, 1 => any::<u8>()];
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..240).prop_map(Step::Noise),
        12 => (
            prop::sample::select(MessageType::ALL),
            prop::collection::vec(small, 240),
            0_usize..29,
        )
            .prop_map(|(kind, fields, tail)| Step::Message { kind, fields, tail }),
        1 => Just(Step::Contact),
        4 => (0_usize..20, any::<bool>()).prop_map(|(count, ok)| Step::Serve { count, ok }),
        1 => (0_u32..8).prop_map(Step::Rescind),
        1 => (0..CHANNELS).prop_map(Step::Offer),
        1 => Just(Step::Reset),
    ]
}

/// The message bytes of a step: 32-bit fields get one small byte each, page counts are made to match half the
/// time.
fn bytes(kind: MessageType, fields: &[u8], tail: usize) -> Vec<u8> {
    let mut message = alloc::vec![0; kind.size()];
    message[..4].copy_from_slice(&(kind as u32).to_le_bytes());
    for (field, value) in message[8..].chunks_mut(4).zip(fields) {
        field[0] = *value;
    }
    if kind == MessageType::GpadlHeader {
        let pages = u16::from(fields[0] % 40);
        message[16..18].copy_from_slice(&(8 + 8 * pages).to_le_bytes());
        message[18..20].copy_from_slice(&1_u16.to_le_bytes());
        message[20..24].copy_from_slice(&(u32::from(pages) * 4096).to_le_bytes());
        message[24..28].fill(0);
    }
    if matches!(kind, MessageType::GpadlHeader | MessageType::GpadlBody) {
        message.extend(core::iter::repeat_n(0, tail * 8));
    }
    message
}

fn contact() -> Vec<u8> {
    let mut message = bytes(MessageType::InitiateContact, &[0; 60], 0);
    message[8..12].copy_from_slice(&[3, 0, 5, 0]);
    message[16] = 2;
    message
}

/// Posts a message; a fault must have a text that a log can hold.
fn post(server: &mut Server, message: &[u8]) {
    let fault: Option<ControlFault> = server.receive(ConnectionId::MESSAGE, message).err();
    assert!(fault.is_none_or(|fault| (1..200).contains(&fault.to_string().len())));
}

fn serve(server: &mut Server, count: usize, ok: bool) {
    for _ in 0..count {
        match server.poll_action() {
            Some(ServerAction::Open(request)) => {
                assert!(request.incoming_gpns().len() >= 2 && request.outgoing_gpns().len() >= 2);
                assert!((1..2048).contains(&request.event_flag));
                server.open_complete(request.channel, ok);
            }
            Some(ServerAction::Close(channel)) => server.close_complete(channel),
            Some(ServerAction::Post { vp, sint, message }) => {
                assert!(vp < 2 && (1..16).contains(&sint) && message.len() <= 240);
            }
            Some(_) => {}
            None => return,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: prop::test_runner::RngSeed::Fixed(0x5ead_beef),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_messages_leaves_bounded_tables_and_a_server_that_can_be_contacted(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let config = ServerConfig {
            vp_count: 2,
            max_channels: 8,
            max_gpadls: 6,
            max_incomplete_gpadls: 2,
            max_gpadl_pages: 32,
            max_backlog: 24,
            ..ServerConfig::default()
        };
        let mut server = Server::new(config.clone());
        for number in 0..CHANNELS {
            prop_assert!(server.offer(device(number)).is_ok());
        }
        prop_assert_eq!(server.receive(ConnectionId::MESSAGE, &contact()), Ok(()));
        let mut host_actions = 0;
        for step in steps {
            match step {
                Step::Noise(bytes) => post(&mut server, &bytes),
                Step::Message { kind, fields, tail } => post(&mut server, &bytes(kind, &fields, tail)),
                Step::Contact => post(&mut server, &contact()),
                Step::Serve { count, ok } => {
                    serve(&mut server, count, ok);
                    host_actions = 0;
                }
                Step::Rescind(relid) => {
                    server.rescind(crate::ChannelId(relid));
                    host_actions += 2;
                }
                Step::Offer(number) => {
                    host_actions += usize::from(server.offer(device(number)).is_ok());
                }
                Step::Reset => server.reset(),
            }
            prop_assert!(server.gpadls.len() <= config.max_gpadls);
            prop_assert!(server.channels.iter().count() <= usize::from(config.max_channels));
            // One message adds at most all offers; a channel waits for at most one open, one close, one
            // release.
            let bound = config.max_backlog + 5 * usize::from(config.max_channels) + 4 + host_actions;
            prop_assert!(server.actions.len() <= bound, "{} actions wait", server.actions.len());
        }
        serve(&mut server, usize::MAX, true);
        prop_assert_eq!(server.receive(ConnectionId::MESSAGE, &contact()), Ok(()));
        serve(&mut server, usize::MAX, true);
        prop_assert!(server.version().is_some());
    }
}

#[test]
fn steps_reach_open_channels() {
    // Guards the generator above: its fields must be able to open a channel.
    let mut server = Server::new(ServerConfig::default());
    let channel = server.offer(device(0)).expect("room");
    assert_eq!(server.receive(ConnectionId::MESSAGE, &contact()), Ok(()));
    let request_offers = bytes(MessageType::RequestOffers, &[0; 60], 0);
    assert_eq!(server.receive(ConnectionId::MESSAGE, &request_offers), Ok(()));
    let mut header = bytes(MessageType::GpadlHeader, &[4; 60], 4);
    header[8] = 1;
    assert_eq!(server.receive(ConnectionId::MESSAGE, &header), Ok(()));
    let open = bytes(MessageType::OpenChannel, &[1, 1, 4, 0, 2], 0);
    assert_eq!(server.receive(ConnectionId::MESSAGE, &open), Ok(()));
    assert!(server.is_open(channel));
}
