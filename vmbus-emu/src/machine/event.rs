//! What a running machine tells its owner: power, reset, crash, failure.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hv_kvm::CrashReport;

/// Events kept for a reader that does not come; the oldest go first.
pub(super) const MAX_EVENTS: usize = 64;

/// How the guest asked for a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetCause {
    /// Port 0xcf9, which is also the ACPI reset register.
    ResetRegister,
    /// The keyboard controller's pulse, port 0x64.
    KeyboardController,
    /// The Hyper-V RESET MSR.
    HypervMsr,
    /// KVM reported a reset.
    Kvm,
}

/// Something that the guest or KVM did to the whole machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MachineEvent {
    /// The guest powered off (ACPI S5). Its processors stop.
    PowerOff,
    /// The guest asked for a reset. Its processors stop; [`super::Machine::built_again`] continues.
    Reset(ResetCause),
    /// The guest reported a crash through the Hyper-V crash MSRs. It keeps running.
    Crash(CrashReport),
    /// A processor shut down on a fault inside a fault. The machine stops.
    TripleFault {
        /// Which processor.
        vcpu: u32,
    },
    /// KVM gave up on a processor. The machine stops.
    Failed {
        /// Which processor.
        vcpu: u32,
        /// What KVM said.
        reason: String,
    },
}

impl MachineEvent {
    /// Whether the processors stop because of it.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Crash(_))
    }
}

impl fmt::Display for MachineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => write!(f, "guest powered off"),
            Self::Reset(ResetCause::ResetRegister) => write!(f, "guest reset (port 0xcf9)"),
            Self::Reset(ResetCause::KeyboardController) => write!(f, "guest reset (port 0x64)"),
            Self::Reset(ResetCause::HypervMsr) => write!(f, "guest reset (Hyper-V RESET MSR)"),
            Self::Reset(ResetCause::Kvm) => write!(f, "guest reset (reported by KVM)"),
            Self::Crash(report) => {
                let [p0, p1, p2, p3, p4] = report.parameters;
                write!(f, "guest crash: P0 {p0:#x}, P1 {p1:#x}, P2 {p2:#x}, P3 {p3:#x}, P4 {p4:#x}")
            }
            Self::TripleFault { vcpu } => write!(f, "triple fault on processor {vcpu}"),
            Self::Failed { vcpu, reason } => write!(f, "processor {vcpu} failed: {reason}"),
        }
    }
}

/// Bounded queue of events, filled by vCPU threads.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    queue: Mutex<VecDeque<MachineEvent>>,
    arrived: Condvar,
}

impl EventQueue {
    pub(super) fn push(&self, event: MachineEvent) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() == MAX_EVENTS {
            // A guest may report crashes without end; what ends the machine comes last and is kept.
            queue.pop_front();
        }
        queue.push_back(event);
        drop(queue);
        self.arrived.notify_all();
    }

    pub(super) fn try_next(&self) -> Option<MachineEvent> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn next(&self, timeout: Duration) -> Option<MachineEvent> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(event) = queue.pop_front() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            queue = self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(p0: u64) -> CrashReport {
        CrashReport { vp: 0, parameters: [p0, 0, 0, 0, 0], message: None }
    }

    #[test]
    fn flood_of_crashes_keeps_the_newest_and_the_end() {
        let events = EventQueue::default();
        for p0 in 0..200 {
            events.push(MachineEvent::Crash(report(p0)));
        }
        events.push(MachineEvent::PowerOff);
        let mut seen = Vec::new();
        while let Some(event) = events.try_next() {
            seen.push(event);
        }
        assert_eq!(seen.len(), MAX_EVENTS);
        assert_eq!(seen.last(), Some(&MachineEvent::PowerOff));
    }

    #[test]
    fn waiting_for_nothing_ends_at_the_deadline() {
        assert_eq!(EventQueue::default().next(Duration::from_millis(1)), None);
    }

    #[test]
    fn only_a_crash_report_leaves_the_guest_running() {
        assert!(!MachineEvent::Crash(report(0)).is_final());
        assert!(MachineEvent::Reset(ResetCause::HypervMsr).is_final());
    }
}
