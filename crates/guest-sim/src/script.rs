//! What a simulated guest does once its driver is up: named scripts of timed cues.

use core::fmt;
use core::str::FromStr;

use synthvid::{Rect, Size};
use thiserror::Error;

use crate::attack::Attack;

/// A millisecond of virtual time.
const MS: u64 = 1_000_000;
/// A pause in which both timers run out and the host sees everything: more than two periods of 48 ms.
const SETTLE: u64 = 500 * MS;
/// Lines that the demonstration prints.
pub const DEMO_LINES: u32 = 200;

/// A named script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// A pattern through the mmap path, then 200 console lines, then silence.
    Demo,
    /// A box that wanders over the screen, drawn by the kernel.
    Box,
    /// Nothing but a blinking cursor.
    Idle,
    /// Malformed messages at every layer, and then a pattern, to see whether the host still shows one.
    Hostile,
}

/// A moment at which the guest's picture is complete and nothing of it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Milestone {
    /// The pattern fills the screen.
    Pattern,
    /// The console shows its last lines.
    Console,
    /// The script is over.
    End,
}

/// No script has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown script {name:?}, known are {known}", known = NameList)]
pub struct UnknownScript {
    /// What was asked for.
    pub name: String,
}

impl Script {
    /// Every script, in the order of help texts.
    pub const ALL: [Self; 4] = [Self::Demo, Self::Box, Self::Idle, Self::Hostile];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Box => "box",
            Self::Idle => "idle",
            Self::Hostile => "hostile",
        }
    }

    /// What it does, in one sentence without a full stop.
    #[must_use]
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Demo => "Draws a pattern through the mmap path, prints 200 console lines, then is silent",
            Self::Box => "Moves a box over the screen for five seconds, drawn by the kernel",
            Self::Idle => "Lets a cursor blink for ten seconds and does nothing else",
            Self::Hostile => "Sends malformed messages at every layer, then draws a pattern",
        }
    }

    /// What it does, cue by cue, on a screen of `size`.
    pub(crate) fn cues(self, size: Size) -> Cues {
        match self {
            Self::Demo => Box::new(pattern(size).chain(console()).chain(end())),
            Self::Box => Box::new(wandering_box(size).chain(end())),
            Self::Idle => Box::new(blinking_cursor().chain(end())),
            Self::Hostile => Box::new(attacks().chain(pattern(size)).chain(end())),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Script {
    type Err = UnknownScript;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|script| script.name() == name);
        found.ok_or_else(|| UnknownScript { name: name.to_owned() })
    }
}

struct NameList;

impl fmt::Display for NameList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, script) in Script::ALL.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{script}")?;
        }
        Ok(())
    }
}

/// The rest of a script.
pub(crate) type Cues = Box<dyn Iterator<Item = Cue> + Send>;

/// One thing that the guest does, and how long after the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cue {
    pub(crate) after_ns: u64,
    pub(crate) act: Act,
}

/// What a guest can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// User space draws rows of the pattern through its mapping of the framebuffer.
    MapPattern(Rect),
    /// The kernel fills a rectangle with one colour.
    Fill(Rect, u32),
    /// The kernel makes the console black.
    Clear,
    /// The kernel prints a line.
    Print(String),
    /// The kernel shows or hides the cursor.
    Cursor(bool),
    /// The guest breaks a rule.
    Attack(Attack),
    /// The driver closes its channel and starts over.
    Reopen,
    /// The script's author says where it is.
    Reach(Milestone),
}

fn cue(after_ns: u64, act: Act) -> Cue {
    Cue { after_ns, act }
}

/// The pattern in eight bands, as a program writes it that takes its time.
fn pattern(size: Size) -> impl Iterator<Item = Cue> + Send {
    const BANDS: u32 = 8;
    let edge = move |band: u32| {
        let row = u64::from(size.height) * u64::from(band) / u64::from(BANDS);
        i32::try_from(row).unwrap_or(i32::MAX)
    };
    let bands = (0..BANDS).map(move |band| Rect::new(0, edge(band), size.rect().right, edge(band + 1)));
    bands
        .enumerate()
        .map(|(index, band)| cue(if index == 0 { 2 * SETTLE } else { 20 * MS }, Act::MapPattern(band)))
        .chain([cue(SETTLE, Act::Reach(Milestone::Pattern))])
}

