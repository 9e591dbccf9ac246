//! Numbers that must not be mixed up: channel, GPADL and connection ids, and where interrupts go.

use core::fmt;

/// A channel, by the relid of its offer.
///
/// *Shape*: 1..=2047, because the relid is also the channel's event flag and a SINT has 2048 flags, of which
/// Linux ignores flag 0 (`drivers/hv/vmbus_drv.c:vmbus_chan_sched`). A number read from a message may be
/// anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

impl ChannelId {
    /// Smallest relid that a guest listens to.
    pub const MIN: Self = Self(1);
    /// Largest relid that has an event flag.
    pub const MAX: Self = Self(hv_abi::message::EVENT_FLAG_COUNT as u32 - 1);
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A GPADL handle, chosen by the guest (Linux counts up from 0xe1e10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpadlId(pub u32);

impl fmt::Display for GpadlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A hypercall connection id: where HvCallPostMessage or HvCallSignalEvent sends to; 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// Messages below version 5.0, INITIATE_CONTACT included.
    pub const MESSAGE_LEGACY: Self = Self(1);
    /// INITIATE_CONTACT from version 5.0 on, and what VERSION_RESPONSE names for all later messages.
    pub const MESSAGE: Self = Self(4);

    /// The id that a guest signals to ring a channel's doorbell.
    ///
    /// *Shape*: `0x2000 + relid`, so ids are unique, fit 24 bits, and never equal a message connection.
    #[must_use]
    pub const fn doorbell(channel: ChannelId) -> Self {
        Self(0x2000 + (channel.0 & 0x7ff))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Where the guest wants messages or events: a virtual processor and one of its SINTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// VP index.
    pub vp: u32,
    /// SINT, 1..=15.
    pub sint: u8,
}
