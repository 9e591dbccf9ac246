//! The host's end of the control channel.
//!
//! [`Server`] is plain data: [`Server::receive`] takes what the guest posted, [`Server::poll_action`] hands
//! out what the host must do, in order, and the host reports what took time with [`Server::open_complete`]
//! and [`Server::close_complete`].
//!
//! | file | table |
//! |---|---|
//! | `connection` | contact, version, unload |
//! | `offers` | what the guest can see, and under which relid |
//! | `gpadls` | guest pages that the guest lent |
//! | `channels` | open, close, retarget, release |
//!
//! Every table is bounded by [`ServerConfig`]. The queue of actions is bounded too: above
//! [`ServerConfig::max_backlog`] messages are refused with [`ControlFault::Backlog`], so stop taking messages
//! out of the inbox while [`Server::can_receive`] is false, and the guest gets "insufficient buffers" and
//! retries.

mod actions;
mod channels;
mod connection;
mod fault;
mod gpadls;
mod offers;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use actions::Actions;
pub use actions::{OpenRequest, ServerAction};
use channels::Channels;
use connection::Connection;
pub use fault::{ControlFault, OfferError};
use gpadls::Gpadls;
pub use offers::{OfferParams, PipeMode};

use crate::message::{self, Direction, MessageType};
use crate::{ChannelId, ConnectionId, GpadlId, Target, Version};

/// What a host serves, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Versions that are accepted, in any order; see also [`Self::max_version`].
    pub versions: Vec<Version>,
    /// Newest version that is accepted.
    pub max_version: Version,
    /// Virtual processors; targets must be below.
    pub vp_count: u32,
    /// Channels, rescinded ones included until the guest releases them; at most 2047.
    pub max_channels: u16,
    /// GPADLs in all channels together.
    pub max_gpadls: usize,
    /// GPADLs whose page lists are incomplete.
    pub max_incomplete_gpadls: usize,
    /// Pages in one GPADL. No message can declare more than 8190.
    pub max_gpadl_pages: u32,
    /// Actions that may wait before messages are refused.
    pub max_backlog: usize,
}

impl Default for ServerConfig {
    /// All versions, one VP, and bounds that a Linux guest with a few devices stays far below.
    fn default() -> Self {
        Self {
            versions: Version::ALL.to_vec(),
            max_version: Version::LATEST,
            vp_count: 1,
            max_channels: 64,
            max_gpadls: 256,
            max_incomplete_gpadls: 16,
            max_gpadl_pages: 8190,
            max_backlog: 256,
        }
    }
}

/// The control plane of one guest. See the module's description.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    connection: Connection,
    channels: Channels,
    gpadls: Gpadls,
    actions: Actions,
}

impl Server {
    /// A server without offers that waits for contact.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            connection: Connection::default(),
            channels: Channels::default(),
            gpadls: Gpadls::default(),
            actions: Actions::default(),
            config,
        }
    }

    /// Takes one message that the guest posted to `connection`.
    ///
    /// # Errors
    /// [`ControlFault`]; see there. The server goes on.
    pub fn receive(&mut self, connection: ConnectionId, message: &[u8]) -> Result<(), ControlFault> {
        let (kind, body) = message::split(message)?;
        if kind.direction() == Direction::ToGuest {
            return Err(ControlFault::Direction { kind });
        }
        match kind {
            // These two replace whatever waits, so they cannot add to it.
            MessageType::InitiateContact => return self.initiate_contact(connection, body),
            MessageType::Unload => return self.unload(connection),
            _ => {}
        }
        self.check_connection(kind, connection)?;
        if !self.can_receive() {
            let waiting = self.actions.len();
            return Err(ControlFault::Backlog { waiting, limit: self.config.max_backlog });
        }
        match kind {
            MessageType::RequestOffers => self.request_offers(),
            MessageType::GpadlHeader => self.gpadl_header(body),
            MessageType::GpadlBody => self.gpadl_body(body),
            MessageType::GpadlTeardown => self.gpadl_teardown(body),
            MessageType::OpenChannel => self.open_channel(body),
            MessageType::CloseChannel => self.close_channel(body),
            MessageType::ModifyChannel => self.modify_channel(body),
            MessageType::RelidReleased => self.relid_released(body),
            _ => Err(ControlFault::Unsupported { kind }),
        }
    }

    /// What the host must do next. Changes after every other call that takes `&mut self`; poll until `None`.
    pub fn poll_action(&mut self) -> Option<ServerAction> {
        self.actions.pop()
    }

    /// Forgets the guest, as at a reset of the VM: all channels get [`ServerAction::Close`], offers stay,
    /// rescinded ones are released, nothing is posted. A new contact is answered once all closes are
    /// complete.
    pub fn reset(&mut self) {
        self.disconnect(connection::After::Reset);
    }

    /// False while the guest should be kept waiting, see [`ServerConfig::max_backlog`]. Becomes true by
    /// [`Self::poll_action`].
    #[must_use]
    pub fn can_receive(&self) -> bool {
        self.actions.len() < self.config.max_backlog
    }

    /// The connected version.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.connection.version()
    }

    /// Where messages go, while connected.
    #[must_use]
    pub const fn target(&self) -> Option<Target> {
        self.connection.target()
    }

    /// Whether the guest has this channel open, or is opening or closing it.
    #[must_use]
    pub fn is_open(&self, channel: ChannelId) -> bool {
        self.channels.find(channel).is_some_and(|channel| !channel.is_closed())
    }

    /// GPADLs of all channels together, incomplete ones included. At most [`ServerConfig::max_gpadls`].
    #[must_use]
    pub fn gpadl_count(&self) -> usize {
        self.gpadls.len()
    }

    /// Page numbers of a complete GPADL of `channel`.
    #[must_use]
    pub fn gpadl_gpns(&self, channel: ChannelId, gpadl: GpadlId) -> Option<&[u64]> {
        self.gpadls.gpns(channel, gpadl)
    }
}
