//! The consuming end of a ring.

use super::fault::{OpenFault, RingFault};
use super::layout::{
    ALIGN, FEATURE_PENDING_SEND_SIZE, HeaderField, MAX_DATA_BYTES, MIN_DATA_BYTES, MIN_PACKET, advance,
    index_valid, used,
};
use super::memory::RingMem;
use crate::packet::{DESCRIPTOR_SIZE, Descriptor, PacketKind, TRAILER_SIZE};

/// The end of a ring that reads; the host's of the guest-to-host ring.
#[derive(Debug)]
pub struct InRing<M> {
    mem: M,
    data_len: u32,
    /// Ours; the shared copy is for the producer.
    read: u32,
    /// Last checked write index. What lies before it can be read without another load.
    write: u32,
    fault: Option<RingFault>,
}

/// A packet whose payload was copied into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPacket<'b> {
    /// What it carries.
    pub kind: PacketKind,
    /// Flags of the descriptor, see [`crate::packet::FLAG_COMPLETION_REQUESTED`].
    pub flags: u16,
    /// Repeated in a completion.
    pub transaction_id: u64,
    /// Payload with its padding; page lists between descriptor and payload are left out.
    pub payload: &'b [u8],
}

/// How much one [`Drain`] may hand out before it gives others a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainLimits {
    /// Packets.
    pub packets: u32,
    /// Bytes of ring, descriptors and trailers included; the packet that crosses it is still handed out.
    pub bytes: u32,
}

impl DrainLimits {
    /// No limit, for tests and for a ring whose producer is trusted.
    pub const NONE: Self = Self { packets: u32::MAX, bytes: u32::MAX };
}

impl Default for DrainLimits {
    /// 256 packets or 64 KiB: a full video ring takes about sixteen turns.
    fn default() -> Self {
        Self { packets: 256, bytes: 64 << 10 }
    }
}

/// What a drain did, and what the caller owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Packets handed out.
    pub packets: u32,
    /// Bytes of ring consumed.
    pub bytes: u32,
    /// A limit ended it. The producer will not signal what is left, so ring your own doorbell.
    pub more: bool,
    /// The producer waited for space and now has it: signal it.
    pub signal_producer: bool,
}

impl<M: RingMem> InRing<M> {
    /// Takes over a ring as its producer left it; at OPENCHANNEL, not before, since Linux fills in the header
    /// after the GPADL was created (`drivers/hv/channel.c:__vmbus_open`).
    ///
    /// # Errors
    /// [`OpenFault`]: refuse the open.
    pub fn open(mem: M) -> Result<Self, OpenFault> {
        let data_len = checked_data_len(&mem)?;
        let read = open_index(&mem, HeaderField::ReadIndex, data_len)?;
        let _ = open_index(&mem, HeaderField::WriteIndex, data_len)?;
        Ok(Self { mem, data_len, read, write: read, fault: None })
    }