fn console() -> impl Iterator<Item = Cue> + Send {
    let lines = (1..=DEMO_LINES).map(|line| cue(5 * MS, Act::Print(console_line(line))));
    [cue(100 * MS, Act::Clear)].into_iter().chain(lines).chain([cue(SETTLE, Act::Reach(Milestone::Console))])
}

/// The text of console line `line`, counted from 1.
pub(crate) fn console_line(line: u32) -> String {
    format!(
        "line {line:03} of {DEMO_LINES}: the quick brown fox jumps over the lazy dog 0123456789 {line:#06x}"
    )
}

fn wandering_box(size: Size) -> impl Iterator<Item = Cue> + Send {
    const STEPS: u32 = 300;
    const SIDE: Size = Size::new(64, 64);
    let place = move |step: u32| {
        let at = |side: u32, speed: u32| {
            let room = side.saturating_sub(64).max(1);
            let walked = step.saturating_mul(speed) % (2 * room);
            i32::try_from(walked.min(2 * room - walked)).unwrap_or(0)
        };
        Rect::at(at(size.width, 9), at(size.height, 7), SIDE)
    };
    (0..STEPS).flat_map(move |step| {
        [
            cue(16 * MS, Act::Fill(place(step.saturating_sub(1)), 0)),
            cue(0, Act::Fill(place(step), 0x00ff_8000)),
        ]
    })
}

/// Linux lets a cursor blink with a period of 400 ms: 200 ms on, 200 ms off.
fn blinking_cursor() -> impl Iterator<Item = Cue> + Send {
    (0..50).map(|blink| cue(200 * MS, Act::Cursor(blink % 2 == 0)))
}

fn attacks() -> impl Iterator<Item = Cue> + Send {
    let one = |attack: Attack| [cue(100 * MS, Act::Attack(attack)), cue(200 * MS, Act::Reopen)];
    Attack::ALL.into_iter().flat_map(one)
}

fn end() -> impl Iterator<Item = Cue> + Send {
    [cue(2 * SETTLE, Act::Reach(Milestone::End))].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Size = Size::new(1024, 768);

    #[test]
    fn unknown_name_lists_the_scripts() {
        for script in Script::ALL {
            assert_eq!(script.name().parse(), Ok(script));
        }
        let error = "dmeo".parse::<Script>().expect_err("no script");
        assert_eq!(error.to_string(), r#"unknown script "dmeo", known are demo, box, idle, hostile"#);
    }

    #[test]
    fn every_script_ends_once_and_last() {
        for script in Script::ALL {
            let ends: Vec<_> = script.cues(SCREEN).map(|cue| cue.act == Act::Reach(Milestone::End)).collect();
            assert_eq!(ends.iter().filter(|end| **end).count(), 1, "{script}");
            assert_eq!(ends.last(), Some(&true), "{script}");
        }
    }

    #[test]
    fn bands_of_the_pattern_cover_the_screen_without_a_gap() {
        for size in [SCREEN, Size::new(640, 479), Size::new(3, 5)] {
            let mut next = 0;
            for cue in pattern(size) {
                if let Act::MapPattern(band) = cue.act {
                    assert_eq!((band.top, band.left, band.width()), (next, 0, size.width));
                    next = band.bottom;
                }
            }
            assert_eq!(next.unsigned_abs(), size.height);
        }
    }

    #[test]
    fn box_stays_on_the_screen() {
        for cue in wandering_box(SCREEN) {
            let Act::Fill(place, _) = cue.act else { panic!("{cue:?}") };
            assert!(SCREEN.rect().contains_rect(&place), "{place}");
        }
    }

    #[test]
    fn console_lines_differ() {
        assert_ne!(console_line(1), console_line(2));
        assert_eq!(console().filter(|cue| matches!(cue.act, Act::Print(_))).count(), 200);
    }
}
