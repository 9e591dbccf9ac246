//! The host types and points, and the guest's own drivers report the same.

use guest_agent::protocol::{Command, Event, Input, InputEvent};
use meter::report::Check;

use device_model::input::{Button, Chord, Keyboard, Mouse, Position};

use super::checks;
use super::event_loop::{EventHandle, LoopGone};
use super::scenario::{Outcome, Stage, Stop};
use crate::progress::Phase;

/// How long the guest listens after it said that it does, by its own clock.
const LISTEN_MS: u32 = 1500;

/// What is typed, and the codes of the keys as Linux numbers them (`input-event-codes.h`).
const TYPED: [(&str, &[u16]); 4] =
    [("a", &[30]), ("shift+b", &[42, 48]), ("right", &[106]), ("rightctrl+f12", &[97, 88])];
/// Where the pointer goes, and the button that is clicked there with its code.
const CLICKED: [(Position, Button, u16); 2] = [
    (Position { x: 1234, y: 4321 }, Button::Left, 0x110),
    (Position { x: 32_000, y: 7 }, Button::Right, 0x111),
];
/// Notches of the wheel, after the clicks.
const NOTCHES: i16 = -1;

const EV_KEY: u16 = 1;
const EV_REL: u16 = 2;
const EV_ABS: u16 = 3;
/// The first code of `EV_KEY` that is a button.
const FIRST_BUTTON: u16 = 0x100;
const REL_WHEEL: u16 = 8;
/// Says the same as `REL_WHEEL` in smaller steps.
const REL_WHEEL_HI_RES: u16 = 11;
/// Value of a key that is held and repeats by itself.
const REPEATED: i32 = 2;

/// Kind, code and value of an event.
type Told = (u16, u16, i32);

impl Stage<'_, '_> {
    /// Boots, types and points, and compares what the guest's drivers report.
    pub(super) fn input(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.progress.begin(Phase::Input);
        let Self { agent, vm, until, .. } = self;
        let events = vm.events().handle();
        let there =
            events.with_bus(|bus| (bus.device::<Keyboard>().is_some(), bus.device::<Mouse>().is_some()))?;
        let (keyboard, mouse) = there;
        let (mut injected, mut heard) = (None, Input::default());
        let command = Command::Input { devices: u32::from(keyboard) + u32::from(mouse), ms: LISTEN_MS };
        agent.ask_and_hear(command, *until, &mut || vm.look(), &mut |event| match event {
            Event::InputReady { .. } => injected = Some(inject(&events)),
            Event::Input(input) => heard = input,
            _ => {}
        })?;
        let dropped = injected.ok_or_else(|| Stop::Guest("the guest never listened".into()))??;
        let mut told = Vec::new();
        let mut compare = |name: &str, there: bool, expected: Vec<Told>, of_this: fn(&InputEvent) -> bool| {
            if there {
                let check = arrived(name, &expected, &heard, of_this);
                told.push(check.detail.clone());
                outcome.checks.push(check);
            }
        };
        compare("keys_arrived", keyboard, keys(), is_key);
        compare("mouse_arrived", mouse, pointing(), |event| !is_key(event));
        outcome.checks.push(checks::check(
            "input_not_dropped",
            dropped == 0,
            format!("{dropped} events found no room on their way to the guest"),
        ));
        self.progress.done(&told.join("; "));
        Ok(())
    }
}

/// Types and points; how much of it was dropped.
fn inject(events: &EventHandle) -> Result<u64, LoopGone> {
    events.with_bus(|bus| {
        let mut dropped = 0_u64;
        if let Some(keyboard) = bus.device_mut::<Keyboard>() {
            for chord in TYPED.iter().filter_map(|(chord, _)| Chord::parse(chord).ok()) {
                keyboard.play(&chord);
            }
            dropped += keyboard.stats().dropped;
        }
        if let Some(mouse) = bus.device_mut::<Mouse>() {
            for (position, button, _) in CLICKED {
                mouse.move_to(position);
                mouse.click(button);
            }
            mouse.wheel(NOTCHES);
            dropped += mouse.stats().dropped;
        }
        dropped
    })
}

fn keys() -> Vec<Told> {
    let down = |code: &u16| (EV_KEY, *code, 1);
    let up = |code: &u16| (EV_KEY, *code, 0);
    TYPED.iter().flat_map(|(_, codes)| codes.iter().map(down).chain(codes.iter().rev().map(up))).collect()
}

fn pointing() -> Vec<Told> {
    let clicks = CLICKED.iter().flat_map(|(position, _, code)| {
        let (x, y) = (i32::from(position.x), i32::from(position.y));
        [(EV_ABS, 0, x), (EV_ABS, 1, y), (EV_KEY, *code, 1), (EV_KEY, *code, 0)]
    });
    clicks.chain([(EV_REL, REL_WHEEL, i32::from(NOTCHES))]).collect()
}

fn is_key(event: &InputEvent) -> bool {
    event.kind == EV_KEY && event.code < FIRST_BUTTON
}

fn arrived(name: &str, expected: &[Told], heard: &Input, of_this: fn(&InputEvent) -> bool) -> Check {
    let counts = |event: &&InputEvent| {
        let repeated = event.kind == EV_KEY && event.value == REPEATED;
        let said_twice = event.kind == EV_REL && event.code == REL_WHEEL_HI_RES;
        of_this(event) && !repeated && !said_twice
    };
    let found: Vec<Told> =
        heard.events.iter().filter(counts).map(|event| (event.kind, event.code, event.value)).collect();
    let mut detail =
        format!("{} of {} events arrived in order", common_prefix(&found, expected), expected.len());
    if found != expected {
        detail =
            format!("{detail}; expected {expected:?}, the guest reports {found:?} and {} more", heard.more);
    }
    checks::check(name, found == expected, detail)
}

fn common_prefix(found: &[Told], expected: &[Told]) -> usize {
    found.iter().zip(expected).take_while(|(found, expected)| found == expected).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(told: &[Told]) -> Input {
        let event = |&(kind, code, value): &Told| InputEvent { device: "d".into(), kind, code, value };
        Input { events: told.iter().map(event).collect(), more: 0 }
    }

    #[test]
    fn chords_that_are_typed_can_be_read() {
        for (chord, codes) in TYPED {
            assert_eq!(Chord::parse(chord).unwrap().keys().count(), codes.len(), "{chord}");
        }
    }

    #[test]
    fn keys_and_mouse_are_judged_apart_without_repetitions() {
        let mut told = [keys(), pointing()].concat();
        told.insert(1, (EV_KEY, 30, REPEATED));
        told.push((EV_REL, REL_WHEEL_HI_RES, -120));
        let heard = heard(&told);
        assert!(arrived("keys", &keys(), &heard, is_key).passed);
        let mouse = arrived("mouse", &pointing(), &heard, |event| !is_key(event));
        assert!(mouse.passed);
        assert_eq!(mouse.detail, "9 of 9 events arrived in order");
    }

    #[test]
    fn missing_or_foreign_event_fails_and_shows_both_lists() {
        let mut told = keys();
        told.remove(2);
        let check = arrived("keys", &keys(), &heard(&told), is_key);
        assert!(!check.passed && check.detail.starts_with("2 of 12 events"), "{}", check.detail);
        assert!(check.detail.contains("(1, 42, 1)") && check.detail.contains("the guest reports"));
        assert!(!arrived("keys", &keys(), &heard(&[]), is_key).passed);
    }
}
