//! The host's end of the keyboard protocol.

use zerocopy::{FromBytes, IntoBytes};

use super::wire::{self, ACCEPTED, INFO_BREAK, INFO_E0, VERSION};
use super::{KEYS, Key, Keystroke};
use crate::InputStats;
use crate::fault::InputFault;
use crate::queue::EventQueue;
use crate::wire::write;

/// Most keystrokes that wait for a guest that does not read.
pub const QUEUE_MAX: usize = 256;

/// What a message of the guest means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyboardAction {
    /// The protocol was accepted or refused; the answer is queued.
    Protocol {
        /// What the guest asked for, major number in the upper half.
        version: u32,
        /// It was accepted.
        accepted: bool,
    },
    /// The guest lights its indicators: bit 0 scroll, 1 num, 2 caps lock.
    Leds(u16),
}

/// The state machine of a synthetic keyboard.
///
/// Feed it the guest's messages with [`Self::receive`], keystrokes with [`Self::stroke`], and send what
/// [`Self::poll_transmit`] yields. It never blocks, allocates or calls back.
#[derive(Clone, Debug)]
pub struct KeyboardVsp {
    accepted: bool,
    /// The answer that was not sent yet.
    answer: Option<bool>,
    queue: EventQueue<Keystroke, QUEUE_MAX>,
    /// Keys that are down when all that waits was read, by their place in [`KEYS`].
    held: [bool; KEYS.len()],
    stats: InputStats,
}

impl KeyboardVsp {
    /// A keyboard to which no guest has spoken.
    #[must_use]
    pub fn new() -> Self {
        Self {
            accepted: false,
            answer: None,
            queue: EventQueue::new(),
            held: [false; KEYS.len()],
            stats: InputStats::default(),
        }
    }

    /// Takes one message, a whole packet.
    ///
    /// # Errors
    /// The guest broke a rule; the message has no effect. One with an unknown number is counted and ignored.
    pub fn receive(&mut self, message: &[u8]) -> Result<Option<KeyboardAction>, InputFault> {
        self.stats.messages += 1;
        let result = self.dispatch(message);
        self.stats.faults += u64::from(result.is_err());
        result
    }

    /// Queues a keystroke; false if it was dropped, and counted.
    ///
    /// Dropped are strokes before the protocol was accepted, presses when the queue has only room left for the releases
    /// of what is held, and releases of keys that are not held.
    pub fn stroke(&mut self, stroke: Keystroke) -> bool {
        let taken = self.accepted && self.admit(stroke) && self.queue.push(stroke);
        self.stats.dropped += u64::from(!taken);
        taken
    }

