//! An open channel from the guest's end: two rings, and messages in pipe frames.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;
use vmbus::pipe;
use vmbus::ring::{DrainLimits, HeaderField, InRing, OpenFault, OutPacket, OutRing, RingMem, WriteError};

use crate::error::SimError;
use crate::ring_memory::GuestRing;

/// Pages of each ring, header page included: 256 KiB (Linux `hyperv_fb.c`, `RING_BUFSIZE`).
pub(crate) const RING_PAGES: usize = 64;
/// Longest payload that the driver's receive buffer holds (`MAX_VMBUS_PKT_SIZE`).
const RECEIVE_BYTES: usize = 16 << 10;
/// Longest packet that a host takes, with its descriptor.
const MAX_PACKET_TO_HOST: u32 = 17 << 10;

/// Both rings of a channel.
#[derive(Debug)]
pub(crate) struct Rings {
    incoming: InRing<GuestRing>,
    outgoing: OutRing<GuestRing>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// In the ring.
    Sent {
        /// The host must be signalled.
        signal: bool,
    },
    /// The ring was full. Linux's driver logs it and drops the message.
    Dropped,
}

impl Rings {
    /// Rings over `gpns`, guest-to-host first, with fresh headers. Linux fills them in after GPADL_CREATED.
    pub(crate) fn initialise(ram: &Arc<GuestMemoryMmap>, gpns: &[u64]) -> Result<Self, SimError> {
        let (out_gpns, in_gpns) = gpns.split_at_checked(RING_PAGES).unwrap_or_default();
        let ring = |gpns: &[u64]| {
            let no_ring = SimError::Ring(OpenFault::Size { data_len: 0 });
            let ring = GuestRing::new(Arc::clone(ram), gpns).ok_or(no_ring)?;
            ring.initialise();
            Ok::<_, SimError>(ring)
        };
        let outgoing = OutRing::open(ring(out_gpns)?).map_err(SimError::Ring)?;
        let incoming = InRing::open(ring(in_gpns)?).map_err(SimError::Ring)?;
        Ok(Self { incoming, outgoing: outgoing.with_max_packet(MAX_PACKET_TO_HOST) })
    }

    /// Sends one message in a pipe frame.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<Sending, SimError> {
        let header = pipe::header(message.len()).map_err(|error| SimError::TooLong { len: error.len })?;
        self.send_packet(&[&header, message])
    }

    /// Sends a packet with the payload `parts`, which may be nonsense.
    pub(crate) fn send_packet(&mut self, parts: &[&[u8]]) -> Result<Sending, SimError> {
        match self.outgoing.write(&OutPacket::in_band(parts)) {
            Ok(sent) => Ok(Sending::Sent { signal: sent.signal }),
            Err(WriteError::Full { .. }) => Ok(Sending::Dropped),
            Err(WriteError::TooLong { len, .. }) => Err(SimError::TooLong { len }),
            Err(WriteError::Corrupt(fault)) => Err(SimError::HostRing(fault)),
        }
    }

    /// All messages that the host has sent, and whether it waits to be told that there is room again.
    pub(crate) fn receive(&mut self) -> Result<(Vec<Vec<u8>>, bool), SimError> {
        let (mut buf, mut messages) = (vec![0; RECEIVE_BYTES], Vec::new());
        let mut drain = self.incoming.drain(DrainLimits::NONE);
        let mut more = true;
        while more {
            more = match drain.next_packet(&mut buf).map_err(SimError::HostRing)? {
                Some(packet) => {
                    // Linux ignores what is not a whole pipe message.
                    messages.extend(pipe::unframe(packet.payload).ok().map(<[u8]>::to_vec));
                    true
                }
                None => false,
            };
        }
        let drained = drain.finish();
        Ok((messages, drained.signal_producer))
    }

    /// Writes `bytes` where the next packet would go, and moves the write index behind them.
    pub(crate) fn scribble(&self, bytes: &[u8]) {
        let ring = self.outgoing.memory();
        let at = ring.load(HeaderField::WriteIndex);
        ring.write(at, bytes);
        ring.store(HeaderField::WriteIndex, at.saturating_add(u32::try_from(bytes.len()).unwrap_or(0)));
    }

    /// Sets the write index, to nonsense.
    pub(crate) fn set_write_index(&self, index: u32) {
        self.outgoing.memory().store(HeaderField::WriteIndex, index);
    }
}