    /// Starts to read: masks the producer's signals until the drain ends.
    pub fn drain(&mut self, limits: DrainLimits) -> Drain<'_, M> {
        self.mem.store(HeaderField::InterruptMask, 1);
        let committed = self.read;
        Drain { ring: self, limits, committed, unmasked: false, done: Drained::default() }
    }

    /// Whether the producer finds room for one more in-band packet of `payload_bytes` now, by the rule of Linux: at least
    /// one byte stays free (`drivers/hv/ring_buffer.c:hv_ringbuffer_write`).
    ///
    /// An index that makes no sense counts as room; the next [`Drain`] finds it.
    #[must_use]
    pub fn has_room_for(&self, payload_bytes: u32) -> bool {
        let write = self.mem.load(HeaderField::WriteIndex);
        let needed = u64::from(payload_bytes).next_multiple_of(u64::from(ALIGN))
            + u64::from(DESCRIPTOR_SIZE)
            + u64::from(TRAILER_SIZE);
        !index_valid(write, self.data_len)
            || u64::from(self.data_len - used(write, self.read, self.data_len)) > needed
    }

    /// The memory below.
    pub const fn memory(&self) -> &M {
        &self.mem
    }

    /// The fault that ended this ring, if one did.
    pub const fn fault(&self) -> Option<RingFault> {
        self.fault
    }

    /// Loads and checks the write index; true if there is something to read.
    #[inline]
    fn refresh(&mut self) -> Result<bool, RingFault> {
        let index = self.mem.load(HeaderField::WriteIndex);
        if !index_valid(index, self.data_len) {
            let fault = RingFault::Index { field: HeaderField::WriteIndex, index, data_len: self.data_len };
            return Err(self.poison(fault));
        }
        self.write = index;
        Ok(index != self.read)
    }

    #[cold]
    const fn poison(&mut self, fault: RingFault) -> RingFault {
        self.fault = Some(fault);
        fault
    }

    /// Copies the packet at the read index; there is at least one byte. Returns its ring length.
    #[inline]
    fn take<'b>(&mut self, buf: &'b mut [u8]) -> Result<(InPacket<'b>, u32), RingFault> {
        let offset = self.read;
        let available = used(self.write, offset, self.data_len);
        if available < MIN_PACKET {
            return Err(self.poison(RingFault::Fragment { offset, available }));
        }
        let mut descriptor = [[0; 8]; 2];
        self.copy_out(offset, descriptor.as_flattened_mut());
        let descriptor = Descriptor::from_wire(descriptor);
        let len = u32::from(descriptor.len8) * ALIGN;
        if len < DESCRIPTOR_SIZE || len > available - TRAILER_SIZE {
            return Err(self.poison(RingFault::Length { offset, len, available }));
        }
        let payload_offset = u32::from(descriptor.offset8) * ALIGN;
        if payload_offset < DESCRIPTOR_SIZE || payload_offset > len {
            return Err(self.poison(RingFault::PayloadOffset { offset, payload_offset, len }));
        }
        let payload_len = len - payload_offset;
        let limit = buf.len();
        let Some(payload) = buf.get_mut(..payload_len as usize) else {
            return Err(self.poison(RingFault::TooLong { offset, len: payload_len, limit }));
        };
        self.copy_out(advance(offset, payload_offset, self.data_len), payload);
        let taken = len + TRAILER_SIZE;
        self.read = advance(offset, taken, self.data_len);
        let packet = InPacket {
            kind: descriptor.kind,
            flags: descriptor.flags,
            transaction_id: descriptor.transaction_id,
            payload,
        };
        Ok((packet, taken))
    }

    /// Reads `buf.len()` bytes, at most the ring's, from `offset` on, across the wrap. Always inlined,
    /// because a descriptor has a constant length.
    #[inline(always)]
    fn copy_out(&self, offset: u32, buf: &mut [u8]) {
        if buf.len() <= (self.data_len - offset) as usize {
            self.mem.read(offset, buf);
        } else {
            self.copy_out_around(offset, buf);
        }
    }

    #[cold]
    fn copy_out_around(&self, offset: u32, buf: &mut [u8]) {
        if let Some((head, tail)) = buf.split_at_mut_checked((self.data_len - offset) as usize) {
            self.mem.read(offset, head);
            self.mem.read(0, tail);
        }
    }
}

/// Reading in progress; interrupts are masked until it is finished or dropped.
///
/// *Guest-visible effect*: the read index moves when the ring runs empty, at a limit, and at the end.
/// A drain that is dropped commits and unmasks too, but nobody learns whom to signal: [`Self::finish`] is for
/// rings that go on, dropping is for rings that are closed.
#[derive(Debug)]
#[must_use]
pub struct Drain<'a, M: RingMem> {
    ring: &'a mut InRing<M>,
    limits: DrainLimits,
    committed: u32,
    unmasked: bool,
    done: Drained,
}

