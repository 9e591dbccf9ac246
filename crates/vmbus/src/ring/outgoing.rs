//! The producing end of a ring.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::fault::{OpenFault, RingFault, WriteError};
use super::incoming::{checked_data_len, open_index};
use super::layout::{ALIGN, HeaderField, advance, index_valid, padded, used};
use super::memory::RingMem;
use crate::packet::{DESCRIPTOR_SIZE, Descriptor, FLAG_COMPLETION_REQUESTED, PacketKind, TRAILER_SIZE};

/// Largest packet, with its descriptor, that a Linux guest takes. It truncates longer ones and from then on reads
/// in the wrong place (`drivers/hv/ring_buffer.c:hv_pkt_iter_first`, `VMBUS_DEFAULT_MAX_PKT_SIZE`).
pub const MAX_PACKET_TO_GUEST: u32 = 4096;

/// The end of a ring that writes; the host's of the host-to-guest ring.
#[derive(Debug)]
pub struct OutRing<M> {
    mem: M,
    data_len: u32,
    max_packet: u32,
    /// Ours; the shared copy is for the consumer.
    write: u32,
    /// Last checked read index: there is at least as much space as it says.
    read: u32,
    /// What the header's pending send size says.
    pending: u32,
    fault: Option<RingFault>,
}

/// A packet to write; its payload is the concatenation of the parts.
#[derive(Clone, Copy, Debug)]
pub struct OutPacket<'p> {
    /// What it carries.
    pub kind: PacketKind,
    /// Flags of the descriptor.
    pub flags: u16,
    /// For the answer, if there is one.
    pub transaction_id: u64,
    /// Payload, such as pipe header and message.
    pub parts: &'p [&'p [u8]],
}

impl<'p> OutPacket<'p> {
    /// An in-band packet that wants no completion, as all packets of a synthetic device are.
    #[must_use]
    pub const fn in_band(parts: &'p [&'p [u8]]) -> Self {
        Self { kind: PacketKind::InBand, flags: 0, transaction_id: 0, parts }
    }

    /// The same packet, asking for a completion.
    #[must_use]
    pub const fn with_completion(self, transaction_id: u64) -> Self {
        Self { flags: self.flags | FLAG_COMPLETION_REQUESTED, transaction_id, ..self }
    }
}

/// A written packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// The ring was empty and the consumer wants signals: signal it.
    pub signal: bool,
}

impl<M: RingMem> OutRing<M> {
    /// Takes over a ring as its owner set it up. Packets are limited to [`MAX_PACKET_TO_GUEST`].
    ///
    /// # Errors
    /// [`OpenFault`]: refuse the open.
    pub fn open(mem: M) -> Result<Self, OpenFault> {
        let data_len = checked_data_len(&mem)?;
        let write = open_index(&mem, HeaderField::WriteIndex, data_len)?;
        let read = open_index(&mem, HeaderField::ReadIndex, data_len)?;
        Ok(Self { mem, data_len, max_packet: MAX_PACKET_TO_GUEST, write, read, pending: 0, fault: None })
    }

    /// Sets the largest packet with its descriptor, for a guest's end: hosts take longer packets than guests.
    #[must_use]
    pub const fn with_max_packet(mut self, bytes: u32) -> Self {
        self.max_packet = bytes;
        self
    }

    /// Writes one packet, whole or not at all.
    ///
    /// # Errors
    /// [`WriteError::Full`] leaves the pending send size set, so that the consumer signals once there is space;
    /// [`WriteError::TooLong`] is our mistake; [`WriteError::Corrupt`] means: close the channel.
    #[inline]
    pub fn write(&mut self, packet: &OutPacket<'_>) -> Result<Sent, WriteError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let payload_len = packet.parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let (len, len8) = self.packet_len(payload_len)?;
        let needed = len + TRAILER_SIZE;
        if self.free() <= needed {
            self.make_room(needed)?;
        }

        let start = self.write;
        let descriptor = Descriptor {
            kind: U16::new(packet.kind.wire()),
            offset8: U16::new(2),
            len8: U16::new(len8),
            flags: U16::new(packet.flags),
            transaction_id: U64::new(packet.transaction_id),
        };
        let mut at = self.copy_in(start, descriptor.as_bytes());
        for part in packet.parts {
            at = self.copy_in(at, part);
        }
        // Padding and trailer in one piece.
        let mut end = [0; 16];
        let padding = (len - DESCRIPTOR_SIZE) as usize - payload_len;
        let end = &mut end[..padding + TRAILER_SIZE as usize];
        if let Some(bytes) = end.last_chunk_mut::<4>() {
            *bytes = start.to_le_bytes();
        }
        self.write = self.copy_in(at, end);
        self.mem.store(HeaderField::WriteIndex, self.write);
        if self.pending != 0 {
            self.pending = 0;
            self.mem.store(HeaderField::PendingSendSize, 0);
        }
        Ok(Sent { signal: self.signal_needed(start) })
    }

