//! Host to guest: messages, event flags, and the interrupt behind both.

use std::io;
use std::sync::Arc;

use hv_abi::{message, sint};
use thiserror::Error;

use crate::page::PageFault;
use crate::payload::PayloadTooLong;

/// What a bus may do to its guest through the SynIC.
pub trait GuestSignal: Send + Sync {
    /// Queues one VMBus message (type 1) for `sint` of virtual processor `vp`.
    ///
    /// It is written to the SIMP slot now if the slot is free and the guest is ready to take it, else after
    /// the guest's EOM or its next register write, or at [`Self::retry`]; always in the order of the calls.
    ///
    /// *Errors*: [`SignalError::QueueFull`] leaves the queue as it was. `Ok` means queued, not read.
    fn post_message(&self, vp: u32, sint: u8, payload: &[u8]) -> Result<(), SignalError>;

    /// Sets event flag `flag` of `sint` on `vp`, and raises the SINT's vector if the flag was clear.
    ///
    /// *Errors*: [`SignalError::NotReady`] when the guest has no event flags page; the event is lost then,
    /// as on Hyper-V itself.
    fn signal_event(&self, vp: u32, sint: u8, flag: u16) -> Result<(), SignalError>;

    /// Drops every queued message (UNLOAD, a new contact, reset). A message that is already in its slot
    /// stays there: that memory is the guest's.
    fn reset_messages(&self);

    /// Tries again to deliver what waits; true while something still does.
    ///
    /// A periodic safety net for a guest that frees a slot without writing EOM (kexec, firmware): call it
    /// every 1 to 10 ms while it returns true.
    fn retry(&self) -> bool;
}

impl<T: GuestSignal + ?Sized> GuestSignal for Arc<T> {
    fn post_message(&self, vp: u32, sint: u8, payload: &[u8]) -> Result<(), SignalError> {
        (**self).post_message(vp, sint, payload)
    }

    fn signal_event(&self, vp: u32, sint: u8, flag: u16) -> Result<(), SignalError> {
        (**self).signal_event(vp, sint, flag)
    }

    fn reset_messages(&self) {
        (**self).reset_messages();
    }

    fn retry(&self) -> bool {
        (**self).retry()
    }
}

/// Why a [`GuestSignal`] call did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignalError {
    /// The virtual processor does not exist.
    #[error("VP {vp} does not exist, the guest has {count}")]
    NoSuchVp {
        /// VP asked for.
        vp: u32,
        /// VPs there are.
        count: u32,
    },
    /// The SINT does not exist.
    #[error("SINT {sint} does not exist, a VP has {limit}", limit = sint::COUNT)]
    NoSuchSint {
        /// SINT asked for.
        sint: u8,
    },
    /// The event flag does not exist.
    #[error("event flag {flag} does not exist, a SINT has {limit}", limit = message::EVENT_FLAG_COUNT)]
    NoSuchFlag {
        /// Flag asked for.
        flag: u16,
    },
    /// The payload does not fit a slot.
    #[error(transparent)]
    Payload(#[from] PayloadTooLong),
    /// The guest does not take its messages.
    #[error("{limit} messages already wait for SINT {sint} of VP {vp}, which is the limit")]
    QueueFull {
        /// Target VP.
        vp: u32,
        /// Target SINT.
        sint: u8,
        /// Messages that may wait.
        limit: usize,
    },
    /// The guest has not enabled the SynIC or its event flags page.
    #[error("VP {vp} has no event flags page enabled, flag {flag} of SINT {sint} is lost")]
    NotReady {
        /// Target VP.
        vp: u32,
        /// Target SINT.
        sint: u8,
        /// Flag that was to be set.
        flag: u16,
    },
    /// The guest's event flags page cannot be written.
    #[error(transparent)]
    Page(#[from] PageFault),
}

/// Interrupts a virtual processor: `KVM_SIGNAL_MSI`, or a counter in tests.
///
/// Called with the state of `vp` locked, so it must not call back into the SynIC.
pub trait InterruptSink: Send + Sync {
    /// Raises `vector` (fixed, edge) on the local APIC of `vp`.
    ///
    /// `Ok(false)` when that APIC does not take it now; the SynIC raises it again at the guest's next
    /// SynIC register write or [`GuestSignal::retry`].
    fn raise(&self, vp: u32, vector: u8) -> Result<bool, InterruptError>;
}

impl<T: InterruptSink + ?Sized> InterruptSink for Arc<T> {
    fn raise(&self, vp: u32, vector: u8) -> Result<bool, InterruptError> {
        (**self).raise(vp, vector)
    }
}

/// The host could not raise an interrupt.
#[derive(Debug, Error)]
#[error("cannot raise vector {vector:#x} on VP {vp}")]
pub struct InterruptError {
    /// Target VP.
    pub vp: u32,
    /// Vector.
    pub vector: u8,
    /// What the host said.
    #[source]
    pub source: io::Error,
}
