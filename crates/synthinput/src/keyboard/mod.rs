//! The synthetic keyboard: scan codes for the guest's own keyboard driver.
//!
//! Linux hands them to atkbd through a serio port in translated mode, so a key is what it would be on a PC's
//! keyboard. What arrives before that driver has opened the port is lost inside the guest.

mod keys;
mod vsp;
pub mod wire;

pub use keys::{CHORD_MAX, Chord, ChordError, KEYS, Key};
pub use vsp::{KeyboardAction, KeyboardVsp, QUEUE_MAX};

/// A key that goes down or comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keystroke {
    key: Key,
    press: bool,
}

impl Keystroke {
    /// `key` goes down, or repeats.
    #[must_use]
    pub const fn press(key: Key) -> Self {
        Self { key, press: true }
    }

    /// `key` comes up.
    #[must_use]
    pub const fn release(key: Key) -> Self {
        Self { key, press: false }
    }

    /// Which key.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// It goes down.
    #[must_use]
    pub const fn is_press(&self) -> bool {
        self.press
    }
}
