//! The input devices, `hyperv-keyboard` and `hyperv-mouse`.
//!
//! Both are a channel and the host's end of a protocol (`synthinput`): what the host types or points at goes into a
//! bounded queue, and from there into the guest's ring. Whoever changes one through [`crate::Bus::device_mut`] calls
//! [`crate::Bus::tick`] afterwards, as with every device.

mod keyboard;
mod mouse;

pub use keyboard::Keyboard;
pub use mouse::Mouse;
pub use synthinput::{Button, Chord, ChordError, InputStats, Key, Keystroke, Position, keyboard::KEYS};

use crate::channel::DeviceFault;

/// The fault of a protocol as the bus knows it.
fn protocol(fault: synthinput::InputFault) -> DeviceFault {
    DeviceFault::Protocol(fault.to_string())
}

#[cfg(test)]
mod tests;