    /// Writes the next message for the guest to `buffer` and gives its length, or `None` if there is none.
    ///
    /// 12 bytes are enough. The answer changes after [`Self::receive`], [`Self::stroke`] and [`Self::reset`].
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if let Some(accepted) = self.answer {
            let header = wire::Header { kind: wire::PROTOCOL_RESPONSE.into() };
            let body = wire::ProtocolResponse { status: if accepted { ACCEPTED } else { 0 }.into() };
            let len = write(buffer, &[header.as_bytes(), body.as_bytes()])?;
            self.answer = None;
            return Some(len);
        }
        let Keystroke { key, press } = self.queue.front()?;
        let info = if press { 0 } else { INFO_BREAK } | if key.extended { INFO_E0 } else { 0 };
        let header = wire::Header { kind: wire::EVENT.into() };
        let body =
            wire::Event { make_code: u16::from(key.code).into(), reserved: 0.into(), info: info.into() };
        let len = write(buffer, &[header.as_bytes(), body.as_bytes()])?;
        self.queue.pop();
        self.stats.sent += 1;
        Some(len)
    }

    /// Back to the state of a new keyboard, as when the channel closes. The counters stay.
    pub fn reset(&mut self) {
        self.stats.dropped += self.queue.clear();
        self.accepted = false;
        self.answer = None;
        self.held = [false; KEYS.len()];
    }

    /// The guest's driver has agreed to the protocol.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.accepted
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &InputStats {
        &self.stats
    }

    /// Whether there is room for `stroke` and for every release that must come after it.
    fn admit(&mut self, stroke: Keystroke) -> bool {
        let releases = self.held.iter().filter(|held| **held).count();
        let Some(held) = held_mut(&mut self.held, stroke.key) else { return false };
        if !stroke.press {
            return core::mem::replace(held, false);
        }
        let releases = releases + usize::from(!*held);
        if self.queue.room() <= releases {
            return false;
        }
        *held = true;
        true
    }

    fn dispatch(&mut self, message: &[u8]) -> Result<Option<KeyboardAction>, InputFault> {
        let Ok((header, body)) = wire::Header::read_from_prefix(message) else {
            let need = size_of::<wire::Header>();
            return Err(InputFault::NoHeader { device: "keyboard", len: message.len(), need });
        };
        match header.kind.get() {
            wire::PROTOCOL_REQUEST => {
                let request: wire::ProtocolRequest = read("PROTOCOL_REQUEST", body)?;
                let version = request.version.get();
                let accepted = version == VERSION;
                // A driver that asks again has forgotten what it was told.
                self.reset();
                self.accepted = accepted;
                self.answer = Some(accepted);
                Ok(Some(KeyboardAction::Protocol { version, accepted }))
            }
            wire::LED_INDICATORS => {
                let name = "LED_INDICATORS";
                let leds: wire::LedIndicators = read(name, body)?;
                if !self.accepted {
                    return Err(InputFault::BeforeProtocol { name });
                }
                Ok(Some(KeyboardAction::Leds(leds.flags.get())))
            }
            wire::PROTOCOL_RESPONSE => Err(InputFault::WrongDirection { name: "PROTOCOL_RESPONSE" }),
            wire::EVENT => Err(InputFault::WrongDirection { name: "EVENT" }),
            _ => {
                self.stats.unknown_messages += 1;
                Ok(None)
            }
        }
    }
}

impl Default for KeyboardVsp {
    fn default() -> Self {
        Self::new()
    }
}

fn held_mut(held: &mut [bool; KEYS.len()], key: Key) -> Option<&mut bool> {
    let place = KEYS.iter().position(|known| *known == key)?;
    held.get_mut(place)
}

