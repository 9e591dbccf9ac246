//! The guest's side of a loopback: what a kernel does with its SynIC pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use hv_abi::hypercall::{POST_MESSAGE, SIGNAL_EVENT, post_message};
use hv_abi::message::{
    EVENT_FLAG_COUNT, EVENT_FLAGS_SIZE, FLAG_PENDING, SLOT_SIZE, TYPE_CHANNEL, TYPE_NONE, slot,
};
use hv_abi::{msr, sint};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::LoopbackSynic;
use crate::page::{PAGE_SIZE, PageFault, on_atomic};
use crate::user::{MsrFault, WriteOutcome};
use crate::{Payload, Sint};

/// GUEST_OS_ID of a Linux guest: open source bit, OS type 1 (`include/asm-generic/mshyperv.h`).
const LINUX_OS_ID: u64 = 0x8100_0000_0000_0000;
/// A fast call: input in registers.
const FAST: u64 = 1 << 16;

/// Where a [`LoopbackGuest`] keeps its own pages: one hypercall page, then for each virtual processor a
/// message page, an event flags page and a page to post from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPages {
    base_gpa: u64,
}

impl GuestPages {
    /// Pages from `base_gpa` on, rounded up to a page.
    pub const fn at(base_gpa: u64) -> Self {
        Self { base_gpa: base_gpa.next_multiple_of(PAGE_SIZE) }
    }

    /// Bytes that the pages of `vps` virtual processors take.
    pub const fn bytes(vps: u32) -> u64 {
        (1 + 3 * vps as u64) * PAGE_SIZE
    }

    /// The hypercall page.
    pub const fn hypercall_gpa(self) -> u64 {
        self.base_gpa
    }

    /// The message page (SIMP) of `vp`.
    pub const fn simp_gpa(self, vp: u32) -> u64 {
        self.page(1 + 3 * vp as u64)
    }

    /// The event flags page (SIEFP) of `vp`.
    pub const fn siefp_gpa(self, vp: u32) -> u64 {
        self.page(2 + 3 * vp as u64)
    }

    /// The page that `vp` posts messages from.
    pub const fn post_gpa(self, vp: u32) -> u64 {
        self.page(3 + 3 * vp as u64)
    }

    const fn page(self, index: u64) -> u64 {
        self.base_gpa.saturating_add(index * PAGE_SIZE)
    }
}

/// A message that the guest read and whose slot it freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenMessage {
    /// The payload, as long as the slot's header says.
    pub payload: Payload,
    /// The pending flag was set, so the guest wrote EOM.
    pub pending: bool,
}

/// Virtual processors without instructions: each method is what Linux does at that point.
#[derive(Clone, Debug)]
pub struct LoopbackGuest {
    memory: Arc<GuestMemoryMmap>,
    synic: Arc<LoopbackSynic>,
    pages: GuestPages,
}

impl LoopbackGuest {
    pub(super) fn new(memory: Arc<GuestMemoryMmap>, synic: Arc<LoopbackSynic>, pages: GuestPages) -> Self {
        Self { memory, synic, pages }
    }

    /// Where this guest's pages are.
    pub fn pages(&self) -> GuestPages {
        self.pages
    }

    /// Boots as far as VMBus needs: OS id, hypercall page, and [`Self::enable_vp`] for every VP.
    pub fn enable(&self) -> Result<(), MsrFault> {
        self.write_msr(0, msr::GUEST_OS_ID, LINUX_OS_ID)?;
        self.write_msr(0, msr::HYPERCALL, self.pages.hypercall_gpa() | msr::ENABLE)?;
        (0..self.synic.config().vps).try_for_each(|vp| self.enable_vp(vp))
    }

    /// Message page, event flags page, SINT 2 and SCONTROL of `vp`, in the order of
    /// `drivers/hv/hv.c:hv_synic_enable_regs`.
    pub fn enable_vp(&self, vp: u32) -> Result<(), MsrFault> {
        self.write_msr(vp, msr::SIMP, self.pages.simp_gpa(vp) | msr::ENABLE)?;
        self.write_msr(vp, msr::SIEFP, self.pages.siefp_gpa(vp) | msr::ENABLE)?;
        self.write_msr(vp, msr::SINT0 + u32::from(sint::VMBUS), u64::from(sint::LINUX_VECTOR))?;
        self.write_msr(vp, msr::SCONTROL, msr::ENABLE).map(drop)
    }

    /// Undoes [`Self::enable_vp`], as `hv_synic_disable_regs` does.
    pub fn disable_vp(&self, vp: u32) -> Result<(), MsrFault> {
        self.write_msr(vp, msr::SINT0 + u32::from(sint::VMBUS), sint::RESET_VALUE)?;
        self.write_msr(vp, msr::SIMP, 0)?;
        self.write_msr(vp, msr::SIEFP, 0)?;
        self.write_msr(vp, msr::SCONTROL, 0).map(drop)
    }

    /// RDMSR on `vp`.
    pub fn read_msr(&self, vp: u32, index: u32) -> Result<u64, MsrFault> {
        self.synic.read_msr(vp, index)
    }

    /// WRMSR on `vp`.
    pub fn write_msr(&self, vp: u32, index: u32, value: u64) -> Result<WriteOutcome, MsrFault> {
        self.synic.write_msr(vp, index, value)
    }

