//! The host's end of the mouse protocol.

use zerocopy::{FromBytes, IntoBytes};

use super::wire::{self, VERSION};
use super::{AXIS_MAX, Button, Position, REPORT_DESCRIPTOR};
use crate::InputStats;
use crate::fault::InputFault;
use crate::queue::EventQueue;
use crate::wire::write;

/// Most reports that wait for a guest that does not read.
pub const QUEUE_MAX: usize = 256;

/// Microsoft, as the mouse of Hyper-V says.
const VENDOR: u16 = 0x045e;
/// Its synthetic mouse.
const PRODUCT: u16 = 0x0621;
/// Bytes of the attributes in front of the HID descriptor.
const ATTRIBUTES_BYTES: u32 = 32;

/// What a message of the guest means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseAction {
    /// The protocol was accepted or refused; the answer is queued, and behind it the device's description.
    Protocol {
        /// What the guest asked for, major number in the upper half.
        version: u32,
        /// It was accepted.
        accepted: bool,
    },
    /// The guest knows the device; reports are sent from now on.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No protocol was accepted.
    Closed,
    /// The description is on its way, or waits for its acknowledgement.
    Described,
    Ready,
}

/// Messages that come before any report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Protocol { version: u32, accepted: bool },
    DeviceInfo,
}

/// How the mouse stands: what one report says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stand {
    buttons: u8,
    position: Position,
    wheel: i16,
}

/// The state machine of a synthetic mouse.
///
/// Feed it the guest's messages with [`Self::receive`], events with [`Self::move_to`], [`Self::button`] and
/// [`Self::wheel`], and send what [`Self::poll_transmit`] yields. It never blocks, allocates or calls back.
///
/// *Back-pressure*: a full queue drops reports and counts them. When it has run empty afterwards, one report more says how
/// the mouse stands by then, so that no button stays down and the pointer ends where it should.
#[derive(Clone, Debug)]
pub struct MouseVsp {
    state: State,
    answers: [Option<Answer>; 2],
    queue: EventQueue<Stand, QUEUE_MAX>,
    stand: Stand,
    /// A report was dropped since the guest last knew how the mouse stands.
    lost: bool,
    stats: InputStats,
}

impl MouseVsp {
    /// A mouse to which no guest has spoken, in the upper left corner.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Closed,
            answers: [None; 2],
            queue: EventQueue::new(),
            stand: Stand::default(),
            lost: false,
            stats: InputStats::default(),
        }
    }

    /// Takes one message: what was inside the pipe header.
    ///
    /// # Errors
    /// The guest broke a rule; the message has no effect. One with an unknown number is counted and ignored.
    pub fn receive(&mut self, message: &[u8]) -> Result<Option<MouseAction>, InputFault> {
        self.stats.messages += 1;
        let result = self.dispatch(message);
        self.stats.faults += u64::from(result.is_err());
        result
    }

    /// Moves the pointer; false if the report was dropped, and counted. Values above [`AXIS_MAX`] mean the edge.
    pub fn move_to(&mut self, position: Position) -> bool {
        self.stand.position = Position { x: position.x.min(AXIS_MAX), y: position.y.min(AXIS_MAX) };
        self.report(0)
    }

    /// Presses or releases a button; false if the report was dropped, and counted.
    pub fn button(&mut self, button: Button, pressed: bool) -> bool {
        if pressed {
            self.stand.buttons |= button.bit();
        } else {
            self.stand.buttons &= !button.bit();
        }
        self.report(0)
    }

    /// Turns the wheel by `notches`, away from the user; false if the report was dropped, and counted.
    pub fn wheel(&mut self, notches: i16) -> bool {
        self.report(notches.max(-i16::MAX))
    }

    /// Writes the next message for the guest to `buffer` and gives its length, or `None` if there is none.
    ///
    /// 128 bytes are enough. The answer changes after every call that takes `&mut self`.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if let Some(answer) = self.answers.first().copied().flatten() {
            let len = encode_answer(answer, buffer)?;
            self.answers.rotate_left(1);
            if let Some(sent) = self.answers.last_mut() {
                *sent = None;
            }
            return Some(len);
        }
        if self.state != State::Ready {
            return None;
        }
        if self.queue.front().is_none() && core::mem::take(&mut self.lost) {
            self.queue.push(self.stand);
        }
        let stand = self.queue.front()?;
        let body = wire::Report {
            buttons: stand.buttons,
            x: stand.position.x.into(),
            y: stand.position.y.into(),
            wheel: stand.wheel.into(),
        };
        let len = encode(wire::INPUT_REPORT, &[body.as_bytes()], buffer)?;
        self.queue.pop();
        self.stats.sent += 1;
        Some(len)
    }

    /// Back to the state of a new mouse, as when the channel closes. The counters stay.
    pub fn reset(&mut self) {
        self.stats.dropped += self.queue.clear();
        self.state = State::Closed;
        self.answers = [None; 2];
        self.stand = Stand::default();
        self.lost = false;
    }

    /// The guest knows the device and is sent reports.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &InputStats {
        &self.stats
    }

    fn report(&mut self, wheel: i16) -> bool {
        let ready = self.state == State::Ready;
        let taken = ready && self.queue.push(Stand { wheel, ..self.stand });
        self.lost |= ready && !taken;
        self.stats.dropped += u64::from(!taken);
        taken
    }

    fn dispatch(&mut self, message: &[u8]) -> Result<Option<MouseAction>, InputFault> {
        let Ok((header, body)) = wire::Header::read_from_prefix(message) else {
            let need = size_of::<wire::Header>();
            return Err(InputFault::NoHeader { device: "mouse", len: message.len(), need });
        };
        match header.kind.get() {
            wire::PROTOCOL_REQUEST => {
                let name = "PROTOCOL_REQUEST";
                let Ok((request, _)) = wire::ProtocolRequest::read_from_prefix(body) else {
                    let need = size_of::<wire::ProtocolRequest>();
                    return Err(InputFault::TooShort { name, len: body.len(), need });
                };
                Ok(Some(self.protocol_request(request.version.get())))
            }
            wire::DEVICE_INFO_ACK => {
                let described = self.state == State::Described && self.answers == [None; 2];
                if !described {
                    return Err(InputFault::UnexpectedAck);
                }
                self.state = State::Ready;
                Ok(Some(MouseAction::Ready))
            }
            wire::PROTOCOL_RESPONSE => Err(InputFault::WrongDirection { name: "PROTOCOL_RESPONSE" }),
            wire::INITIAL_DEVICE_INFO => Err(InputFault::WrongDirection { name: "INITIAL_DEVICE_INFO" }),
            wire::INPUT_REPORT => Err(InputFault::WrongDirection { name: "INPUT_REPORT" }),
            _ => {
                self.stats.unknown_messages += 1;
                Ok(None)
            }
        }
    }

    /// A driver that asks again has forgotten what it was told.
    fn protocol_request(&mut self, version: u32) -> MouseAction {
        self.reset();
        let accepted = version == VERSION;
        self.answers = [Some(Answer::Protocol { version, accepted }), accepted.then_some(Answer::DeviceInfo)];
        if accepted {
            self.state = State::Described;
        }
        MouseAction::Protocol { version, accepted }
    }
}

