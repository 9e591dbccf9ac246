//! The two pages that a virtual processor shares with its SynIC: message slots (SIMP) and event flags (SIEFP).
//!
//! Sixteen blocks of 256 bytes each, one a SINT (TLFS 11.8 and 11.10). The guest reads and writes them at any
//! moment from another CPU, so the words that hand a slot over are atomics and the rest is copied; no
//! reference into guest memory outlives a call.
//!
//! A guest may point both pages at one another, or at its hypercall page. It corrupts its own data then, and
//! the host notices nothing: every store here stays inside the page that the register names.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

use hv_abi::message::{
    EVENT_FLAGS_SIZE, FLAG_PENDING, MAX_PAYLOAD, SLOT_SIZE, TYPE_CHANNEL, TYPE_NONE, slot,
};
use hv_abi::msr;
use thiserror::Error;
use vm_memory::bitmap::Bitmap;
use vm_memory::{Address, AtomicInteger, Bytes, GuestAddress, GuestMemory, Permissions, VolatileMemory};

use crate::{EventFlag, Payload, Sint};

/// Bytes in a page, and in each of the pages here.
pub const PAGE_SIZE: u64 = 4096;

/// The guest named a page that is not its RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("page of the synthetic interrupt controller at {gpa:#x} is not guest RAM")]
pub struct PageFault {
    /// Address that could not be used.
    pub gpa: u64,
}

/// What became of a message offered to its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The slot holds the message now; raise the SINT's vector.
    Delivered,
    /// The slot holds an earlier message, now flagged "pending": the guest writes EOM when it frees it.
    Busy,
}

/// The page that a SIMP, SIEFP or other page register names; `None` while bit 0 is clear.
pub fn enabled_page(register: u64) -> Option<GuestAddress> {
    (register & msr::ENABLE != 0).then_some(GuestAddress(register & msr::PAGE_MASK))
}

/// All 4096 bytes of `page` are guest RAM.
pub fn check<M: GuestMemory + ?Sized>(memory: &M, page: GuestAddress) -> Result<(), PageFault> {
    let end = page.checked_add(PAGE_SIZE - 1);
    if end.is_some() && memory.check_range(page, PAGE_BYTES, Permissions::ReadWrite) {
        Ok(())
    } else {
        Err(PageFault { gpa: page.0 })
    }
}

/// Fills `page` with zeros: no message, no flag.
///
/// Due when the guest enables the page. KVM's SYNIC2 does not do it, and a stale type word wedges its slot.
pub fn zero<M: GuestMemory + ?Sized>(memory: &M, page: GuestAddress) -> Result<(), PageFault> {
    check(memory, page)?;
    memory.write_slice(&[0; PAGE_BYTES], page).map_err(|_| PageFault { gpa: page.0 })
}

/// Offers `payload` to the slot of `sint` in the message page `simp`, as a message of type 1.
///
/// On an occupied slot the pending flag is set *before* the slot is looked at again, because the guest frees
/// the slot first and reads the flag afterwards (`include/asm-generic/mshyperv.h:vmbus_signal_eom`): one of
/// the two sides always sees the other. Only one host thread may deliver to a slot at a time.
pub fn deliver<M: GuestMemory + ?Sized>(
    memory: &M,
    simp: GuestAddress,
    sint: Sint,
    payload: &Payload,
) -> Result<Delivery, PageFault> {
    let base = block(simp, sint, SLOT_SIZE)?;
    let kind_at = offset(base, slot::TYPE)?;
    let occupied =
        || on_atomic(memory, kind_at, |kind: &AtomicU32| kind.load(Ordering::Acquire) != TYPE_NONE);
    if occupied()? {
        let flags_at = offset(base, slot::FLAGS)?;
        on_atomic(memory, flags_at, |flags: &AtomicU8| flags.fetch_or(FLAG_PENDING, Ordering::SeqCst))?;
        fence(Ordering::SeqCst);
        if occupied()? {
            return Ok(Delivery::Busy);
        }
    }
    // Size, clear flags, reserved, sender zero, payload: everything of the slot but its type.
    let mut body = [0; BODY_BYTES];
    let (header, rest) = body.split_at_mut(HEADER_BYTES);
    if let Some(size) = header.first_mut() {
        *size = payload.size();
    }
    rest.iter_mut().zip(payload.iter()).for_each(|(to, from)| *to = *from);
    let used = body.get(..HEADER_BYTES + payload.len()).unwrap_or(&body);
    let body_at = offset(base, slot::PAYLOAD_SIZE)?;
    memory.write_slice(used, body_at).map_err(|_| PageFault { gpa: body_at.0 })?;
    on_atomic(memory, kind_at, |kind: &AtomicU32| kind.store(TYPE_CHANNEL.to_le(), Ordering::Release))?;
    Ok(Delivery::Delivered)
}

/// Sets `flag` of `sint` in the event flags page `siefp`; true if it was clear, so an interrupt is due.
pub fn set_flag<M: GuestMemory + ?Sized>(
    memory: &M,
    siefp: GuestAddress,
    sint: Sint,
    flag: EventFlag,
) -> Result<bool, PageFault> {
    let word = u64::from(flag.number() / 32) * 4;
    let bit = (1_u32 << (flag.number() % 32)).to_le();
    let at = offset(block(siefp, sint, EVENT_FLAGS_SIZE)?, word)?;
    let before = on_atomic(memory, at, |flags: &AtomicU32| flags.fetch_or(bit, Ordering::SeqCst))?;
    Ok(before & bit == 0)
}

const PAGE_BYTES: usize = 4096;
/// Slot bytes 4 to 15: size, flags, reserved, sender.
const HEADER_BYTES: usize = 12;
const BODY_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD;

fn block(page: GuestAddress, sint: Sint, size: u64) -> Result<GuestAddress, PageFault> {
    offset(page, u64::from(sint.number()) * size)
}

fn offset(base: GuestAddress, bytes: u64) -> Result<GuestAddress, PageFault> {
    base.checked_add(bytes).ok_or(PageFault { gpa: base.0 })
}

/// Runs `access` on the atomic at `at`, and marks it dirty, since atomics bypass the bitmap.
pub(crate) fn on_atomic<M, A, R>(
    memory: &M,
    at: GuestAddress,
    access: impl FnOnce(&A) -> R,
) -> Result<R, PageFault>
where
    M: GuestMemory + ?Sized,
    A: AtomicInteger,
{
    let fault = PageFault { gpa: at.0 };
    let mut slices = memory.get_slices(at, size_of::<A>(), Permissions::ReadWrite).map_err(|_| fault)?;
    let slice = slices.next().ok_or(fault)?.map_err(|_| fault)?;
    let result = access(slice.get_atomic_ref::<A>(0).map_err(|_| fault)?);
    slice.bitmap().mark_dirty(0, size_of::<A>());
    Ok(result)
}

#[cfg(test)]
mod tests;