    /// Bytes that can still be written, counting only what the consumer is known to have read.
    #[inline]
    pub const fn free(&self) -> u32 {
        self.data_len - used(self.write, self.read, self.data_len)
    }

    /// The memory below.
    pub const fn memory(&self) -> &M {
        &self.mem
    }

    /// The fault that ended this ring, if one did.
    pub const fn fault(&self) -> Option<RingFault> {
        self.fault
    }

    /// Descriptor and padded payload in bytes and in eight-byte units.
    #[inline]
    fn packet_len(&self, payload_len: usize) -> Result<(u32, u16), WriteError> {
        // A packet and its trailer must leave eight bytes of the ring free.
        let limit = self.max_packet.min(u32::from(u16::MAX) * ALIGN).min(self.data_len - 2 * TRAILER_SIZE);
        let limit = limit & !(ALIGN - 1);
        let too_long =
            WriteError::TooLong { len: payload_len.saturating_add(DESCRIPTOR_SIZE as usize), limit };
        let len = u32::try_from(payload_len).map_err(|_| too_long)?;
        if len > limit.saturating_sub(DESCRIPTOR_SIZE) {
            return Err(too_long);
        }
        let len = padded(len) + DESCRIPTOR_SIZE;
        let len8 = u16::try_from(len / ALIGN).map_err(|_| too_long)?;
        Ok((len, len8))
    }

    /// Looks at the read index; if that does not help, asks for a signal and looks again.
    #[cold]
    fn make_room(&mut self, needed: u32) -> Result<(), WriteError> {
        self.refresh()?;
        if self.free() > needed {
            return Ok(());
        }
        self.pending = needed;
        self.mem.store(HeaderField::PendingSendSize, needed);
        // The consumer may have read on before it could see the pending size; then it will not signal.
        self.mem.fence();
        self.refresh()?;
        let free = self.free();
        if free > needed { Ok(()) } else { Err(WriteError::Full { needed, free }) }
    }

    fn refresh(&mut self) -> Result<(), RingFault> {
        let index = self.mem.load(HeaderField::ReadIndex);
        if !index_valid(index, self.data_len) {
            let fault = RingFault::Index { field: HeaderField::ReadIndex, index, data_len: self.data_len };
            self.fault = Some(fault);
            return Err(fault);
        }
        self.read = index;
        Ok(())
    }

    /// Whether the consumer must be told (`drivers/hv/ring_buffer.c:hv_signal_on_write` is the guest's copy of
    /// the rule). A nonsense read index costs the consumer its signal; the next full ring finds it.
    #[inline]
    fn signal_needed(&self, start: u32) -> bool {
        self.mem.fence();
        self.mem.load(HeaderField::InterruptMask) == 0 && self.mem.load(HeaderField::ReadIndex) == start
    }

    /// Writes at `offset` across the wrap; returns the offset behind.
    #[inline]
    fn copy_in(&self, offset: u32, bytes: &[u8]) -> u32 {
        let to_end = (self.data_len - offset) as usize;
        match bytes.split_at_checked(to_end) {
            None => self.mem.write(offset, bytes),
            Some((head, tail)) => {
                self.mem.write(offset, head);
                self.mem.write(0, tail);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "no piece is longer than the ring")]
        let len = bytes.len() as u32;
        advance(offset, len, self.data_len)
    }
}
