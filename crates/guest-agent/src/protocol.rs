//! The conversation on the guest's second serial port (ISA 0x2f8, IRQ 3, `/dev/ttyS1`): one JSON object a line.
//!
//! Host to guest: [`Request`]s, one at a time, each answered by exactly one [`Event::Done`] with the same id (after it,
//! nothing for `power_off`, `reboot` and `crash`, which end the guest). Guest to host: [`Event`]s. At start the agent sends
//! `hello`, `firmware_screen` where there is one, `modules`, then `driver` or `no_driver`, unasked, and only then reads requests. Where
//! there is a screen it has cleared the text console before, and hidden its cursor.
//!
//! Everything that comes from the guest is untrusted: lines are bounded by [`crate::lines::MAX_LINE_BYTES`], and a line that does
//! not parse is the guest's mistake, never ours.

use serde::{Deserialize, Serialize};

use crate::lifecycle::Step;
use crate::pattern::Pattern;
use crate::workload::Workload;

/// One thing for the guest to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host, repeated in [`Event::Done`].
    pub id: u32,
    /// What to do.
    pub command: Command,
}

/// What the host can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Draws a pattern over the whole screen through a mapping of `/dev/fb0`, so by deferred I/O.
    Draw {
        /// Which picture.
        pattern: Pattern,
        /// Its seed.
        seed: u64,
    },
    /// Fills the whole screen with one colour, 0x00RRGGBB, through a mapping of `/dev/fb0`.
    Fill {
        /// The colour.
        color: u32,
    },
    /// Fills a rectangle with one colour, through a mapping of `/dev/fb0`. 1 by 1 is a pixel. Must lie inside the screen.
    Poke {
        /// Left column.
        x: u32,
        /// Top row.
        y: u32,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The colour, 0x00RRGGBB.
        color: u32,
    },
    /// Makes the driver send what it collected from the mapping now (`fsync` of `/dev/fb0`), not at its next period.
    Flush,
    /// Sets a mode through KMS (an atomic commit) and shows a pattern in it, from a buffer of its own. The text console is not on the
    /// screen from then on until `kms_release`.
    KmsMode {
        /// Width of the mode in pixels; the driver must have it.
        width: u32,
        /// Its height.
        height: u32,
        /// Which picture.
        pattern: Pattern,
        /// Its seed.
        seed: u64,
    },
    /// Draws a pattern over the buffer that `kms_mode` shows, tile by tile, row after row; each tile is an atomic commit with one damage
    /// clip, which is that tile.
    KmsTiles {
        /// Which picture.
        pattern: Pattern,
        /// Its seed.
        seed: u64,
        /// Tiles in a row.
        columns: u32,
        /// Rows of tiles.
        rows: u32,
    },
    /// Gives the screen back to the frame buffer and the text console.
    KmsRelease,
    /// Clears the text console and hides its cursor, then prints numbered lines.
    Console {
        /// How many lines; more than the console has rows makes it scroll.
        lines: u32,
    },
    /// Types on the text console without a pause, character after character in the same place.
    Typing {
        /// How long, in milliseconds.
        ms: u32,
    },
    /// Reads the text console back; answered by [`Event::Vcs`] before `done`.
    Vcs,
    /// Does nothing for a while, so that the host sees what comes unasked.
    Idle {
        /// How long, in milliseconds.
        ms: u32,
    },
    /// Listens to the input devices on VMBus: [`Event::InputReady`] as soon as it does, [`Event::Input`] before `done`.
    Input {
        /// How many devices to wait for before listening, a few seconds at most.
        devices: u32,
        /// How long to listen, in milliseconds.
        ms: u32,
    },
    /// Sends `hello`, and `driver` or `no_driver`, again.
    Info,
    /// Something that happens to the video driver besides drawing.
    Lifecycle {
        /// What.
        step: Step,
    },
    /// Does one of the workloads; answered by [`Event::WorkloadDone`] before `done`.
    Workload {
        /// Which.
        workload: Workload,
        /// What its colours and places come from.
        seed: u64,
        /// How much of it, within [`crate::workload::SCALE_PERCENT`].
        scale_percent: u32,
    },
    /// Reads back what was drawn, from the driver's memory and not from VRAM; answered by [`Event::DrawnTiles`] before `done`, as
    /// often as it takes.
    DrawnTiles {
        /// The side of a tile, within [`crate::tiles::TILE_PX`].
        tile_px: u32,
    },
    /// Powers off.
    PowerOff,
    /// Reboots.
    Reboot,
    /// Crashes the kernel on purpose (sysrq `c`).
    Crash,
}