impl Default for MouseVsp {
    fn default() -> Self {
        Self::new()
    }
}

fn encode_answer(answer: Answer, buffer: &mut [u8]) -> Option<usize> {
    match answer {
        Answer::Protocol { version, accepted } => {
            let body = wire::ProtocolResponse { version: version.into(), approved: accepted.into() };
            encode(wire::PROTOCOL_RESPONSE, &[body.as_bytes()], buffer)
        }
        Answer::DeviceInfo => {
            let info = wire::DeviceInfo {
                attributes_size: ATTRIBUTES_BYTES.into(),
                vendor: VENDOR.into(),
                product: PRODUCT.into(),
                version: 0x0101.into(),
                reserved: [0; 22],
                descriptor_len: 9,
                descriptor_type: 0x21,
                hid_version: 0x0101.into(),
                country: 0,
                descriptors: 1,
                report_type: 0x22,
                report_len: u16::try_from(REPORT_DESCRIPTOR.len()).ok()?.into(),
            };
            encode(wire::INITIAL_DEVICE_INFO, &[info.as_bytes(), &REPORT_DESCRIPTOR], buffer)
        }
    }
}

/// Writes a message; its header counts the body alone.
fn encode(kind: u32, body: &[&[u8]], buffer: &mut [u8]) -> Option<usize> {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let header = wire::Header { kind: kind.into(), size: u32::try_from(len).ok()?.into() };
    let (place, rest) = buffer.split_at_mut_checked(size_of::<wire::Header>())?;
    let written = write(rest, body)?;
    place.copy_from_slice(header.as_bytes());
    Some(place.len() + written)
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// PROTOCOL_REQUEST as hid-hyperv sends it.
    const REQUEST: [u8; 12] = [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 2, 0];
    /// DEVICE_INFO_ACK, likewise.
    const ACK: [u8; 9] = [3, 0, 0, 0, 1, 0, 0, 0, 0];

    fn sent(vsp: &mut MouseVsp) -> Vec<Vec<u8>> {
        let mut buffer = [0; 128];
        core::iter::from_fn(|| vsp.poll_transmit(&mut buffer).map(|len| buffer[..len].to_vec())).collect()
    }

    fn ready() -> MouseVsp {
        let mut vsp = MouseVsp::new();
        vsp.receive(&REQUEST).unwrap();
        assert_eq!(sent(&mut vsp).len(), 2);
        assert_eq!(vsp.receive(&ACK), Ok(Some(MouseAction::Ready)));
        vsp
    }

    #[test]
    fn description_follows_the_answer_and_holds_the_report_descriptor() {
        let mut vsp = MouseVsp::new();
        let action = vsp.receive(&REQUEST).unwrap();
        assert_eq!(action, Some(MouseAction::Protocol { version: VERSION, accepted: true }));
        let messages = sent(&mut vsp);
        assert_eq!(messages[0], [1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0, 1]);
        let info = &messages[1];
        assert_eq!(info[..18], [2, 0, 0, 0, 106, 0, 0, 0, 32, 0, 0, 0, 0x5e, 4, 0x21, 6, 1, 1]);
        assert_eq!(info[40..49], [9, 0x21, 1, 1, 0, 1, 0x22, 65, 0]);
        assert_eq!(info[49..], REPORT_DESCRIPTOR);
        assert!(!vsp.is_ready());
    }

    #[test]
    fn other_version_is_refused_and_nothing_is_described() {
        let mut vsp = MouseVsp::new();
        vsp.receive(&[0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 3, 0]).unwrap();
        assert_eq!(sent(&mut vsp), [[1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 3, 0, 0]]);
        assert_eq!(vsp.receive(&ACK), Err(InputFault::UnexpectedAck));
    }

    #[test]
    fn reports_say_buttons_position_and_wheel() {
        let mut vsp = ready();
        assert!(vsp.move_to(Position { x: 0x1234, y: u16::MAX }));
        assert!(vsp.button(Button::Right, true));
        assert!(vsp.wheel(-1));
        assert!(vsp.button(Button::Right, false));
        let head = [4, 0, 0, 0, 7, 0, 0, 0];
        let bodies: Vec<Vec<u8>> = [
            [0, 0x34, 0x12, 0xff, 0x7f, 0, 0],
            [2, 0x34, 0x12, 0xff, 0x7f, 0, 0],
            [2, 0x34, 0x12, 0xff, 0x7f, 0xff, 0xff],
            [0, 0x34, 0x12, 0xff, 0x7f, 0, 0],
        ]
        .iter()
        .map(|body| [&head[..], body].concat())
        .collect();
        assert_eq!(sent(&mut vsp), bodies);
    }

    #[test]
    fn nothing_is_reported_before_the_guest_knows_the_device() {
        let mut vsp = MouseVsp::new();
        assert!(!vsp.button(Button::Left, true));
        vsp.receive(&REQUEST).unwrap();
        assert!(!vsp.button(Button::Left, true));
        assert_eq!(vsp.receive(&ACK), Err(InputFault::UnexpectedAck), "its description was not sent yet");
        assert_eq!(sent(&mut vsp).len(), 2);
        vsp.receive(&ACK).unwrap();
        assert!(sent(&mut vsp).is_empty());
        assert_eq!(vsp.stats().dropped, 2);
    }

    #[test]
    fn guest_that_does_not_read_learns_at_last_how_the_mouse_stands() {
        let mut vsp = ready();
        assert!(vsp.button(Button::Left, true));
        for x in 0..1000 {
            vsp.move_to(Position { x, y: 7 });
        }
        assert!(!vsp.button(Button::Left, false));
        let messages = sent(&mut vsp);
        assert_eq!(messages.len(), QUEUE_MAX + 1);
        assert_eq!(messages.last().unwrap()[8..], [0, 0xe7, 3, 7, 0, 0, 0]);
        assert_eq!(vsp.stats().dropped, 1002 - u64::try_from(QUEUE_MAX).unwrap());
        assert!(sent(&mut vsp).is_empty());
    }

    #[test]
    fn faults_name_the_message_and_are_counted() {
        let mut vsp = MouseVsp::new();
        for (message, fault) in [
            (vec![0; 7], InputFault::NoHeader { device: "mouse", len: 7, need: 8 }),
            (vec![0; 11], InputFault::TooShort { name: "PROTOCOL_REQUEST", len: 3, need: 4 }),
            (vec![1, 0, 0, 0, 0, 0, 0, 0], InputFault::WrongDirection { name: "PROTOCOL_RESPONSE" }),
            (vec![2, 0, 0, 0, 0, 0, 0, 0], InputFault::WrongDirection { name: "INITIAL_DEVICE_INFO" }),
            (vec![4, 0, 0, 0, 0, 0, 0, 0], InputFault::WrongDirection { name: "INPUT_REPORT" }),
            (ACK.to_vec(), InputFault::UnexpectedAck),
        ] {
            assert_eq!(vsp.receive(&message), Err(fault));
        }
        assert_eq!(vsp.stats().faults, 6);
        assert_eq!(vsp.receive(&[5, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
        assert_eq!(vsp.stats().unknown_messages, 1);
    }
}
