//! The synthetic keyboard and mouse protocols of Hyper-V, without I/O.
//!
//! [`KeyboardVsp`] and [`MouseVsp`] are the host's ends: each takes one message of the guest at a time, and holds
//! what the guest is to get in a queue of a fixed size. What does not fit is dropped and counted, never the release
//! of a key or button: a guest that stops reading, and goes on later, is not left with one held down.
//!
//! | module | what |
//! |---|---|
//! | [`keyboard`] | scan codes, their wire, the host's end |
//! | [`mouse`] | HID reports, their wire, the host's end |
//! | [`fault`] | what a guest can do wrong |
//!
//! Source: Linux `drivers/input/serio/hyperv-keyboard.c` and `drivers/hid/hid-hyperv.c`.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod fault;
pub mod keyboard;
pub mod mouse;
mod queue;
mod wire;

pub use fault::InputFault;
pub use keyboard::{Chord, ChordError, Key, KeyboardVsp, Keystroke};
pub use mouse::{Button, MouseVsp, Position, UnknownButton};

/// What one end counted since it was made; a reset does not clear it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputStats {
    /// Messages of the guest, good or bad.
    pub messages: u64,
    /// Messages that held a fault.
    pub faults: u64,
    /// Messages with a number that does not exist; ignored.
    pub unknown_messages: u64,
    /// Events that were handed to the guest's ring.
    pub sent: u64,
    /// Events that were dropped: nobody had asked for any yet, or the queue was full.
    pub dropped: u64,
}
