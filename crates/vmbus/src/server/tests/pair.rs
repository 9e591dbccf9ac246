//! Both ends of a control channel, joined in memory.

use alloc::vec::Vec;
use core::mem;

use crate::client::{Client, ClientAction, ClientConfig};
use crate::message::{self, ChannelMessage};
use crate::server::{ControlFault, OfferParams, OpenRequest, PipeMode, Server, ServerAction, ServerConfig};
use crate::{ChannelId, ConnectionId, GpadlId, Guid, Version};

/// A server, a client, and what came out of both.
pub(super) struct Pair {
    pub(super) server: Server,
    pub(super) client: Client,
    /// Serve opens and closes at once.
    pub(super) auto_complete: bool,
    /// Actions of the server other than posts.
    pub(super) host: Vec<ServerAction>,
    /// Actions of the client other than posts.
    pub(super) guest: Vec<ClientAction>,
    /// Faults that the server reported.
    pub(super) faults: Vec<ControlFault>,
}

/// The device with this number.
pub(super) fn device(number: u8) -> OfferParams {
    OfferParams {
        interface_type: Guid::from_wire([0xaa; 16]),
        instance: Guid::from_wire([number; 16]),
        pipe: PipeMode::Message,
        mmio_megabytes: 8,
    }
}

impl Pair {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self {
            server: Server::new(config),
            client: Client::new(ClientConfig::default()),
            auto_complete: true,
            host: Vec::new(),
            guest: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Connected with the newest version, device 1 offered.
    pub(super) fn with_offer() -> (Self, ChannelId) {
        Self::with_offer_at(Version::LATEST)
    }

    /// Connected with `max_version`, device 1 offered.
    pub(super) fn with_offer_at(max_version: Version) -> (Self, ChannelId) {
        let mut pair = Self::new(ServerConfig { max_version, vp_count: 2, ..ServerConfig::default() });
        let channel = pair.server.offer(device(1)).expect("the table is empty");
        pair.connect();
        (pair, channel)
    }

    /// Also with a GPADL of `pages` pages, numbered from 0x1000.
    pub(super) fn with_gpadl(pages: u64) -> (Self, ChannelId, GpadlId) {
        let (mut pair, channel) = Self::with_offer();
        let gpadl = pair.lend(channel, pages);
        (pair, channel, gpadl)
    }

    /// Also open over two rings of eight pages.
    pub(super) fn with_open_channel() -> (Self, ChannelId, GpadlId) {
        let (mut pair, channel, gpadl) = Self::with_gpadl(16);
        pair.client.open(channel, gpadl, 8, 0).expect("the channel is closed");
        pair.drive();
        pair.clear();
        (pair, channel, gpadl)
    }

    pub(super) fn connect(&mut self) {
        self.client.connect();
        self.drive();
        self.client.request_offers().expect("connected");
        self.drive();
        self.clear();
    }

    pub(super) fn lend(&mut self, channel: ChannelId, pages: u64) -> GpadlId {
        let gpns: Vec<u64> = (0x1000..0x1000 + pages).collect();
        let gpadl = self.client.create_gpadl(channel, &gpns).expect("the channel is on offer");
        self.drive();
        assert_eq!(mem::take(&mut self.guest), [ClientAction::GpadlCreated { gpadl, ok: true }]);
        gpadl
    }

    /// Delivers messages both ways until nothing moves.
    pub(super) fn drive(&mut self) {
        loop {
            let mut idle = true;
            while let Some(action) = self.client.poll_action() {
                idle = false;
                match action {
                    ClientAction::Post { connection, message } => {
                        self.faults.extend(self.server.receive(connection, &message).err());
                    }
                    other => self.guest.push(other),
                }
            }
            while let Some(action) = self.server.poll_action() {
                idle = false;
                self.serve(action);
            }
            if idle {
                return;
            }
        }
    }

    fn serve(&mut self, action: ServerAction) {
        match &action {
            ServerAction::Post { vp, sint, message } => {
                assert_eq!((*vp, *sint), (0, 2), "messages go where the contact asked for them");
                self.client.receive(message).expect("the server's messages are well-formed");
                return;
            }
            ServerAction::Open(request) if self.auto_complete => {
                self.server.open_complete(request.channel, true)
            }
            ServerAction::Close(channel) if self.auto_complete => self.server.close_complete(*channel),
            _ => {}
        }
        self.host.push(action);
    }

    /// Posts a message of a guest that does not keep to the client's rules.
    pub(super) fn post<M: ChannelMessage>(&mut self, body: &M) -> Result<(), ControlFault> {
        self.post_raw(&message::encode(body))
    }

    pub(super) fn post_raw(&mut self, message: &[u8]) -> Result<(), ControlFault> {
        let legacy = self.server.version().is_some_and(|version| version < Version::V5_0);
        let connection = if legacy { ConnectionId::MESSAGE_LEGACY } else { ConnectionId::MESSAGE };
        self.server.receive(connection, message)
    }

    /// Bodies of the messages of one type that the server posts now; other actions are served.
    pub(super) fn posted<M: ChannelMessage>(&mut self) -> Vec<M> {
        let mut found = Vec::new();
        while let Some(action) = self.server.poll_action() {
            if let ServerAction::Post { message, .. } = &action {
                let (kind, body) = message::split(message).expect("the server's messages are well-formed");
                assert_eq!(message.len(), kind.size(), "always the whole struct");
                if kind == M::TYPE {
                    found.push(message::read::<M>(body).expect("whole message").0);
                }
            } else {
                self.serve(action);
            }
        }
        found
    }

    /// The open requests among the host's actions.
    pub(super) fn opens<'a>(&'a self) -> Vec<&'a OpenRequest> {
        let request = |action: &'a ServerAction| match action {
            ServerAction::Open(request) => Some(request),
            _ => None,
        };
        self.host.iter().filter_map(request).collect()
    }

    pub(super) fn clear(&mut self) {
        assert_eq!(self.faults, [], "no faults so far");
        self.host.clear();
        self.guest.clear();
    }
}
