//! The two ring buffers of a channel.
//!
//! Each ring is one header page {write index, read index, interrupt mask, pending send size, features} and
//! data pages. Only the producer writes the write index and the pending send size, only the consumer the read
//! index and the mask. A ring never fills completely, so equal indices mean empty.
//!
//! An end keeps its own index privately and never reads it back from shared memory; the other end's index is
//! checked each time it is loaded. Both ends of a ring are here: the host reads with [`InRing`] what the
//! guest writes with [`OutRing`], and the other way round.
//!
//! Signals are edges: the producer rings only if the ring was empty before its packet and the mask is clear.
//! So a consumer must drain to empty and look again after it cleared the mask; [`Drain`] does.

mod fault;
mod incoming;
mod layout;
mod memory;
mod outgoing;
#[cfg(test)]
mod tests;

pub use fault::{OpenFault, RingFault, WriteError};
pub use incoming::{Drain, DrainLimits, Drained, InPacket, InRing};
pub use layout::{HeaderField, MAX_DATA_BYTES, MIN_DATA_BYTES, ring_data_bytes};
pub use memory::{HeapRing, RingMem};
pub use outgoing::{MAX_PACKET_TO_GUEST, OutPacket, OutRing, Sent};
