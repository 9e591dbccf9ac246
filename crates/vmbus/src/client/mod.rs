//! The guest's end of the control channel, as Linux plays it.
//!
//! Shaped like [`crate::server`]: requests and received messages in, [`ClientAction`]s out. It behaves well;
//! a guest that does not can build its own messages with [`crate::message::encode`].

mod fault;
mod gpadl;
mod receive;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use zerocopy::little_endian::{U32, U64};

pub use fault::{ClientError, HostFault};
use gpadl::GpadlState;

use crate::message::{
    self, ChannelMessage, CloseChannel, InitiateContact, ModifyChannel, OpenChannel, RelidReleased,
    RequestOffers, Unload,
};
use crate::server::PipeMode;
use crate::{ChannelId, ConnectionId, GpadlId, Guid, Version};

/// How a guest makes contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Versions to try, in this order.
    pub versions: Vec<Version>,
    /// VP that shall get all messages.
    pub target_vp: u32,
    /// SINT that shall get them, from version 5.0 on.
    pub msg_sint: u8,
}

impl Default for ClientConfig {
    /// What Linux does: newest version first, VP 0, SINT 2.
    fn default() -> Self {
        Self {
            versions: Version::ALL.into_iter().rev().collect(),
            target_vp: 0,
            msg_sint: hv_abi::sint::VMBUS,
        }
    }
}

/// One thing that happened or is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAction {
    /// Post a message to the host with HvCallPostMessage.
    Post {
        /// Where to.
        connection: ConnectionId,
        /// Payload, header first.
        message: Vec<u8>,
    },
    /// The host took this version.
    Contacted(Version),
    /// The host took no version.
    Refused,
    /// A device is on offer.
    Offered(Offer),
    /// That was the last offer for now.
    OffersDelivered,
    /// The device goes away: close, then [`Client::release`].
    Rescinded(ChannelId),
    /// Answer to [`Client::create_gpadl`].
    GpadlCreated {
        /// Which.
        gpadl: GpadlId,
        /// False if the host refused it.
        ok: bool,
    },
    /// Answer to [`Client::open`].
    Opened {
        /// Which.
        channel: ChannelId,
        /// False if the host refused it.
        ok: bool,
    },
    /// Answer to [`Client::teardown`]: the pages are the guest's again.
    TornDown(GpadlId),
    /// Answer to [`Client::modify`], from version 5.3 on.
    Modified {
        /// Which.
        channel: ChannelId,
        /// False if the host refused it.
        ok: bool,
    },
    /// Answer to [`Client::unload`].
    Unloaded,
}

/// A device on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its channel.
    pub channel: ChannelId,
    /// What to signal.
    pub connection: ConnectionId,
    /// Kind of device.
    pub interface_type: Guid,
    /// This device.
    pub instance: Guid,
    /// Framing.
    pub pipe: PipeMode,
    /// Address space for it, in MiB.
    pub mmio_megabytes: u16,
    /// The host sets an event flag of this channel's own.
    pub dedicated_interrupt: bool,
    /// The guest should signal through the monitor page.
    pub monitor_allocated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Waits for the answer to this one of the configured versions.
    Contacting(usize),
    Connected {
        version: Version,
        connection: ConnectionId,
    },
    Unloading {
        connection: ConnectionId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelState {
    Closed,
    Opening,
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    offer: Offer,
    state: ChannelState,
    rescinded: bool,
}

/// A guest's control plane. See the module's description.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    channels: BTreeMap<ChannelId, Channel>,
    gpadls: BTreeMap<GpadlId, GpadlState>,
    next_gpadl: u32,
    actions: VecDeque<ClientAction>,
}

impl Client {
    /// A guest that has not made contact.
    #[must_use]
    pub const fn new(config: ClientConfig) -> Self {
        Self {
            config,
            state: State::Idle,
            channels: BTreeMap::new(),
            gpadls: BTreeMap::new(),
            // Linux starts here, too (`drivers/hv/connection.c:vmbus_connection`).
            next_gpadl: 0xe1e10,
            actions: VecDeque::new(),
        }
    }

    /// Makes contact, newest version first; forgets everything from an earlier contact. Ends in
    /// [`ClientAction::Contacted`] or [`ClientAction::Refused`].
    pub fn connect(&mut self) {
        self.forget();
        self.actions.clear();
        self.contact(0);
    }

    /// Asks for offers.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`].
    pub fn request_offers(&mut self) -> Result<(), ClientError> {
        self.post(&RequestOffers {})
    }

