//! What the server asks of its host, in order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::message::{self, ChannelMessage};
use crate::{ChannelId, ConnectionId, GpadlId, Target, Version};

/// One thing to do. Do them in the order in which [`super::Server::poll_action`] returns them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Queue a message for the guest.
    Post {
        /// VP index.
        vp: u32,
        /// SINT.
        sint: u8,
        /// Payload, header first.
        message: Vec<u8>,
    },
    /// Throw away messages that are queued but not delivered, and any memory of a busy slot: the guest that
    /// they were for is gone.
    DropMessages,
    /// Map the rings, register the doorbell, start the device; then call [`super::Server::open_complete`].
    Open(OpenRequest),
    /// Stop the device and forget the rings; then call [`super::Server::close_complete`].
    Close(ChannelId),
    /// Set event flags of an open channel on another VP from now on.
    Retarget {
        /// Channel.
        channel: ChannelId,
        /// VP index.
        target_vp: u32,
    },
    /// A version was agreed on; the answer is already in the queue.
    Contacted {
        /// It.
        version: Version,
    },
    /// The guest left the bus; the answer is already in the queue.
    Unloaded,
    /// A rescinded channel is forgotten; its id may be used for another one.
    Released(ChannelId),
}

/// An OPENCHANNEL that is sound as far as the control plane can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Which.
    pub channel: ChannelId,
    /// GPADL that holds the rings.
    pub gpadl: GpadlId,
    /// What the guest signals; the doorbell to register.
    pub connection_id: ConnectionId,
    /// Event flag to set; the relid.
    pub event_flag: u16,
    /// VP whose flag to set.
    pub target_vp: u32,
    /// SINT whose flag to set.
    pub sint: u8,
    /// Guest page numbers of both rings: guest to host first. Not checked against guest memory.
    pub ring_gpns: Vec<u64>,
    /// Page at which the host-to-guest ring starts: at least 2, and at least 2 before the end.
    pub downstream_offset_pages: u32,
    /// For the device.
    pub user_data: [u8; 120],
}

impl OpenRequest {
    /// Pages of the guest-to-host ring, header page first.
    #[must_use]
    pub fn incoming_gpns(&self) -> &[u64] {
        self.split().0
    }

    /// Pages of the host-to-guest ring, header page first.
    #[must_use]
    pub fn outgoing_gpns(&self) -> &[u64] {
        self.split().1
    }

    fn split(&self) -> (&[u64], &[u64]) {
        self.ring_gpns.split_at_checked(self.downstream_offset_pages as usize).unwrap_or_default()
    }
}

/// The queue of actions.
#[derive(Debug, Default)]
pub(super) struct Actions(VecDeque<ServerAction>);

impl Actions {
    pub(super) fn push(&mut self, action: ServerAction) {
        self.0.push_back(action);
    }

    pub(super) fn post<M: ChannelMessage>(&mut self, target: Target, body: &M) {
        self.push(ServerAction::Post { vp: target.vp, sint: target.sint, message: message::encode(body) });
    }

    /// Drops what concerns only a connection that is over. What is left is bounded by the number of channels:
    /// each waits for at most one open and one close.
    pub(super) fn drop_connection(&mut self) {
        self.0.retain(|action| {
            matches!(action, ServerAction::Open(_) | ServerAction::Close(_) | ServerAction::Released(_))
        });
        self.push(ServerAction::DropMessages);
    }

    pub(super) fn pop(&mut self) -> Option<ServerAction> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
