//! The workloads: what a guest can be asked to draw while its refresh traffic is counted.
//!
//! A workload does the same operations for the same seed, size of screen and scale, so that two runs can be compared. What paces it are
//! absolute deadlines on the guest's monotonic clock: a guest that is too slow does not do fewer operations, but takes longer, and says
//! so.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// The scales that a workload takes, in percent of its full size.
pub const SCALE_PERCENT: RangeInclusive<u32> = 1..=1000;

/// Where the host puts the program for [`Workload::Exec`] in the initramfs.
pub const EXEC_PROGRAM: &str = "/exec";

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Nothing, with the cursor hidden.
    Idle,
    /// Nothing but the blinking cursor.
    Cursor,
    /// Console output as fast as it goes.
    Flood,
    /// Console output, some at once, some at a human pace.
    Lines,
    /// The whole screen in one colour after the other.
    Fill,
    /// A small box on its way across the screen.
    Box,
    /// Two far pixels at once.
    Corners,
    /// Rectangles and pixels anywhere.
    Random,
    /// Pixels on both sides of page boundaries.
    Straddle,
    /// The end of the frame buffer.
    LastRow,
    /// A small film at 30 Hz.
    Video30,
    /// A small film at 60 Hz.
    Video60,
    /// Drawing without a mapping.
    Write,
    /// Drawing, and going away at once.
    Close,
    /// Drawing, and waiting until it is sent.
    Fsync,
    /// Other virtual terminals and back.
    Vt,
    /// Commits through KMS.
    Kms,
    /// A program of the user's own.
    Exec,
}

/// Why there is no such workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown workload {name:?}; known are {known}{hint}", known = known(), hint = hint(*nearest))]
pub struct UnknownWorkload {
    /// What was asked for.
    pub name: String,
    /// The known name that looks most like it, if one does.
    pub nearest: Option<&'static str>,
}

/// Why a workload is not for a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("workload {workload} needs {needs}, the driver {driver} has none")]
pub struct NotApplicable {
    /// Which.
    pub workload: Workload,
    /// The guest's driver.
    pub driver: String,
    /// What it lacks.
    pub needs: &'static str,
}

/// Why a scale is no scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("scale of {0} percent is not within {min} to {max} percent", min = SCALE_PERCENT.start(), max = SCALE_PERCENT.end())]
pub struct ScaleError(pub u32);

impl Workload {
    /// Every workload, in the order in which a measurement of all of them runs them.
    pub const ALL: [Self; 18] = [
        Self::Idle,
        Self::Cursor,
        Self::Flood,
        Self::Lines,
        Self::Fill,
        Self::Box,
        Self::Corners,
        Self::Random,
        Self::Straddle,
        Self::LastRow,
        Self::Video30,
        Self::Video60,
        Self::Write,
        Self::Close,
        Self::Fsync,
        Self::Vt,
        Self::Kms,
        Self::Exec,
    ];

