//! Messages and event flags for guests on the in-kernel SynIC.
//!
//! KVM keeps the registers and raises the vectors; the slots and flags are guest memory, and writing them is
//! left to us. What KVM tells about the registers comes by KVM_EXIT_HYPERV: SCONTROL, SIEFP and SIMP, not the
//! SINTs. A message for a masked SINT therefore goes into its slot without an interrupt. Linux unmasks SINT2
//! before it enables SCONTROL (`drivers/hv/hv.c:hv_synic_enable_regs`), and nothing is delivered before that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hv_abi::msr::ENABLE;
use synic::queue::{DEFAULT_LIMIT, VpQueues};
use synic::{EventFlag, GuestSignal, Payload, SignalError, Sint, SynicStats, page};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::sint_lines::SintLines;

/// The pages of one VP as KVM reported them, and the messages that wait.
#[derive(Debug)]
struct VpState {
    control: u64,
    event_page: u64,
    message_page: u64,
    queues: VpQueues,
}

impl VpState {
    fn new(vp: u32) -> Self {
        Self { control: 0, event_page: 0, message_page: 0, queues: VpQueues::new(vp, DEFAULT_LIMIT) }
    }

    fn if_enabled(&self, register: u64) -> Option<GuestAddress> {
        (self.control & ENABLE != 0).then(|| page::enabled_page(register)).flatten()
    }
}

#[derive(Debug)]
pub(super) struct Delivery {
    memory: GuestMemoryMmap,
    lines: Arc<SintLines>,
    stats: Arc<SynicStats>,
    vps: Box<[Mutex<VpState>]>,
}

impl Delivery {
    pub(super) fn new(
        memory: GuestMemoryMmap,
        lines: Arc<SintLines>,
        stats: Arc<SynicStats>,
        vps: u32,
    ) -> Self {
        let vps = (0..vps).map(|vp| Mutex::new(VpState::new(vp))).collect();
        Self { memory, lines, stats, vps }
    }

    /// The guest wrote SCONTROL, SIEFP or SIMP of `vp`; these are the values now.
    ///
    /// A page that becomes enabled, or moves, is zeroed, which SYNIC2 leaves to us. One that is not RAM
    /// counts as disabled.
    pub(super) fn registers_written(&self, vp: u32, control: u64, event_page: u64, message_page: u64) {
        let Some(mut state) = self.vp(vp) else { return };
        state.control = control;
        state.event_page = self.prepared(state.event_page, event_page);
        state.message_page = self.prepared(state.message_page, message_page);
        self.deliver_all(vp, &mut state);
    }

    /// Forgets pages and messages of all VPs.
    pub(super) fn reset(&self) {
        for (vp, state) in (0..).zip(&self.vps) {
            let mut state = lock(state);
            state.queues.clear(&self.stats);
            *state = VpState::new(vp);
        }
    }

    fn prepared(&self, old: u64, new: u64) -> u64 {
        match page::enabled_page(new) {
            Some(gpa) if page::enabled_page(old) != Some(gpa) => match page::zero(&self.memory, gpa) {
                Ok(()) => new,
                Err(fault) => {
                    self.stats.page_faults.increment();
                    tracing::debug!(%fault, "page register taken as disabled");
                    new & !ENABLE
                }
            },
            _ => new,
        }
    }

    fn deliver_all(&self, vp: u32, state: &mut VpState) {
        for sint in Sint::all() {
            if state.queues.is_waiting(sint) {
                self.deliver(vp, state, sint);
            }
        }
    }

    fn deliver(&self, vp: u32, state: &mut VpState, sint: Sint) {
        let Some(simp) = state.if_enabled(state.message_page) else { return };
        // A fault is counted by the queue; the message waits for a better page.
        if state.queues.deliver(&self.memory, simp, sint, &self.stats) == Ok(true) {
            self.raise(vp, sint);
        }
    }

    fn raise(&self, vp: u32, sint: Sint) {
        match self.lines.raise(vp, sint) {
            Ok(()) => self.stats.interrupts.increment(),
            Err(error) => {
                self.stats.interrupts_refused.increment();
                tracing::warn!(vp, sint = sint.number(), %error, "interrupt of a SINT not raised");
            }
        }
    }

    fn vp(&self, vp: u32) -> Option<MutexGuard<'_, VpState>> {
        self.vps.get(usize::try_from(vp).ok()?).map(lock)
    }

    fn target(&self, vp: u32, sint: u8) -> Result<(MutexGuard<'_, VpState>, Sint), SignalError> {
        let sint = Sint::new(sint).ok_or(SignalError::NoSuchSint { sint })?;
        let count = u32::try_from(self.vps.len()).unwrap_or(u32::MAX);
        Ok((self.vp(vp).ok_or(SignalError::NoSuchVp { vp, count })?, sint))
    }
}

impl GuestSignal for Delivery {
    fn post_message(&self, vp: u32, sint: u8, payload: &[u8]) -> Result<(), SignalError> {
        let payload = Payload::try_from(payload)?;
        let (mut state, sint) = self.target(vp, sint)?;
        state.queues.push(sint, payload, &self.stats)?;
        self.deliver(vp, &mut state, sint);
        Ok(())
    }

    fn signal_event(&self, vp: u32, sint: u8, flag: u16) -> Result<(), SignalError> {
        let flag = EventFlag::new(flag).ok_or(SignalError::NoSuchFlag { flag })?;
        let (state, sint) = self.target(vp, sint)?;
        let not_ready = SignalError::NotReady { vp, sint: sint.number(), flag: flag.number() };
        let siefp = state.if_enabled(state.event_page).ok_or(not_ready)?;
        let was_clear = page::set_flag(&self.memory, siefp, sint, flag)
            .inspect_err(|_| self.stats.page_faults.increment())?;
        if was_clear {
            self.stats.flags_set.increment();
            self.raise(vp, sint);
        } else {
            self.stats.flags_coalesced.increment();
        }
        Ok(())
    }

    fn reset_messages(&self) {
        for state in &self.vps {
            lock(state).queues.clear(&self.stats);
        }
    }

    fn retry(&self) -> bool {
        let mut waiting = false;
        for (vp, state) in (0..).zip(&self.vps) {
            let mut state = lock(state);
            if state.queues.any_waiting() {
                self.deliver_all(vp, &mut state);
                waiting |= state.queues.any_waiting();
            }
        }
        waiting
    }
}

/// Locks `state`; no holder leaves it half changed, so a poisoned lock is as good as any.
fn lock(state: &Mutex<VpState>) -> MutexGuard<'_, VpState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
