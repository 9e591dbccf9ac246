//! The producing end of a ring.

use super::fault::{OpenFault, RingFault, WriteError};
use super::incoming::{checked_data_len, open_index};
use super::layout::{ALIGN, HeaderField, index_valid, padded, used};
use super::memory::RingMem;
use crate::packet::{DESCRIPTOR_SIZE, Descriptor, FLAG_COMPLETION_REQUESTED, PacketKind, TRAILER_SIZE};

/// Largest packet, with its descriptor, that a Linux guest takes. It truncates longer ones and from then on
/// reads in the wrong place (`drivers/hv/ring_buffer.c:hv_pkt_iter_first`, `VMBUS_DEFAULT_MAX_PKT_SIZE`).
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
    /// [`WriteError::Full`] leaves the pending send size set, so that the consumer signals once there is
    /// space; [`WriteError::TooLong`] is our mistake; [`WriteError::Corrupt`] means: close the channel.
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
            kind: packet.kind,
            offset8: 2,
            len8,
            flags: packet.flags,
            transaction_id: packet.transaction_id,
        };
        let at = self.copy_in(start, descriptor.to_wire().as_flattened());
        let at = self.copy_payload(at, packet.parts);
        self.write = self.copy_in(at, &(u64::from(start) << 32).to_le_bytes());
        if self.pending != 0 {
            self.pending = 0;
            self.mem.store(HeaderField::PendingSendSize, 0);
        }
        self.mem.store(HeaderField::WriteIndex, self.write);
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

    /// Whether the consumer must be told of the packet that was just published
    /// (`drivers/hv/ring_buffer.c:hv_signal_on_write` is the guest's copy of the rule). A nonsense read index
    /// costs the consumer its signal; the next full ring finds it.
    #[inline]
    fn signal_needed(&self, start: u32) -> bool {
        self.mem.fence();
        self.mem.load(HeaderField::InterruptMask) == 0 && self.mem.load(HeaderField::ReadIndex) == start
    }

    /// Writes the parts one behind the other, padded; returns the offset behind. Only whole words go to the
    /// ring: the odd bytes at the end of a part wait for the next part.
    #[inline]
    fn copy_payload(&self, mut at: u32, parts: &[&[u8]]) -> u32 {
        let mut word = 0;
        let mut odd = 0;
        for part in parts {
            if odd == 0 {
                let words = part.as_chunks::<{ ALIGN as usize }>().0.as_flattened();
                at = self.copy_in(at, words);
                odd = part.len() - words.len();
                word = odd_bytes(part, odd);
                continue;
            }
            for byte in *part {
                word |= u64::from(*byte) << (8 * odd);
                odd += 1;
                if odd == ALIGN as usize {
                    at = self.copy_in(at, &word.to_le_bytes());
                    (word, odd) = (0, 0);
                }
            }
        }
        if odd != 0 {
            at = self.copy_in(at, &word.to_le_bytes());
        }
        at
    }

    /// Writes at `offset` across the wrap; returns the offset behind. Always inlined, because most pieces
    /// have a constant length: that halves the time of a small packet.
    #[inline(always)]
    fn copy_in(&self, offset: u32, bytes: &[u8]) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "no piece is longer than the ring")]
        let end = offset + bytes.len() as u32;
        if end <= self.data_len {
            self.mem.write(offset, bytes);
        } else {
            self.copy_in_around(offset, bytes);
        }
        if end >= self.data_len { end - self.data_len } else { end }
    }

    #[cold]
    fn copy_in_around(&self, offset: u32, bytes: &[u8]) {
        if let Some((head, tail)) = bytes.split_at_checked((self.data_len - offset) as usize) {
            self.mem.write(offset, head);
            self.mem.write(0, tail);
        }
    }
}

/// The last `odd` bytes, fewer than eight, as the low bytes of a word.
#[inline]
fn odd_bytes(part: &[u8], odd: usize) -> u64 {
    if odd == 0 {
        return 0;
    }
    if let Some(last) = part.last_chunk() {
        return u64::from_le_bytes(*last) >> (64 - 8 * odd);
    }
    part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