    /// Its name, stable for ever.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Cursor => "cursor",
            Self::Flood => "flood",
            Self::Lines => "lines",
            Self::Fill => "fill",
            Self::Box => "box",
            Self::Corners => "corners",
            Self::Random => "random",
            Self::Straddle => "straddle",
            Self::LastRow => "lastrow",
            Self::Video30 => "video30",
            Self::Video60 => "video60",
            Self::Write => "write",
            Self::Close => "close",
            Self::Fsync => "fsync",
            Self::Vt => "vt",
            Self::Kms => "kms",
            Self::Exec => "exec",
        }
    }

    /// What it does at 100 percent, in a sentence. The scale changes the count; the pace stays.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Idle => "draws nothing for 5 s, with the console's cursor hidden",
            Self::Cursor => "draws nothing for 5 s, with the console's cursor blinking",
            Self::Flood => {
                "prints 1024 x 1024 lines of 64 bytes, all alike, on the console, 64 MiB, as fast as it takes them"
            }
            Self::Lines => {
                "clears the console and prints 200 numbered lines at once, then 20 more, one every 200 ms"
            }
            Self::Fill => "fills the whole screen with 20 colours, one every 100 ms",
            Self::Box => "moves a box of 64 x 64 pixels 150 times, at 30 Hz",
            Self::Corners => {
                "sets two pixels in opposite corners at once, 40 times, one pair every 100 ms, the two diagonals in turn"
            }
            Self::Random => {
                "draws 200 rectangles of up to a quarter of each side, every fourth a pixel, one every 20 ms"
            }
            Self::Straddle => {
                "draws 8 pixels before and 8 after a page boundary of the frame buffer, 50 times, one every 100 ms"
            }
            Self::LastRow => {
                "draws the last row 20 times, then the last pixel 20 times, one every 100 ms, each in another colour"
            }
            Self::Video30 => "redraws 320 x 240 pixels in the middle of the screen 150 times, at 30 Hz",
            Self::Video60 => "redraws 320 x 240 pixels in the middle of the screen 300 times, at 60 Hz",
            Self::Write => {
                "draws 50 boxes of 64 x 64 pixels with write(2) instead of a mapping, one every 100 ms"
            }
            Self::Close => {
                "opens and maps the frame buffer, draws a box of 64 x 64 pixels, unmaps and closes at once, 50 times, one every 100 ms"
            }
            Self::Fsync => {
                "draws a box of 64 x 64 pixels and waits in fsync(2) until it is sent, 100 times, one every 20 ms"
            }
            Self::Vt => {
                "brings virtual terminals 2 and 1 to the front in turn, 20 times, and prints 4 lines on each, one switch every 250 ms"
            }
            Self::Kms => {
                "commits a buffer of its own every 50 ms, 30 times each with one damage clip, with 16, and with none; holds the screen afterwards"
            }
            Self::Exec => "runs the program that the host put at /exec and waits for its end, 60 s at most",
        }
    }

    /// What it is for: what a driver gets wrong, or does well, under it.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Idle => "the floor: every message here is one too many",
            Self::Cursor => "the price of a text console that nobody uses",
            Self::Flood => "scrolling: how much of what nobody sees is sent, and what it costs the guest",
            Self::Lines => "the usual console: does every line come at once, and only its own row",
            Self::Fill => "the largest honest refresh",
            Self::Box => "small motion: is the rectangle as small as the box",
            Self::Corners => {
                "the box around far pixels: one message for two pixels can declare the whole screen"
            }
            Self::Random => "no missed pixel, wherever it is",
            Self::Straddle => "turning written pages into rows: a page's last pixel and the next one's first",
            Self::LastRow => "off by one at the end of the frame buffer",
            Self::Video30 => "steady motion slower than a screen, faster than deferred I/O",
            Self::Video60 => "the same at a screen's own rate",
            Self::Write => "damage from write(2), which not every driver follows",
            Self::Close => "what was written just before the last close, with its refresh still to come",
            Self::Fsync => "a refresh on demand",
            Self::Vt => "the whole console drawn again, at once",
            Self::Kms => "damage clips: are they kept apart, merged, or forgotten",
            Self::Exec => "what none of the others does",
        }
    }

    /// What one of the operations is that `WorkloadDone` counts.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Idle | Self::Cursor => "millisecond",
            Self::Flood | Self::Lines => "line",
            Self::Fill => "fill",
            Self::Box => "move",
            Self::Corners => "pair of pixels",
            Self::Random => "rectangle",
            Self::Straddle => "page boundary",
            Self::LastRow => "row or pixel",
            Self::Video30 | Self::Video60 => "frame",
            Self::Write | Self::Close | Self::Fsync => "box",
            Self::Vt => "switch",
            Self::Kms => "commit",
            Self::Exec => "program",
        }
    }

    /// Whether it draws through a mapping of `/dev/fb0`.
    ///
    /// Not for a guest whose driver has its VRAM in guest RAM: `hyperv_fb` then maps pages to user space that it gives back to the
    /// kernel's allocator, and the guest goes wrong. Where the VRAM is only the host knows.
    #[must_use]
    pub const fn maps_frame_buffer(self) -> bool {
        matches!(
            self,
            Self::Fill
                | Self::Box
                | Self::Corners
                | Self::Random
                | Self::Straddle
                | Self::LastRow
                | Self::Video30
                | Self::Video60
                | Self::Close
                | Self::Fsync
        )
    }

    /// Whether it writes to the text console, which must be there.
    #[must_use]
    pub const fn uses_console(self) -> bool {
        matches!(self, Self::Idle | Self::Cursor | Self::Flood | Self::Lines | Self::Vt)
    }

    /// Whether it is for guests with this driver ("hyperv_fb", "hyperv_drm").
    ///
    /// # Errors
    /// [`NotApplicable`] with the reason.
    pub fn applies_to(self, driver: &str) -> Result<(), NotApplicable> {
        if self == Self::Kms && driver.starts_with("hyperv_fb") {
            return Err(NotApplicable { workload: self, driver: driver.to_owned(), needs: "KMS" });
        }
        Ok(())
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        Self::ALL.into_iter().find(|workload| workload.name() == name).ok_or_else(|| UnknownWorkload {
            name: name.to_owned(),
            nearest: nearest(name, Self::ALL.map(Self::name)),
        })
    }
}

