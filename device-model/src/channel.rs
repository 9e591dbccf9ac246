//! What a device on a VMBus channel looks like to the bus.

use std::any::Any;

use thiserror::Error;
use vmbus::{ChannelId, server::OfferParams};

use crate::observer::Observer;

/// A device behind one offer. The bus owns it and calls it from the event thread only.
///
/// It sees whole packet payloads and never a ring, a doorbell or an eventfd, so it cannot tell which SynIC, or
/// which simulated guest, is at the other end.
pub trait ChannelDevice: Any + Send {
    /// What to offer. Asked when the device is put on the bus, and whenever it is offered again.
    fn offer(&self) -> OfferParams;

    /// Payload of the packet that the guest sends all the time, if there is one. When the bus looks at a ring without room for
    /// another, it tells the observer ([`Observer::ring_full`]).
    fn expected_packet_bytes(&self) -> Option<u32> {
        None
    }

    /// The guest opened the channel.
    fn opened(&mut self, context: &mut DeviceContext<'_>);

    /// One packet's payload, copied out of the ring.
    ///
    /// *Errors*: [`DeviceFault`]; the bus counts it and closes the channel if it is fatal.
    fn receive(&mut self, payload: &[u8], context: &mut DeviceContext<'_>) -> Result<(), DeviceFault>;

    /// The next packet for the guest, written to the front of `buffer`; returns its length.
    ///
    /// The answer may change after `opened`, `receive`, `tick`, and after any of the device's own methods.
    fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// The channel was closed, by the guest or because of its fault: forget everything that it set up.
    fn closed(&mut self, context: &mut DeviceContext<'_>);

    /// The host took the channel away and the guest may not know it yet: forget everything but the memory that the guest's driver
    /// writes to by itself, since a driver cannot stop at once. [`ChannelDevice::closed`] follows when the guest has let go.
    fn withdrawn(&mut self, context: &mut DeviceContext<'_>) {
        self.closed(context);
    }

    /// Until when the guest's packets stay in its ring; test equipment, so `None` as a rule. [`ChannelDevice::deadline_ns`] must
    /// name that time, too: the bus looks into the ring after the tick.
    fn stalled_until_ns(&self) -> Option<u64> {
        None
    }

    /// The time that [`ChannelDevice::deadline_ns`] named has come, or passed.
    fn tick(&mut self, context: &mut DeviceContext<'_>);

    /// When to call [`ChannelDevice::tick`]; the answer may change after any other call.
    fn deadline_ns(&self) -> Option<u64>;
}

/// What the bus lends a device for the length of one call.
pub struct DeviceContext<'a> {
    /// The device's channel.
    pub channel: ChannelId,
    /// Time of this call.
    pub now_ns: u64,
    /// When the doorbell that led to this call was seen; [`DeviceContext::now_ns`] where there was none.
    pub doorbell_ns: u64,
    /// A clock, for a device that wants to say when it was done.
    pub clock: &'a dyn crate::clock::Clock,
    /// Whom to tell.
    pub observer: &'a mut dyn Observer,
}

/// A rule of the device's protocol that the guest broke.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeviceFault {
    /// The framing inside the packet is wrong: nothing that follows can be trusted.
    #[error("{0}")]
    Pipe(String),
    /// A message is malformed or out of place: the channel cannot go on.
    #[error("{0}")]
    Protocol(String),
    /// A message that this host does not know, and may leave unanswered.
    #[error("{0}")]
    Ignored(String),
}

impl DeviceFault {
    /// Whether the channel must be closed.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Ignored(_))
    }
}
