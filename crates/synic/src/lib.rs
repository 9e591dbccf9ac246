//! The synthetic interrupt controller (SynIC), from the host's side.
//!
//! Two directions, two traits. [`GuestSignal`] is host to guest: a message into a SIMP slot, or an event flag
//! into a SIEFP page, followed by the vector of the SINT. [`Doorbells`] is guest to host: HvCallSignalEvent
//! names a connection id and the eventfd registered for it is written; HvCallPostMessage fills the [`Inbox`].
//! A bus on top of these traits cannot tell which SynIC serves it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`page`] | one slot, one flag: the only code that touches SIMP and SIEFP pages |
//! | [`queue`] | messages that wait for their slot, per virtual processor (VP) and SINT |
//! | [`hypercall`] | decoding of HvCallPostMessage and HvCallSignalEvent, and where they end |
//! | [`user`] | a whole SynIC outside the kernel: MSRs, hypercall entry, delivery |
//! | [`cpuid`] | the leaves that go with a SynIC in the kernel and with [`user`] |
//! | [`loopback`] | [`user`] over plain memory with a recording interrupt sink, and the guest's side of it |
//! | [`conformance`] | what every SynIC must do, written once |
//!
//! A back end over a kernel SynIC takes `page`, `queue` and `hypercall` and leaves the registers to the kernel.
//! Nothing here knows KVM, and nothing starts a thread.
#![forbid(unsafe_code)]

pub mod conformance;
pub mod cpuid;
mod doorbell;
pub mod hypercall;
mod inbox;
mod index;
pub mod loopback;
pub mod page;
mod payload;
pub mod queue;
mod signal;
mod stats;
pub mod user;

pub use doorbell::{DoorbellError, DoorbellTable, Doorbells, MAX_CONNECTION_ID};
pub use inbox::{Inbox, PostedMessage};
pub use index::{EventFlag, Sint};
pub use payload::{Payload, PayloadTooLong};
pub use signal::{GuestSignal, InterruptError, InterruptSink, SignalError};
pub use stats::{Counter, SynicStats, SynicStatsSnapshot};
