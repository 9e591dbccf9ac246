//! The text console on tty1: printing a picture that the host can check, and reading back what the kernel thinks is on it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use guest_agent::protocol::{Vcs, console_line};
use rustix::termios::tcgetwinsize;

const CONSOLE: &str = "/dev/tty1";
/// Its cells: rows, columns, cursor column, cursor row, then a character and an attribute byte each.
const CELLS: &str = "/dev/vcsa1";

/// Resets the console, hides its cursor, clears it, cursor home.
const CLEAR: &[u8] = b"\x1bc\x1b[?25l\x1b[2J\x1b[H";

/// Clears the console and hides its cursor, which blinks, and would be in a picture or not.
pub(crate) fn clear() -> io::Result<()> {
    OpenOptions::new().write(true).open(CONSOLE)?.write_all(CLEAR)
}

/// Clears the console, then prints numbered lines.
pub(crate) fn print_lines(count: u32) -> io::Result<()> {
    let mut console = io::BufWriter::new(OpenOptions::new().write(true).open(CONSOLE)?);
    console.write_all(CLEAR)?;
    for number in 1..=count {
        writeln!(console, "{}\r", console_line(number, count))?;
    }
    console.flush()
}

/// Clears the console, then prints one character after the other, all in the upper left cell.
pub(crate) fn type_for(time: Duration) -> io::Result<()> {
    let mut console = OpenOptions::new().write(true).open(CONSOLE)?;
    console.write_all(CLEAR)?;
    let start = Instant::now();
    for letter in (b'!'..=b'~').cycle() {
        if start.elapsed() >= time {
            break;
        }
        console.write_all(&[b'\r', letter])?;
        // The driver's own work needs a processor too, and an emulated one is soon busy; this is little to the driver's period.
        thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// What its header says of an edge that a byte cannot say (`vcs_read_buf` in Linux's `drivers/tty/vt/vc_screen.c`).
const EDGE_OR_MORE: u8 = u8::MAX;

/// Reads the console back.
pub(crate) fn read_cells() -> io::Result<Vcs> {
    let bytes = fs::read(CELLS)?;
    let Some((&[rows, columns, ..], cells)) = bytes.split_first_chunk::<4>() else {
        return Err(io::Error::other(format!("{CELLS} has {} bytes, its header alone has 4", bytes.len())));
    };
    let (rows, columns) = match (rows, columns) {
        (EDGE_OR_MORE, _) | (_, EDGE_OR_MORE) => {
            let size = tcgetwinsize(OpenOptions::new().read(true).open(CONSOLE)?)?;
            (size.ws_row, size.ws_col)
        }
        (rows, columns) => (rows.into(), columns.into()),
    };
    let expected = usize::from(rows) * usize::from(columns) * 2;
    if columns == 0 || cells.len() != expected {
        return Err(io::Error::other(format!(
            "{CELLS} has {} bytes of cells, {rows} rows of {columns} have {expected}",
            cells.len()
        )));
    }
    let (characters, attributes): (Vec<u8>, Vec<u8>) =
        cells.chunks_exact(2).filter_map(|cell| Some((*cell.first()?, *cell.last()?))).unzip();
    let text = characters.chunks(columns.into()).map(|row| {
        let row: String = row.iter().copied().map(char::from).collect();
        row.trim_end_matches([' ', '\0']).to_owned()
    });
    let attribute = attributes.first().copied().filter(|first| attributes.iter().all(|other| other == first));
    Ok(Vcs { columns: columns.into(), rows: rows.into(), text: text.collect(), attribute })
}
