//! A SynIC outside the kernel: the registers, the hypercall entry and the delivery of one guest.
//!
//! The embedder traps the MSRs 0x40000000 to 0x400001ff and the hypercall page of its making, and calls
//! [`UserSynic::read_msr`], [`UserSynic::write_msr`] and [`UserSynic::hypercall`] from the thread of the
//! virtual processor (VP) that exited. Each VP's registers and queues are behind a lock of their own; posts,
//! signals and exits for different VPs never wait for each other, but for two things that a guest has once: the
//! inbox while a posted message is put into it, and GUEST_OS_ID and HYPERCALL while they are read or written.
//!
//! AutoEOI does not exist here: only the local APIC could clear its in-service bit. [`crate::cpuid`]
//! therefore recommends against it, and a guest that asks for it regardless gets #GP, because the
//! alternative is one interrupt and then silence.

mod crash;
mod msr;
mod overlay;
mod vp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hv_abi::hypercall::Status;
use thiserror::Error;
use vm_memory::GuestAddressSpace;
use vmm_sys_util::eventfd::EventFd;

pub use self::crash::CrashReport;
pub use self::msr::{MsrFault, WriteOutcome};

use self::crash::CrashRegisters;
use self::overlay::HypercallPage;
use self::vp::VpState;
use crate::hypercall::{Connections, result};
use crate::page::{self, PAGE_SIZE};
use crate::queue::DEFAULT_LIMIT;
use crate::{
    DoorbellError, Doorbells, EventFlag, GuestSignal, InterruptSink, Payload, SignalError, Sint, SynicStats,
};

/// VPs a guest may have: interrupts reach eight-bit APIC ids only, of which 0xff is broadcast.
pub const MAX_VPS: u32 = 255;
/// Input clock of KVM's local APIC timer in Hz, before the divider.
pub const KVM_APIC_HZ: u64 = 1_000_000_000;

/// What a [`UserSynic`] is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSynicConfig {
    /// Virtual processors, 1 to [`MAX_VPS`]; a VP's index is its number from 0.
    pub vps: u32,
    /// Frequency of the guest's TSC in Hz.
    pub tsc_hz: u64,
    /// Frequency of the guest's local APIC timer in Hz.
    pub apic_hz: u64,
    /// Machine code for the start of the hypercall page; the rest is filled with INT3 (0xcc). It should
    /// begin with ENDBR64, or Linux 6.12 switches branch tracking off
    /// (`arch/x86/hyperv/hv_init.c:hyperv_init`).
    pub hypercall_code: Vec<u8>,
    /// Messages that may wait for one SINT of one VP.
    pub queue_limit: usize,
}

impl UserSynicConfig {
    /// `vps` virtual processors with a TSC of `tsc_hz`, KVM's APIC clock and default limits.
    pub fn new(vps: u32, tsc_hz: u64, hypercall_code: Vec<u8>) -> Self {
        Self { vps, tsc_hz, apic_hz: KVM_APIC_HZ, hypercall_code, queue_limit: DEFAULT_LIMIT }
    }
}

/// A [`UserSynicConfig`] that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No VP, or more than interrupts can reach.
    #[error("{vps} virtual processors, the limits are 1 and {MAX_VPS}")]
    Vps {
        /// VPs asked for.
        vps: u32,
    },
    /// The hypercall code is longer than its page.
    #[error("hypercall code of {len} bytes, a page has {PAGE_SIZE}")]
    HypercallCode {
        /// Bytes given.
        len: usize,
    },
}

/// The SynIC of one guest, in user space. See the [module](self).
#[derive(Debug)]
pub struct UserSynic<M, I> {
    memory: M,
    sink: I,
    connections: Connections,
    config: UserSynicConfig,
    vps: Vec<Mutex<VpState>>,
    hypercall_page: HypercallPage,
    crash: CrashRegisters,
    tsc_invariant: AtomicU64,
    warned_auto_eoi: AtomicBool,
}

impl<M: GuestAddressSpace, I: InterruptSink> UserSynic<M, I> {
    /// A SynIC in its reset state over the guest's `memory`, raising interrupts through `sink`, with
    /// hypercalls ending at `connections`.
    pub fn new(
        memory: M,
        sink: I,
        connections: Connections,
        config: UserSynicConfig,
    ) -> Result<Self, ConfigError> {
        if config.vps == 0 || config.vps > MAX_VPS {
            return Err(ConfigError::Vps { vps: config.vps });
        }
        if config.hypercall_code.len() as u64 > PAGE_SIZE {
            return Err(ConfigError::HypercallCode { len: config.hypercall_code.len() });
        }
        let vps = (0..config.vps).map(|vp| Mutex::new(VpState::new(vp, config.queue_limit))).collect();
        Ok(Self {
            memory,
            sink,
            connections,
            config,
            vps,
            hypercall_page: HypercallPage::default(),
            crash: CrashRegisters::default(),
            tsc_invariant: AtomicU64::new(0),
            warned_auto_eoi: AtomicBool::new(false),
        })
    }

