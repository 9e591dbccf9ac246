//! Whatever a guest sends, the host's ends do not panic, and what they hold stays bounded.

use proptest::prelude::*;
use synthinput::keyboard::{self, KEYS};
use synthinput::mouse;
use synthinput::{Button, KeyboardVsp, Keystroke, MouseVsp, Position};

/// A message whose number is mostly one that exists.
fn message() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..6, prop::collection::vec(any::<u8>(), 0..16), prop::bool::weighted(0.3)).prop_map(
        |(kind, rest, protocol)| {
            let mut message = vec![kind, 0, 0, 0];
            if protocol {
                // Both devices' requests in one: the keyboard reads its version first, the mouse after its size.
                message = if kind < 3 {
                    vec![1, 0, 0, 0, 0, 0, 1, 0]
                } else {
                    vec![0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 2, 0]
                };
            }
            message.extend(rest);
            message
        },
    )
}

proptest! {
    #[test]
    fn keyboard_sends_no_more_than_its_queue_holds(
        messages in prop::collection::vec(message(), 0..20),
        strokes in prop::collection::vec((0..KEYS.len(), any::<bool>()), 0..600),
    ) {
        let mut vsp = KeyboardVsp::new();
        for message in &messages {
            // A fault is the guest's; what counts is what it leaves behind.
            let _ = vsp.receive(message);
        }
        for (key, press) in strokes {
            let stroke = if press { Keystroke::press } else { Keystroke::release };
            vsp.stroke(stroke(KEYS[key]));
        }
        let mut buffer = [0; 12];
        let sent = std::iter::from_fn(|| vsp.poll_transmit(&mut buffer)).count();
        prop_assert!(sent <= keyboard::QUEUE_MAX + 1);
        prop_assert!(vsp.is_ready() || vsp.stats().sent == 0);
    }

    #[test]
    fn mouse_sends_no_more_than_its_queue_holds(
        messages in prop::collection::vec((message(), any::<bool>()), 0..20),
        moves in prop::collection::vec((any::<u16>(), any::<u16>(), any::<bool>(), any::<i16>()), 0..300),
    ) {
        let mut vsp = MouseVsp::new();
        let mut buffer = [0; 128];
        for (message, read) in &messages {
            // As above.
            let _ = vsp.receive(message);
            while *read && vsp.poll_transmit(&mut buffer).is_some() {}
        }
        for (x, y, press, notches) in moves {
            vsp.move_to(Position { x, y });
            vsp.button(Button::Middle, press);
            vsp.wheel(notches);
        }
        let sent = std::iter::from_fn(|| vsp.poll_transmit(&mut buffer)).count();
        prop_assert!(sent <= mouse::QUEUE_MAX + 3);
    }
}
