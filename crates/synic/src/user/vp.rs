//! The SynIC registers of one virtual processor, and delivery to it.

use hv_abi::msr::ENABLE;
use hv_abi::sint::{self, SintRegister};
use vm_memory::{GuestAddress, GuestMemory};

use crate::page::{self, PageFault};
use crate::queue::VpQueues;
use crate::{InterruptSink, Sint, SynicStats};

/// Lowest vector a SINT may have: below are exceptions.
pub(super) const FIRST_VECTOR: u8 = 16;
const _: () = assert!(sint::COUNT == 16, "a u16 has one bit a SINT");

/// State of one virtual processor; its owner keeps it behind a lock.
#[derive(Debug)]
pub(super) struct VpState {
    vp: u32,
    pub(super) scontrol: u64,
    pub(super) assist: u64,
    siefp: u64,
    simp: u64,
    sints: [u64; sint::COUNT],
    pub(super) queues: VpQueues,
    /// SINTs whose vector was due while they were masked or the APIC refused it, one bit each.
    owed: u16,
}

impl VpState {
    pub(super) fn new(vp: u32, queue_limit: usize) -> Self {
        Self {
            vp,
            // KVM's reset value; a guest that reads, sets and writes bit 0 works with either.
            scontrol: ENABLE,
            assist: 0,
            siefp: 0,
            simp: 0,
            sints: [sint::RESET_VALUE; sint::COUNT],
            queues: VpQueues::new(vp, queue_limit),
            owed: 0,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.vp
    }

    pub(super) fn siefp(&self) -> u64 {
        self.siefp
    }

    pub(super) fn simp(&self) -> u64 {
        self.simp
    }

    pub(super) fn sint(&self, sint: Sint) -> u64 {
        self.sints.get(sint.index()).copied().unwrap_or(sint::RESET_VALUE)
    }

    /// A page that becomes enabled, or moves, is zeroed first.
    pub(super) fn set_siefp<M>(&mut self, memory: &M, value: u64) -> Result<(), PageFault>
    where
        M: GuestMemory + ?Sized,
    {
        zero_if_new(memory, self.siefp, value)?;
        self.siefp = value;
        Ok(())
    }

    /// As [`Self::set_siefp`], for the message page.
    pub(super) fn set_simp<M>(&mut self, memory: &M, value: u64) -> Result<(), PageFault>
    where
        M: GuestMemory + ?Sized,
    {
        zero_if_new(memory, self.simp, value)?;
        self.simp = value;
        Ok(())
    }

    pub(super) fn set_sint(&mut self, sint: Sint, value: u64) {
        if let Some(register) = self.sints.get_mut(sint.index()) {
            *register = value;
        }
    }

    /// The event flags page, if the guest has the SynIC and the page enabled.
    pub(super) fn event_page(&self) -> Option<GuestAddress> {
        self.is_enabled().then(|| page::enabled_page(self.siefp)).flatten()
    }

    /// Something waits for this guest: a message, or an interrupt that would be taken if raised again.
    pub(super) fn is_waiting(&self) -> bool {
        self.queues.any_waiting() || Sint::all().any(|sint| self.owes(sint) && self.may_interrupt(sint))
    }

    /// Delivers what waits for any SINT, and raises what is owed.
    pub(super) fn settle<M, I>(&mut self, memory: &M, sink: &I, stats: &SynicStats)
    where
        M: GuestMemory + ?Sized,
        I: InterruptSink,
    {
        for sint in Sint::all() {
            if self.owes(sint) {
                self.raise(sink, stats, sint);
            }
            if self.queues.is_waiting(sint) {
                self.deliver(memory, sink, stats, sint);
            }
        }
    }

    /// Delivers what waits for `sint`, if the guest is ready: SynIC and message page enabled, SINT unmasked.
    pub(super) fn deliver<M, I>(&mut self, memory: &M, sink: &I, stats: &SynicStats, sint: Sint)
    where
        M: GuestMemory + ?Sized,
        I: InterruptSink,
    {
        let masked = SintRegister::from(self.sint(sint)).masked;
        let Some(simp) = self.message_page().filter(|_| !masked) else { return };
        // A page that stopped being RAM is counted by the queue; the message waits for a better page.
        if self.queues.deliver(memory, simp, sint, stats) == Ok(true) {
            self.raise(sink, stats, sint);
        }
    }

    /// Raises the vector of `sint`, or remembers that it is owed.
    pub(super) fn raise<I: InterruptSink>(&mut self, sink: &I, stats: &SynicStats, sint: Sint) {
        let register = SintRegister::from(self.sint(sint));
        let bit = 1 << sint.number();
        if register.masked || !self.is_enabled() {
            self.owed |= bit;
            return;
        }
        if register.polling {
            self.owed &= !bit;
            return;
        }
        match sink.raise(self.vp, register.vector) {
            Ok(true) => {
                self.owed &= !bit;
                stats.interrupts.increment();
            }
            Ok(false) => {
                self.owed |= bit;
                stats.interrupts_refused.increment();
            }
            Err(error) => {
                // Logged at its first occurrence only: a retry timer would repeat it for ever.
                if self.owed & bit == 0 {
                    tracing::warn!(%error, "interrupt of a SINT not raised, it will be tried again");
                }
                self.owed |= bit;
                stats.interrupts_refused.increment();
            }
        }
    }

    fn message_page(&self) -> Option<GuestAddress> {
        self.is_enabled().then(|| page::enabled_page(self.simp)).flatten()
    }

    fn owes(&self, sint: Sint) -> bool {
        self.owed & (1 << sint.number()) != 0
    }

    fn may_interrupt(&self, sint: Sint) -> bool {
        let register = SintRegister::from(self.sint(sint));
        self.is_enabled() && !register.masked && !register.polling
    }

    fn is_enabled(&self) -> bool {
        self.scontrol & ENABLE != 0
    }
}

fn zero_if_new<M>(memory: &M, old: u64, new: u64) -> Result<(), PageFault>
where
    M: GuestMemory + ?Sized,
{
    match page::enabled_page(new) {
        Some(gpa) if page::enabled_page(old) != Some(gpa) => page::zero(memory, gpa),
        _ => Ok(()),
    }
}