    /// Puts every register into its reset state and drops all messages in both directions.
    ///
    /// For a reset of the machine, with all VPs stopped. Doorbells stay: they belong to the bus.
    pub fn reset(&self) {
        for vp in &self.vps {
            let mut vp = lock(vp);
            vp.queues.clear(self.stats());
            *vp = VpState::new(vp.number(), self.config.queue_limit);
        }
        self.hypercall_page.reset();
        self.crash.reset();
        self.tsc_invariant.store(0, Ordering::Relaxed);
        self.connections.inbox().clear();
    }

    /// Serves one hypercall that the guest made through its hypercall page: `control` is RCX, then RDX and
    /// R8. Returns RAX. Access is denied while the page is not enabled.
    pub fn hypercall(&self, control: u64, rdx: u64, _r8: u64) -> u64 {
        if !self.hypercall_page.is_enabled() {
            self.stats().hypercall_user.increment();
            self.stats().hypercall_refused.increment();
            return result(Status::AccessDenied);
        }
        self.connections.serve(&*self.memory.memory(), control, rdx)
    }

    /// Where hypercalls end.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The counters.
    pub fn stats(&self) -> &SynicStats {
        self.connections.stats()
    }

    /// What the SynIC was told at construction.
    pub fn config(&self) -> &UserSynicConfig {
        &self.config
    }

    /// The sink that interrupts go to.
    pub fn sink(&self) -> &I {
        &self.sink
    }

    fn vp(&self, vp: u32) -> Option<MutexGuard<'_, VpState>> {
        self.vps.get(usize::try_from(vp).ok()?).map(lock)
    }

    fn target(&self, vp: u32, sint: u8) -> Result<(MutexGuard<'_, VpState>, Sint), SignalError> {
        let sint = Sint::new(sint).ok_or(SignalError::NoSuchSint { sint })?;
        let state = self.vp(vp).ok_or(SignalError::NoSuchVp { vp, count: self.config.vps })?;
        Ok((state, sint))
    }

    /// Delivers what waits on `vp` and raises what is owed. Due after each register write that can matter.
    fn settle(&self, vp: &mut VpState) {
        vp.settle(&*self.memory.memory(), &self.sink, self.stats());
    }
}

impl<M, I> GuestSignal for UserSynic<M, I>
where
    M: GuestAddressSpace + Send + Sync,
    I: InterruptSink,
{
    fn post_message(&self, vp: u32, sint: u8, payload: &[u8]) -> Result<(), SignalError> {
        let payload = Payload::try_from(payload)?;
        let (mut state, sint) = self.target(vp, sint)?;
        state.queues.push(sint, payload, self.stats())?;
        state.deliver(&*self.memory.memory(), &self.sink, self.stats(), sint);
        Ok(())
    }

    fn signal_event(&self, vp: u32, sint: u8, flag: u16) -> Result<(), SignalError> {
        let flag = EventFlag::new(flag).ok_or(SignalError::NoSuchFlag { flag })?;
        let (mut state, sint) = self.target(vp, sint)?;
        let Some(page) = state.event_page() else {
            return Err(SignalError::NotReady { vp, sint: sint.number(), flag: flag.number() });
        };
        let was_clear = page::set_flag(&*self.memory.memory(), page, sint, flag)
            .inspect_err(|_| self.stats().page_faults.increment())?;
        if was_clear {
            self.stats().flags_set.increment();
            state.raise(&self.sink, self.stats(), sint);
        } else {
            self.stats().flags_coalesced.increment();
        }
        Ok(())
    }

    fn reset_messages(&self) {
        for vp in &self.vps {
            lock(vp).queues.clear(self.stats());
        }
    }

    fn retry(&self) -> bool {
        let mut waiting = false;
        for vp in &self.vps {
            let mut vp = lock(vp);
            if vp.is_waiting() {
                self.settle(&mut vp);
                waiting |= vp.is_waiting();
            }
        }
        waiting
    }
}

impl<M, I> Doorbells for UserSynic<M, I>
where
    M: GuestAddressSpace + Send + Sync,
    I: InterruptSink,
{
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        self.connections.doorbells().register(connection_id, fd)
    }

    fn unregister(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        self.connections.doorbells().unregister(connection_id, fd)
    }
}

/// Locks `state`; no holder leaves it half changed, so a poisoned lock is as good as any.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