    /// HvCallPostMessage from VP 0; the status, which is [`Status`](hv_abi::hypercall::Status) as a number.
    pub fn post(&self, connection_id: u32, payload: &[u8]) -> Result<u16, PageFault> {
        self.post_from(0, connection_id, payload)
    }

    /// HvCallPostMessage from `vp`. A payload above 240 bytes is cut, and its true size is claimed.
    pub fn post_from(&self, vp: u32, connection_id: u32, payload: &[u8]) -> Result<u16, PageFault> {
        let gpa = self.pages.post_gpa(vp);
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut block = [0; post_message::SIZE];
        let mut put = |at: usize, bytes: &[u8]| {
            block.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(post_message::CONNECTION_ID, &connection_id.to_le_bytes());
        put(post_message::MESSAGE_TYPE, &TYPE_CHANNEL.to_le_bytes());
        put(post_message::PAYLOAD_SIZE, &size.to_le_bytes());
        put(post_message::PAYLOAD, payload);
        self.memory.write_slice(&block, GuestAddress(gpa)).map_err(|_| PageFault { gpa })?;
        Ok(status_of(self.hypercall(u64::from(POST_MESSAGE), gpa, 0)))
    }

    /// HvCallSignalEvent, fast; the status.
    pub fn signal(&self, connection_id: u32) -> u16 {
        status_of(self.hypercall(FAST | u64::from(SIGNAL_EVENT), u64::from(connection_id), 0))
    }

    /// A hypercall with the given RCX, RDX and R8; RAX.
    pub fn hypercall(&self, control: u64, rdx: u64, r8: u64) -> u64 {
        self.synic.hypercall(control, rdx, r8)
    }

    /// Reads the message of SINT `sint` on `vp`, frees the slot, and writes EOM if the pending flag was set
    /// (`vmbus_signal_eom`). `None` when the slot is free.
    pub fn take_message(&self, vp: u32, sint: Sint) -> Result<Option<TakenMessage>, PageFault> {
        let page = self.pages.simp_gpa(vp);
        let base = page + SLOT_SIZE * u64::from(sint.number());
        let kind_at = GuestAddress(base + slot::TYPE);
        let kind = on_atomic(&*self.memory, kind_at, |kind: &AtomicU32| kind.load(Ordering::Acquire))?;
        if kind == TYPE_NONE {
            return Ok(None);
        }
        let size_at = GuestAddress(base + slot::PAYLOAD_SIZE);
        let size = on_atomic(&*self.memory, size_at, |size: &AtomicU8| size.load(Ordering::Relaxed))?;
        let fault = PageFault { gpa: page };
        let mut bytes = vec![0; usize::from(size)];
        self.memory.read_slice(&mut bytes, GuestAddress(base + slot::PAYLOAD)).map_err(|_| fault)?;
        let payload = Payload::try_from(&bytes[..]).map_err(|_| fault)?;

        on_atomic(&*self.memory, kind_at, |slot: &AtomicU32| {
            slot.compare_exchange(kind, TYPE_NONE, Ordering::SeqCst, Ordering::SeqCst)
        })?
        .ok();
        let flags_at = GuestAddress(base + slot::FLAGS);
        let flags = on_atomic(&*self.memory, flags_at, |flags: &AtomicU8| flags.load(Ordering::SeqCst))?;
        let pending = flags & FLAG_PENDING != 0;
        if pending {
            self.write_msr(vp, msr::EOM, 0).map_err(|_| fault)?;
        }
        Ok(Some(TakenMessage { payload, pending }))
    }

    /// Frees the slot of `sint` on `vp` without looking at it and without EOM, as a crashing Linux does.
    pub fn free_slot(&self, vp: u32, sint: Sint) -> Result<(), PageFault> {
        let base = self.pages.simp_gpa(vp) + SLOT_SIZE * u64::from(sint.number());
        let kind_at = GuestAddress(base + slot::TYPE);
        on_atomic(&*self.memory, kind_at, |kind: &AtomicU32| kind.store(TYPE_NONE, Ordering::Release))
    }

    /// Tests and clears every event flag of `sint` on `vp`, as the interrupt handler does
    /// (`vmbus_chan_sched`); those that were set, ascending.
    pub fn take_flags(&self, vp: u32, sint: Sint) -> Result<Vec<u16>, PageFault> {
        let base = self.pages.siefp_gpa(vp) + EVENT_FLAGS_SIZE * u64::from(sint.number());
        let mut taken = Vec::new();
        for word in 0..EVENT_FLAG_COUNT / 32 {
            let at = GuestAddress(base + u64::from(word) * 4);
            let flags = on_atomic(&*self.memory, at, |flags: &AtomicU32| flags.swap(0, Ordering::SeqCst))?;
            let flags = u32::from_le(flags);
            taken.extend((0..32).filter(|bit| flags & (1 << bit) != 0).map(|bit| word * 32 + bit));
        }
        Ok(taken)
    }
}

/// Status in bits 15:0 of a result word.
fn status_of(result: u64) -> u16 {
    let [low, high, ..] = result.to_le_bytes();
    u16::from_le_bytes([low, high])
}
