//! An open channel: two rings, a doorbell, and where the guest wants its interrupts.

use std::io;
use std::sync::Arc;

use synic::{DoorbellError, Doorbells, GuestSignal};
use thiserror::Error;
use vm_memory::GuestMemory;
use vmbus::ConnectionId;
use vmbus::packet::PacketKind;
use vmbus::ring::{DrainLimits, InRing, MAX_PACKET_TO_GUEST, OutPacket, OutRing, WriteError};
use vmbus::server::OpenRequest;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::channel::DeviceFault;
use crate::clock::Clock;
use crate::observer::FaultLayer;
use crate::ring_memory::GpadlRing;

/// Largest payload that a guest may send: a whole pipe message and its header.
const MAX_PAYLOAD_BYTES: usize = vmbus::pipe::HEADER_SIZE + vmbus::pipe::MAX_MESSAGE;

/// Longest turn: a packet or message that is begun within it is finished. Few bytes of ring can ask for a whole screen's
/// copy.
pub(crate) const TURN_NS: u64 = 4_000_000;

/// What one look into the rings came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nothing is wrong.
    Done,
    /// The guest broke a rule; the channel must be closed.
    Fault {
        /// Where it was seen.
        layer: FaultLayer,
        /// What it was.
        text: String,
    },
}

/// A channel cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// The guest's rings are no rings.
    #[error("{0}")]
    Guest(String),
    /// This host ran out of something.
    #[error("{0}")]
    Host(String),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Host(format!("no eventfd: {error}"))
    }
}

impl From<DoorbellError> for OpenError {
    fn from(error: DoorbellError) -> Self {
        Self::Host(error.to_string())
    }
}

pub(crate) struct OpenChannel<M> {
    incoming: InRing<GpadlRing<M>>,
    outgoing: OutRing<GpadlRing<M>>,
    doorbell: Arc<EventFd>,
    connection: ConnectionId,
    event_flag: u16,
    target_vp: u32,
    sint: u8,
    payload: Box<[u8]>,
    /// Times that we rang our own doorbell since it was last read.
    self_rings: u64,
    /// A packet that did not fit the guest's ring; nothing overtakes it.
    unsent: Vec<u8>,
}

impl<M: GuestMemory + Clone> OpenChannel<M> {
    /// Maps the rings and registers the doorbell.
    pub(crate) fn open(
        request: &OpenRequest,
        memory: &M,
        doorbells: &dyn Doorbells,
    ) -> Result<Self, OpenError> {
        let guest = |fault: &dyn std::fmt::Display| OpenError::Guest(fault.to_string());
        let ring = |gpns: &[u64]| GpadlRing::new(memory.clone(), gpns).map_err(|fault| guest(&fault));
        let incoming = InRing::open(ring(request.incoming_gpns())?).map_err(|fault| guest(&fault))?;
        let outgoing = OutRing::open(ring(request.outgoing_gpns())?).map_err(|fault| guest(&fault))?;
        let doorbell = EventFd::new(EFD_NONBLOCK)?;
        doorbells.register(request.connection_id.0, &doorbell)?;
        Ok(Self {
            incoming,
            outgoing,
            doorbell: Arc::new(doorbell),
            connection: request.connection_id,
            event_flag: request.event_flag,
            target_vp: request.target_vp,
            sint: request.sint,
            payload: vec![0; MAX_PAYLOAD_BYTES].into_boxed_slice(),
            self_rings: 0,
            unsent: Vec::new(),
        })
    }

    /// Takes the doorbell out of the SynIC. The rings are the guest's again when this returns.
    pub(crate) fn close(self, doorbells: &dyn Doorbells) {
        if let Err(error) = doorbells.unregister(self.connection.0, &self.doorbell) {
            tracing::error!("doorbell {} cannot be taken back: {error}", self.connection);
        }
    }