impl<M: RingMem> Drain<'_, M> {
    /// The next packet, its payload copied into `buf`; `None` when the ring is empty, even after another look
    /// with signals enabled, or when a limit is hit ([`Drained::more`]).
    ///
    /// `buf` sets the largest payload that this channel takes.
    ///
    /// # Errors
    /// [`RingFault`]: close the channel. Every later call returns the same fault.
    #[inline]
    pub fn next_packet<'b>(&mut self, buf: &'b mut [u8]) -> Result<Option<InPacket<'b>>, RingFault> {
        if let Some(fault) = self.ring.fault {
            return Err(fault);
        }
        if self.ring.read == self.ring.write && !self.wait_over()? {
            return Ok(None);
        }
        if self.done.packets >= self.limits.packets || self.done.bytes >= self.limits.bytes {
            self.done.more = true;
            return Ok(None);
        }
        let (packet, taken) = self.ring.take(buf)?;
        self.done.packets += 1;
        self.done.bytes = self.done.bytes.saturating_add(taken);
        Ok(Some(packet))
    }

    /// Commits and unmasks. With [`Drained::more`], also after a caller stopped early, the mask stays set,
    /// since the caller comes back anyway.
    pub fn finish(mut self) -> Drained {
        self.commit();
        if !self.done.more && !self.unmasked {
            self.unmask();
            // Nobody looked since: the caller may have left packets, and more may have come under the mask.
            self.done.more = self.ring.fault.is_none() && self.ring.refresh().unwrap_or(false);
            if self.done.more {
                self.mask();
            }
        }
        // Drop must not unmask.
        self.unmasked = true;
        self.done
    }

    /// At the last known packet: true if there are more. Else the ring is left committed and unmasked.
    fn wait_over(&mut self) -> Result<bool, RingFault> {
        if self.ring.refresh()? {
            self.mask();
            return Ok(true);
        }
        self.commit();
        self.unmask();
        // A packet may have come between the look and the unmasking; its producer saw the mask and did not
        // ring.
        if !self.ring.refresh()? {
            return Ok(false);
        }
        self.mask();
        Ok(true)
    }

    /// Publishes the read index, and finds out whether that gave a waiting producer its space
    /// (`drivers/hv/ring_buffer.c:hv_pkt_iter_close` is the same rule from the guest's side).
    fn commit(&mut self) {
        let ring = &mut *self.ring;
        if self.committed == ring.read {
            return;
        }
        let freed = used(ring.read, self.committed, ring.data_len);
        // The producer sets its pending size and then looks at the read index; this is the other way round.
        ring.mem.store(HeaderField::ReadIndex, ring.read);
        ring.mem.fence();
        self.committed = ring.read;
        if ring.mem.load(HeaderField::Features) & FEATURE_PENDING_SEND_SIZE == 0 {
            return;
        }
        let pending = ring.mem.load(HeaderField::PendingSendSize);
        if pending == 0 {
            return;
        }
        let write = ring.mem.load(HeaderField::WriteIndex);
        if !index_valid(write, ring.data_len) {
            return;
        }
        let free = ring.data_len - used(write, ring.read, ring.data_len);
        if free > pending && free.saturating_sub(freed) <= pending {
            self.done.signal_producer = true;
        }
    }

    fn mask(&mut self) {
        if self.unmasked {
            self.ring.mem.store(HeaderField::InterruptMask, 1);
            self.unmasked = false;
        }
    }

    fn unmask(&mut self) {
        if !self.unmasked {
            self.ring.mem.store(HeaderField::InterruptMask, 0);
            self.ring.mem.fence();
            self.unmasked = true;
        }
    }
}

impl<M: RingMem> Drop for Drain<'_, M> {
    fn drop(&mut self) {
        self.commit();
        self.unmask();
    }
}

/// `data_len` of a memory, if a ring can have it.
pub(super) fn checked_data_len<M: RingMem>(mem: &M) -> Result<u32, OpenFault> {
    let data_len = mem.data_len();
    if (MIN_DATA_BYTES..=MAX_DATA_BYTES).contains(&data_len) && data_len.is_multiple_of(MIN_DATA_BYTES) {
        Ok(data_len)
    } else {
        Err(OpenFault::Size { data_len })
    }
}

/// An index at the time of opening.
pub(super) fn open_index<M: RingMem>(mem: &M, field: HeaderField, data_len: u32) -> Result<u32, OpenFault> {
    let index = mem.load(field);
    if index_valid(index, data_len) { Ok(index) } else { Err(OpenFault::Index { field, index, data_len }) }
}