/// What the guest tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent runs.
    Hello(Hello),
    /// What became of the kernel modules in the initramfs.
    Modules {
        /// Names loaded, in order.
        loaded: Vec<String>,
        /// Those that did not load.
        failed: Vec<FailedModule>,
    },
    /// The kernel found a frame buffer that the firmware left. Sent before any module is loaded, and only if there is one.
    FirmwareScreen(FirmwareScreen),
    /// There is a frame buffer.
    Driver(Driver),
    /// There is no frame buffer.
    NoDriver {
        /// Why, as far as the agent can tell.
        reason: String,
    },
    /// A request came to its end.
    Done(Done),
    /// The text console, as the kernel holds it.
    Vcs(Vcs),
    /// From now on nothing that the input devices report is lost.
    InputReady {
        /// The devices' names.
        devices: Vec<String>,
    },
    /// What the input devices reported.
    Input(Input),
    /// A workload came to its end.
    WorkloadDone(WorkloadDone),
    /// What was drawn, some rows of tiles.
    DrawnTiles(DrawnTiles),
    /// Something worth reading by a person.
    Log {
        /// One line.
        text: String,
    },
}

/// The guest as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Kernel release, as `uname -r` prints.
    pub release: String,
    /// Kernel command line.
    pub cmdline: String,
    /// Milliseconds from kernel start to init.
    pub boot_ms: u64,
}

/// What the kernel made of the firmware's frame buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareScreen {
    /// The platform device, for example "efi-framebuffer.0".
    pub device: String,
    /// The driver bound to it, where it has one. Text has been printed on its console then.
    pub driver: Option<String>,
}

/// A module that did not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedModule {
    /// Its name.
    pub name: String,
    /// The kernel's answer.
    pub error: String,
}

/// The frame buffer, from `/sys/class/graphics/fb0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// The frame buffer's own name, for example "hyperv_fb".
    pub name: String,
    /// The driver bound to its device, where it has one.
    pub driver: Option<String>,
    /// Visible width in pixels.
    pub width: u32,
    /// Visible height in pixels.
    pub height: u32,
    /// Bits a pixel.
    pub bits_per_pixel: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Lines of `/proc/iomem` that belong to the driver: where the VRAM is, if it is in an MMIO window.
    pub iomem: Vec<String>,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The request's id.
    pub id: u32,
    /// Whether it did what it was asked for.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds it took, in the guest.
    pub ms: u64,
}

/// What a workload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadDone {
    /// How many operations; what one is, [`Workload::operation`] says.
    pub operations: u64,
    /// Milliseconds that all processors of the guest together spent in programs, in the kernel and in interrupts meanwhile, by
    /// `/proc/stat`, which counts in steps of 10 ms; none if it cannot be read.
    pub cpu_ms: Option<u64>,
    /// What a reader of the counts has to know.
    pub note: Option<String>,
}

/// Some rows of tiles of what the guest drew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnTiles {
    /// The side of a tile in pixels.
    pub tile_px: u32,
    /// Tiles in a row.
    pub columns: u32,
    /// The row of tiles that the first hash is of; rows come in order.
    pub first_row: u32,
    /// By [`crate::tiles::hashes`], whole rows, [`crate::tiles::MAX_HASHES`] at most.
    pub hashes: Vec<u64>,
}

/// The text console's cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcs {
    /// Cells in a row.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// One string a row, blanks at the end left out.
    pub text: Vec<String>,
    /// The attribute byte that all cells have in common; none if they differ.
    pub attribute: Option<u8>,
}

/// Events of the guest's input devices, in the order in which they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The first few hundred.
    pub events: Vec<InputEvent>,
    /// How many more there were.
    pub more: u64,
}

/// One event (Linux `struct input_event`, its time left out).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputEvent {
    /// The device's name.
    pub device: String,
    /// `EV_KEY` 1, `EV_REL` 2 or `EV_ABS` 3.
    pub kind: u16,
    /// Which key, button or axis.
    pub code: u16,
    /// Key: 0 up, 1 down, 2 repeated; otherwise what the axis says.
    pub value: i32,
}

/// Line `number` (from 1) of the `count` lines that [`Command::Console`] prints: printable ASCII, 63 characters, different for every
/// line, with characters that come again and again in other places.
#[must_use]
pub fn console_line(number: u32, count: u32) -> String {
    let turned = u32::from(b'~' - b'!' + 1);
    let tail = (0..40).filter_map(|index| {
        let offset = (number.wrapping_mul(7).wrapping_add(index)) % turned;
        u8::try_from(offset).ok().map(|offset| char::from(b'!' + offset))
    });
    let mut line = format!("line {number:>6} of {count:>6}  ");
    line.extend(tail);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_lines_fit_the_smallest_console_and_differ() {
        let lines: Vec<String> = (1..=200).map(|number| console_line(number, 200)).collect();
        for line in &lines {
            assert_eq!(line.len(), 63, "{line}");
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        }
        let different: std::collections::HashSet<_> = lines.iter().collect();
        assert_eq!(different.len(), lines.len());
    }
}