    pub(crate) fn doorbell(&self) -> Arc<EventFd> {
        Arc::clone(&self.doorbell)
    }

    /// How often the guest rang since the last call.
    pub(crate) fn take_rings(&mut self) -> u64 {
        // Not readable means that nobody rang.
        let rings = self.doorbell.read().unwrap_or(0);
        rings.saturating_sub(std::mem::take(&mut self.self_rings))
    }

    /// Whether the guest can send one more packet of `payload_bytes`.
    pub(crate) fn has_room_for(&self, payload_bytes: u32) -> bool {
        self.incoming.has_room_for(payload_bytes)
    }

    pub(crate) fn retarget(&mut self, target_vp: u32) {
        self.target_vp = target_vp;
    }

    /// Hands the guest's packets to `take`, one turn bounded in packets, bytes and time; what is left rings our own
    /// doorbell, so that a guest that never stops sending cannot keep others waiting.
    pub(crate) fn receive(
        &mut self,
        signal: &dyn GuestSignal,
        clock: &dyn Clock,
        mut take: impl FnMut(&[u8]) -> Result<(), DeviceFault>,
    ) -> Turn {
        let over_ns = clock.now_ns().saturating_add(TURN_NS);
        let mut drain = self.incoming.drain(DrainLimits::default());
        while clock.now_ns() < over_ns {
            let packet = match drain.next_packet(&mut self.payload) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(fault) => return Turn::Fault { layer: FaultLayer::Ring, text: fault.to_string() },
            };
            if packet.kind != PacketKind::InBand {
                // Completions of packets that asked for none, and page lists that no device here takes.
                continue;
            }
            if let Err(fault) = take(packet.payload) {
                let layer = match fault {
                    DeviceFault::Pipe(_) => FaultLayer::Pipe,
                    DeviceFault::Protocol(_) | DeviceFault::Ignored(_) => FaultLayer::Device,
                };
                return Turn::Fault { layer, text: fault.to_string() };
            }
        }
        let drained = drain.finish();
        if drained.signal_producer {
            self.interrupt(signal);
        }
        if drained.more {
            match self.doorbell.write(1) {
                Ok(()) => self.self_rings += 1,
                Err(error) => {
                    tracing::error!("channel {} cannot ring its own doorbell: {error}", self.event_flag);
                }
            }
        }
        Turn::Done
    }

    /// Sends what `next` yields until it has nothing more or the guest's ring is full.
    pub(crate) fn transmit(
        &mut self,
        signal: &dyn GuestSignal,
        mut next: impl FnMut(&mut [u8]) -> Option<usize>,
    ) -> Turn {
        let mut buffer = [0; MAX_PACKET_TO_GUEST as usize];
        let mut ring = false;
        let turn = loop {
            if self.unsent.is_empty() {
                let Some(packet) = next(&mut buffer).and_then(|len| buffer.get(..len)) else {
                    break Turn::Done;
                };
                self.unsent.extend_from_slice(packet);
            }
            match self.outgoing.write(&OutPacket::in_band(&[&self.unsent])) {
                Ok(sent) => {
                    ring |= sent.signal;
                    self.unsent.clear();
                }
                // The guest signals when it has made room; then this is called again.
                Err(WriteError::Full { .. }) => break Turn::Done,
                Err(WriteError::Corrupt(fault)) => {
                    break Turn::Fault { layer: FaultLayer::Ring, text: fault.to_string() };
                }
                Err(error @ WriteError::TooLong { .. }) => {
                    tracing::error!("packet for channel {} is dropped: {error}", self.event_flag);
                    self.unsent.clear();
                }
            }
        };
        if ring {
            self.interrupt(signal);
        }
        turn
    }

    fn interrupt(&self, signal: &dyn GuestSignal) {
        if let Err(error) = signal.signal_event(self.target_vp, self.sint, self.event_flag) {
            tracing::debug!("event of channel {} is lost: {error}", self.event_flag);
        }
    }
}
