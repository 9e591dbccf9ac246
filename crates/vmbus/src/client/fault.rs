//! What a host can do wrong towards a guest, and what the owner of a guest can.

use thiserror::Error;

use crate::message::{DecodeFault, MessageType};
use crate::{ChannelId, GpadlId};

/// A mistake of the host; Linux would warn, drop the message, or wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostFault {
    /// Not a message of the table, or shorter than Linux takes it.
    #[error(transparent)]
    Decode(#[from] DecodeFault),
    /// A message that nobody waits for.
    #[error("{} is not expected now", kind.name())]
    Unexpected {
        /// Its type.
        kind: MessageType,
    },
    /// A relid outside 1..=2047, or one that is in use.
    #[error("OFFERCHANNEL gives relid {channel}, which is in use or not in 1..=2047")]
    Relid {
        /// As given.
        channel: ChannelId,
    },
    /// An offer of a device whose earlier channel was not released yet.
    #[error("OFFERCHANNEL repeats the device of channel {existing}")]
    DuplicateDevice {
        /// The earlier one.
        existing: ChannelId,
    },
    /// A channel that is not known.
    #[error("{} names channel {channel}, which is not known", kind.name())]
    UnknownChannel {
        /// Its type.
        kind: MessageType,
        /// As named.
        channel: ChannelId,
    },
    /// A GPADL that is not known, or not waiting for this.
    #[error("{} names GPADL {gpadl}, which does not wait for it", kind.name())]
    UnknownGpadl {
        /// Its type.
        kind: MessageType,
        /// As named.
        gpadl: GpadlId,
    },
}

/// A request that makes no sense in the present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// No contact, or it is being left.
    #[error("there is no connection")]
    NotConnected,
    /// No such offer.
    #[error("channel {channel} is not on offer")]
    UnknownChannel {
        /// It.
        channel: ChannelId,
    },
    /// The channel is open, closed or rescinded when it should not be.
    #[error("channel {channel} is in the wrong state")]
    ChannelState {
        /// It.
        channel: ChannelId,
    },
    /// Not created, or being torn down.
    #[error("GPADL {gpadl} is not there to be used")]
    UnknownGpadl {
        /// It.
        gpadl: GpadlId,
    },
    /// More pages than a GPADL can declare, or none.
    #[error("GPADL of {pages} pages, must be 1..=8190")]
    PageCount {
        /// Pages.
        pages: usize,
    },
}