/// The fields at the start of a body; what comes after them is padding.
fn read<T: FromBytes>(name: &'static str, body: &[u8]) -> Result<T, InputFault> {
    match T::read_from_prefix(body) {
        Ok((fields, _)) => Ok(fields),
        Err(_) => Err(InputFault::TooShort { name, len: body.len(), need: size_of::<T>() }),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::Chord;
    use super::*;

    /// PROTOCOL_REQUEST as hyperv-keyboard sends it.
    const REQUEST: [u8; 8] = [1, 0, 0, 0, 0, 0, 1, 0];

    fn ready() -> KeyboardVsp {
        let mut vsp = KeyboardVsp::new();
        vsp.receive(&REQUEST).unwrap();
        assert_eq!(sent(&mut vsp), [[2, 0, 0, 0, 1, 0, 0, 0]]);
        vsp
    }

    fn sent(vsp: &mut KeyboardVsp) -> Vec<Vec<u8>> {
        let mut buffer = [0; 12];
        core::iter::from_fn(|| vsp.poll_transmit(&mut buffer).map(|len| buffer[..len].to_vec())).collect()
    }

    fn key(name: &str) -> Key {
        Key::named(name).unwrap()
    }

    #[test]
    fn version_of_linux_is_accepted_and_any_other_refused() {
        let mut vsp = KeyboardVsp::new();
        let action = vsp.receive(&REQUEST).unwrap();
        assert_eq!(action, Some(KeyboardAction::Protocol { version: VERSION, accepted: true }));
        assert!(vsp.is_ready());
        vsp.receive(&[1, 0, 0, 0, 0, 0, 2, 0]).unwrap();
        assert!(!vsp.is_ready());
        assert_eq!(sent(&mut vsp), [[2, 0, 0, 0, 0, 0, 0, 0]], "one answer, to the last request");
    }

    #[test]
    fn strokes_become_scan_codes_of_set_1() {
        let mut vsp = ready();
        for stroke in Chord::parse("a+right").unwrap().strokes() {
            assert!(vsp.stroke(stroke));
        }
        assert_eq!(
            sent(&mut vsp),
            [
                [3, 0, 0, 0, 0x1e, 0, 0, 0, 0, 0, 0, 0],
                [3, 0, 0, 0, 0x4d, 0, 0, 0, 4, 0, 0, 0],
                [3, 0, 0, 0, 0x4d, 0, 0, 0, 6, 0, 0, 0],
                [3, 0, 0, 0, 0x1e, 0, 0, 0, 2, 0, 0, 0],
            ]
        );
        assert_eq!((vsp.stats().sent, vsp.stats().dropped), (4, 0));
    }

    #[test]
    fn stroke_before_the_protocol_is_dropped_and_counted() {
        let mut vsp = KeyboardVsp::new();
        assert!(!vsp.stroke(Keystroke::press(key("a"))));
        vsp.receive(&REQUEST).unwrap();
        assert_eq!(sent(&mut vsp).len(), 1);
        assert_eq!(vsp.stats().dropped, 1);
    }

    #[test]
    fn guest_that_does_not_read_loses_presses_and_never_a_release() {
        let mut vsp = ready();
        let (shift, a) = (key("shift"), key("a"));
        assert!(vsp.stroke(Keystroke::press(shift)));
        let mut taken = 1;
        for _ in 0..1000 {
            taken += usize::from(vsp.stroke(Keystroke::press(a)));
        }
        assert!(vsp.stroke(Keystroke::release(a)));
        assert!(vsp.stroke(Keystroke::release(shift)));
        assert_eq!(taken + 2, QUEUE_MAX);
        assert_eq!(sent(&mut vsp).len(), QUEUE_MAX);
        assert_eq!(vsp.stats().dropped, 1000 + 1 - u64::try_from(taken).unwrap());
        assert!(!vsp.stroke(Keystroke::release(a)), "it is not held");
    }

    #[test]
    fn reset_forgets_what_waits_and_counts_it() {
        let mut vsp = ready();
        vsp.stroke(Keystroke::press(key("a")));
        vsp.reset();
        assert!(sent(&mut vsp).is_empty());
        assert_eq!((vsp.is_ready(), vsp.stats().dropped), (false, 1));
    }

    #[test]
    fn faults_name_the_message_and_are_counted() {
        let mut vsp = KeyboardVsp::new();
        for (message, fault) in [
            (&[1, 0][..], InputFault::NoHeader { device: "keyboard", len: 2, need: 4 }),
            (&[1, 0, 0, 0, 0], InputFault::TooShort { name: "PROTOCOL_REQUEST", len: 1, need: 4 }),
            (&[2, 0, 0, 0, 1, 0, 0, 0], InputFault::WrongDirection { name: "PROTOCOL_RESPONSE" }),
            (&[3, 0, 0, 0], InputFault::WrongDirection { name: "EVENT" }),
            (&[4, 0, 0, 0, 7, 0, 0, 0], InputFault::BeforeProtocol { name: "LED_INDICATORS" }),
            (&[4, 0, 0, 0, 7], InputFault::TooShort { name: "LED_INDICATORS", len: 1, need: 4 }),
        ] {
            assert_eq!(vsp.receive(message), Err(fault));
        }
        assert_eq!((vsp.stats().messages, vsp.stats().faults), (6, 6));
        assert_eq!(vsp.receive(&[9, 0, 0, 0]), Ok(None));
        assert_eq!(vsp.stats().unknown_messages, 1);
        vsp.receive(&REQUEST).unwrap();
        assert_eq!(vsp.receive(&[4, 0, 0, 0, 7, 0, 0, 0]), Ok(Some(KeyboardAction::Leds(7))));
    }
}
