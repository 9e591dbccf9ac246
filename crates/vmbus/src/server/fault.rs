//! What a guest can do wrong on the control channel, and what a host can.

use thiserror::Error;

use crate::message::{DecodeFault, MessageType};
use crate::{ChannelId, ConnectionId, GpadlId, Version};

/// A mistake of the guest on the control channel. The message had no effect except the refusal that a waiting
/// guest needs; count it, log it at a limited rate, go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlFault {
    /// Not a message of the table, or too short.
    #[error(transparent)]
    Decode(#[from] DecodeFault),
    /// A message that only the host sends.
    #[error("{} is a host's message", kind.name())]
    Direction {
        /// Its type.
        kind: MessageType,
    },
    /// A message that this host does not serve; Linux sends TL_CONNECT_REQUEST for Hyper-V sockets.
    #[error("{} is not served by this host", kind.name())]
    Unsupported {
        /// Its type.
        kind: MessageType,
    },
    /// A message that the connected version does not have.
    #[error("{} came with version {version}, it exists from {} on", kind.name(), kind.since())]
    NotInVersion {
        /// Its type.
        kind: MessageType,
        /// Connected version.
        version: Version,
    },
    /// A message that needs a contact first.
    #[error("{} came without a connection", kind.name())]
    NotConnected {
        /// Its type.
        kind: MessageType,
    },
    /// Posted to another connection than the version asks for.
    #[error("{} was posted to connection {connection}, expected {expected}", kind.name())]
    WrongConnection {
        /// Its type.
        kind: MessageType,
        /// Where it was posted.
        connection: ConnectionId,
        /// Where it belongs.
        expected: ConnectionId,
    },
    /// The guest sends without reading the answers.
    #[error("{waiting} answers wait for the guest, limit is {limit}")]
    Backlog {
        /// Actions that nobody took.
        waiting: usize,
        /// Bound.
        limit: usize,
    },
    /// A virtual processor that does not exist.
    #[error("{} names VP {vp}, there are {vp_count}", kind.name())]
    TargetVp {
        /// Its type.
        kind: MessageType,
        /// VP index.
        vp: u32,
        /// Bound.
        vp_count: u32,
    },
    /// A SINT that cannot carry messages.
    #[error("INITIATE_CONTACT names SINT {sint}, must be 1..=15")]
    TargetSint {
        /// SINT.
        sint: u8,
    },
    /// A second REQUESTOFFERS in one connection.
    #[error("offers were already requested in this connection")]
    OffersRequestedTwice,
    /// No such channel was offered.
    #[error("{} names channel {channel}, which is not on offer", kind.name())]
    UnknownChannel {
        /// Its type.
        kind: MessageType,
        /// As named.
        channel: ChannelId,
    },
    /// The channel is in a state in which the message makes no sense.
    #[error("{} came for channel {channel}, which is {state}", kind.name())]
    ChannelState {
        /// Its type.
        kind: MessageType,
        /// Channel.
        channel: ChannelId,
        /// "closed", "opening", "open", "closing" or "rescinded".
        state: &'static str,
    },
    /// No such GPADL.
    #[error("{} names GPADL {gpadl}, which does not exist", kind.name())]
    UnknownGpadl {
        /// Its type.
        kind: MessageType,
        /// Handle.
        gpadl: GpadlId,
    },
    /// The GPADL belongs to another channel.
    #[error("{} names GPADL {gpadl} with channel {channel}, it belongs to {owner}", kind.name())]
    ForeignGpadl {
        /// Its type.
        kind: MessageType,
        /// Handle.
        gpadl: GpadlId,
        /// As named.
        channel: ChannelId,
        /// Its owner.
        owner: ChannelId,
    },
    /// The GPADL is in a state in which the message makes no sense.
    #[error("{} came for GPADL {gpadl}, which is {state}", kind.name())]
    GpadlState {
        /// Its type.
        kind: MessageType,
        /// Handle.
        gpadl: GpadlId,
        /// "incomplete", "created" or "being torn down".
        state: &'static str,
    },
    /// A handle in use.
    #[error("GPADL {gpadl} exists already")]
    GpadlExists {
        /// Handle.
        gpadl: GpadlId,
    },
    /// Too many GPADLs.
    #[error("GPADL {gpadl} would be one more than the limit of {limit}")]
    TooManyGpadls {
        /// Handle.
        gpadl: GpadlId,
        /// Bound.
        limit: usize,
    },
    /// Too many GPADLs whose bodies are still to come.
    #[error("GPADL {gpadl} would be one more incomplete one than the limit of {limit}")]
    TooManyIncomplete {
        /// Handle.
        gpadl: GpadlId,
        /// Bound.
        limit: usize,
    },
    /// Too many pages.
    #[error("GPADL {gpadl} declares {pages} pages, limit is {limit}")]
    TooManyPages {
        /// Handle.
        gpadl: GpadlId,
        /// Declared.
        pages: u32,
        /// Bound.
        limit: u32,
    },
    /// Not exactly one range.
    #[error("GPADL {gpadl} declares {ranges} ranges, only 1 is taken")]
    RangeCount {
        /// Handle.
        gpadl: GpadlId,
        /// Declared.
        ranges: u16,
    },
    /// The byte range and the size of the page list do not go together.
    #[error(
        "GPADL {gpadl} has {byte_count:#x} bytes at {byte_offset:#x} and a range buffer of {range_buflen} bytes, \
             which do not match"
    )]
    RangeShape {
        /// Handle.
        gpadl: GpadlId,
        /// Declared.
        byte_count: u32,
        /// Declared.
        byte_offset: u32,
        /// Declared.
        range_buflen: u16,
    },
    /// More page numbers than declared, or part of one.
    #[error("GPADL {gpadl} carries {bytes} bytes of page numbers, {limit} are missing")]
    PageList {
        /// Handle.
        gpadl: GpadlId,
        /// Bytes behind the struct.
        bytes: usize,
        /// Bytes still missing before this message.
        limit: usize,
    },
    /// A page number whose address does not fit 64 bits.
    #[error("GPADL {gpadl} names page {gpn:#x}, limit is 0x10000000000000")]
    PageNumber {
        /// Handle.
        gpadl: GpadlId,
        /// Page number.
        gpn: u64,
    },
    /// The rings do not fit the GPADL: each needs a header page and one data page, and whole pages.
    #[error(
        "channel {channel} puts its second ring at page {downstream_page} of {pages}, each ring needs 2 whole pages"
    )]
    RingShape {
        /// Channel.
        channel: ChannelId,
        /// As named.
        downstream_page: u32,
        /// Pages of the GPADL.
        pages: usize,
    },
}

/// Why a channel cannot be offered; the host's own mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// The table is full. Rescinded channels count until the guest releases them.
    #[error("{limit} channels exist, which is the limit")]
    Full {
        /// Bound.
        limit: u16,
    },
    /// A device with this type and instance is on offer.
    #[error("channel {existing} has the same type and instance")]
    Duplicate {
        /// It.
        existing: ChannelId,
    },
}
