//! Workloads on the text console.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    time::{Duration, Instant},
};

use guest_agent::protocol::console_line;

use super::{Outcome, Pace, Size};
use crate::console;

const FIRST: &str = "/dev/tty1";
const SECOND: &str = "/dev/tty2";
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";

/// A flood ends here at the latest, with a note.
const FLOOD_LIMIT: Duration = Duration::from_secs(600);
const FLOOD_LINES: u64 = 1024 * 1024;
/// With its line end.
const FLOOD_LINE_BYTES: usize = 64;
const FLOOD_LINES_AT_ONCE: u64 = 256;

fn on_console(error: io::Error) -> String {
    format!("console: {error}")
}

fn open(path: &str) -> Result<File, String> {
    OpenOptions::new().write(true).open(path).map_err(|error| format!("cannot open {path}: {error}"))
}

/// Nothing for a while, with the console's cursor or without.
pub(super) fn idle(size: Size, cursor: bool) -> Result<Outcome, String> {
    let ms = size.of(5_000)?;
    let mut console = open(FIRST)?;
    console.write_all(if cursor { SHOW_CURSOR } else { HIDE_CURSOR }).map_err(on_console)?;
    Pace::every_ms(ms).wait();
    console.write_all(HIDE_CURSOR).map_err(on_console)?;
    Ok(Outcome::plain(ms))
}

/// Lines of text without a pause. A line of the console's width or more would wrap, and scroll twice. All lines are alike: where they
/// differ each one changes the whole screen, and it is the drawing of glyphs that is measured.
pub(super) fn flood(size: Size) -> Result<Outcome, String> {
    let lines = size.of(FLOOD_LINES)?;
    let mut console = open(FIRST)?;
    let start = Instant::now();
    let letters = (b'!'..=b'~').cycle().skip(usize::try_from(size.seed % 94).unwrap_or_default());
    let mut line: Vec<u8> = letters.take(FLOOD_LINE_BYTES - 1).collect();
    line.push(b'\n');
    let chunk = line.repeat(usize::try_from(FLOOD_LINES_AT_ONCE).unwrap_or_default());
    let mut done = 0;
    while done < lines {
        let count = FLOOD_LINES_AT_ONCE.min(lines - done);
        let bytes = usize::try_from(count).unwrap_or_default() * FLOOD_LINE_BYTES;
        console.write_all(chunk.get(..bytes).unwrap_or(&chunk)).map_err(on_console)?;
        done += count;
        if start.elapsed() > FLOOD_LIMIT && done < lines {
            let note = format!("cut off after {} s and {done} of {lines} lines", FLOOD_LIMIT.as_secs());
            return Ok(Outcome { operations: done, note: Some(note) });
        }
    }
    Ok(Outcome::plain(done))
}

/// Numbered lines, most at once, some one by one.
pub(super) fn lines(size: Size) -> Result<Outcome, String> {
    let count = |full| size.of(full).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let (at_once, singly) = (count(200)?, count(20)?);
    console::print_lines(at_once).map_err(on_console)?;
    let mut console = open(FIRST)?;
    let mut pace = Pace::every_ms(200);
    let all = at_once.saturating_add(singly);
    for number in at_once.saturating_add(1)..=all {
        pace.wait();
        writeln!(console, "{}\r", console_line(number, all)).map_err(on_console)?;
    }
    pace.wait();
    Ok(Outcome::paced(all.into(), &pace))
}

/// The second virtual terminal to the front and the first again, each with some lines of its own.
pub(super) fn switch(size: Size) -> Result<Outcome, String> {
    // Whole turns, so that the first terminal is in front at the end.
    let turns = size.of(10)?;
    let (mut first, mut second) = (open(FIRST)?, open(SECOND)?);
    second.write_all(b"\x1bc\x1b[?25l\x1b[2J\x1b[H").map_err(on_console)?;
    let mut pace = Pace::every_ms(250);
    let mut line = 0;
    for _ in 0..turns {
        for (terminal, number) in [(&mut second, 2), (&mut first, 1)] {
            bring_to_front(terminal, number)?;
            for _ in 0..4 {
                line += 1;
                writeln!(terminal, "{}\r", console_line(line, u32::MAX)).map_err(on_console)?;
            }
            pace.wait();
        }
    }
    Ok(Outcome::paced(turns * 2, &pace))
}

/// Brings a virtual terminal to the front and waits until it is there. The escape sequence is Linux's own (console_codes(4)); it needs
/// no privilege and no ioctl.
fn bring_to_front(terminal: &mut File, number: u32) -> Result<(), String> {
    terminal.write_all(format!("\x1b[12;{number}]").as_bytes()).map_err(on_console)?;
    let wanted = format!("tty{number}");
    let mut pace = Pace::every_ms(2);
    for _ in 0..2_500 {
        let active = fs::read_to_string("/sys/class/tty/tty0/active").unwrap_or_default();
        if active.trim() == wanted {
            return Ok(());
        }
        pace.wait();
    }
    Err(format!("{wanted} was not in front after 5 s"))
}
