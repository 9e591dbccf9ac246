//! A Linux guest with hyperv_fb, played in this process and in virtual time.
//!
//! [`SimGuest`] owns a guest's RAM, its MMIO window and its end of the SynIC, makes contact over VMBus, opens the
//! video channel, does the handshake and draws what a [`Script`] says. It knows nothing of the host's devices:
//! whoever connects both steps them in turn, and moves the [`VirtualClock`] when neither has anything to do.
//!
//! ```text
//!  step(now) ── guest ──▶ inbox, doorbells ──▶ host
//!      ▲                                        │
//!      └── SIMP, SIEFP, rings ◀─────────────────┘
//!  guest did not work? clock.advance_to(min(guest.next_deadline(now), the host's deadline))
//! ```
//!
//! Timers, bounding boxes and rounding are those of Linux 6.1's driver, mistakes included; see [`damage`].
#![forbid(unsafe_code)]

mod attack;
mod bus;
mod channel;
mod clock;
mod console;
pub mod damage;
mod driver;
mod error;
mod framebuffer;
mod guest;
pub mod memory;
mod ring_memory;
mod script;
#[cfg(test)]
mod tests;
mod write_log;

pub use attack::Attack;
pub use clock::VirtualClock;
pub use driver::ANSWER_TIMEOUT_NS;
pub use error::SimError;
pub use guest::{Pattern, Progress, SimConfig, SimGuest, SimStats};
pub use memory::{SimMemory, SimVramMapper};
pub use script::{DEMO_LINES, Milestone, Script, UnknownScript};
pub use write_log::SimWriteLog;