/// `full` operations at `scale_percent`, at least one.
///
/// # Errors
/// [`ScaleError`] outside of [`SCALE_PERCENT`].
pub fn scaled(full: u64, scale_percent: u32) -> Result<u64, ScaleError> {
    if !SCALE_PERCENT.contains(&scale_percent) {
        return Err(ScaleError(scale_percent));
    }
    Ok((full.saturating_mul(scale_percent.into()) / 100).max(1))
}

fn known() -> String {
    Workload::ALL.map(Workload::name).join(", ")
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_from_text_and_from_json() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
            assert_eq!(serde_json::to_string(&workload).unwrap(), format!("\"{workload}\""));
        }
        let names: std::collections::HashSet<_> = Workload::ALL.map(Workload::name).into();
        assert_eq!(names.len(), Workload::ALL.len());
    }

    #[test]
    fn unknown_name_lists_the_known_and_the_nearest() {
        let error = "flod".parse::<Workload>().unwrap_err();
        assert_eq!(error.nearest, Some("flood"));
        let text = error.to_string();
        assert!(text.starts_with("unknown workload \"flod\"; known are idle, cursor, flood,"), "{text}");
        assert!(text.ends_with(", kms, exec; did you mean flood?"), "{text}");
        let far = "brightness".parse::<Workload>().unwrap_err().to_string();
        assert!(far.ends_with("exec"), "{far}");
    }

    #[test]
    fn documented_table_says_what_the_code_says() {
        let page = include_str!("../../../docs/workloads.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let expected = Workload::ALL.map(|workload| {
            let (summary, operation) = (workload.summary(), workload.operation());
            format!("| `{workload}` | {summary} | {operation} | {} |", workload.purpose())
        });
        assert_eq!(rows, expected);
        for workload in Workload::ALL.into_iter().filter(|workload| workload.maps_frame_buffer()) {
            let start = page.find("through a mapping of").unwrap();
            let paragraph = page[..start].rsplit("\n- ").next().unwrap();
            assert!(paragraph.contains(&format!("`{workload}`")), "{workload} is not in {paragraph}");
        }
    }

    #[test]
    fn only_kms_is_not_for_hyperv_fb() {
        let refused: Vec<_> =
            Workload::ALL.into_iter().filter(|workload| workload.applies_to("hyperv_fb").is_err()).collect();
        assert_eq!(refused, [Workload::Kms]);
        assert_eq!(
            Workload::Kms.applies_to("hyperv_fb").unwrap_err().to_string(),
            "workload kms needs KMS, the driver hyperv_fb has none"
        );
        for workload in Workload::ALL {
            assert_eq!(workload.applies_to("hyperv_drm"), Ok(()));
        }
    }

    #[test]
    fn scale_outside_of_its_bounds_is_refused_and_none_is_nothing() {
        assert_eq!(scaled(150, 100), Ok(150));
        assert_eq!(scaled(150, 1), Ok(1));
        assert_eq!(scaled(20, 1), Ok(1));
        assert_eq!(scaled(u64::MAX, 1000), Ok(u64::MAX / 100));
        for outside in [0, 1001, u32::MAX] {
            assert_eq!(scaled(150, outside), Err(ScaleError(outside)));
        }
        assert_eq!(ScaleError(0).to_string(), "scale of 0 percent is not within 1 to 1000 percent");
    }
}