    /// Opens a channel over a created GPADL, whose page `downstream_page` starts the host-to-guest ring.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn open(
        &mut self,
        channel: ChannelId,
        gpadl: GpadlId,
        downstream_page: u32,
        target_vp: u32,
    ) -> Result<(), ClientError> {
        self.check_gpadl(gpadl)?;
        self.change(channel, ChannelState::Closed, ChannelState::Opening)?;
        self.post(&OpenChannel {
            relid: U32::new(channel.0),
            open_id: U32::new(channel.0),
            ring_gpadl: U32::new(gpadl.0),
            target_vp: U32::new(target_vp),
            downstream_page_offset: U32::new(downstream_page),
            user_data: [0; 120],
        })
    }

    /// Closes a channel. The host does not answer; tear the GPADL down next.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn close(&mut self, channel: ChannelId) -> Result<(), ClientError> {
        self.change(channel, ChannelState::Open, ChannelState::Closed)?;
        self.post(&CloseChannel { relid: U32::new(channel.0) })
    }

    /// Moves a channel's events to another VP.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn modify(&mut self, channel: ChannelId, target_vp: u32) -> Result<(), ClientError> {
        self.change(channel, ChannelState::Open, ChannelState::Open)?;
        self.post(&ModifyChannel { relid: U32::new(channel.0), target_vp: U32::new(target_vp) })
    }

    /// Forgets a rescinded channel and its GPADLs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn release(&mut self, channel: ChannelId) -> Result<(), ClientError> {
        let entry = self.channels.get(&channel).ok_or(ClientError::UnknownChannel { channel })?;
        if !entry.rescinded || entry.state != ChannelState::Closed {
            return Err(ClientError::ChannelState { channel });
        }
        self.channels.remove(&channel);
        self.gpadls.retain(|_, gpadl| gpadl.channel() != channel);
        self.post(&RelidReleased { relid: U32::new(channel.0) })
    }

    /// Leaves the bus; ends in [`ClientAction::Unloaded`].
    ///
    /// # Errors
    /// [`ClientError::NotConnected`].
    pub fn unload(&mut self) -> Result<(), ClientError> {
        let connection = self.connection()?;
        self.post(&Unload {})?;
        self.forget();
        self.state = State::Unloading { connection };
        Ok(())
    }

    /// What happened, and what to post. Changes after every other call that takes `&mut self`; poll until
    /// `None`.
    pub fn poll_action(&mut self) -> Option<ClientAction> {
        self.actions.pop_front()
    }

    /// The version that the host took.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        match self.state {
            State::Connected { version, .. } => Some(version),
            _ => None,
        }
    }

    /// Channels on offer, by relid.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.channels.values().map(|channel| &channel.offer)
    }

    fn forget(&mut self) {
        self.channels.clear();
        self.gpadls.clear();
        self.state = State::Idle;
    }

    /// Tries the configured version with this index.
    fn contact(&mut self, index: usize) {
        let Some(&version) = self.config.versions.get(index) else {
            self.state = State::Idle;
            self.actions.push_back(ClientAction::Refused);
            return;
        };
        self.state = State::Contacting(index);
        let mut interrupt_page_or_target = [0; 8];
        if version >= Version::V5_0 {
            interrupt_page_or_target[0] = self.config.msg_sint;
        }
        let contact = InitiateContact {
            version: U32::new(version.wire()),
            target_vp: U32::new(self.config.target_vp),
            interrupt_page_or_target,
            monitor_page_1: U64::ZERO,
            monitor_page_2: U64::ZERO,
        };
        let message = message::encode(&contact);
        self.actions.push_back(ClientAction::Post { connection: version.message_connection(), message });
    }

    const fn connection(&self) -> Result<ConnectionId, ClientError> {
        match self.state {
            State::Connected { connection, .. } => Ok(connection),
            _ => Err(ClientError::NotConnected),
        }
    }

    fn post<M: ChannelMessage>(&mut self, body: &M) -> Result<(), ClientError> {
        self.post_with_tail(body, &[])
    }

    fn post_with_tail<M: ChannelMessage>(&mut self, body: &M, tail: &[u8]) -> Result<(), ClientError> {
        let connection = self.connection()?;
        let message = message::encode_with_tail(body, tail);
        self.actions.push_back(ClientAction::Post { connection, message });
        Ok(())
    }

    fn change(
        &mut self,
        channel: ChannelId,
        from: ChannelState,
        to: ChannelState,
    ) -> Result<(), ClientError> {
        self.connection()?;
        let entry = self.channels.get_mut(&channel).ok_or(ClientError::UnknownChannel { channel })?;
        // A rescinded channel can only be closed.
        if entry.state != from || (entry.rescinded && to != ChannelState::Closed) {
            return Err(ClientError::ChannelState { channel });
        }
        entry.state = to;
        Ok(())
    }
}
