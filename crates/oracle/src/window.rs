//! What an oracle found between two moments.

use synthvid::Rect;

/// What was found from [`crate::Oracle::begin`] to [`crate::Oracle::finish`]. `docs/oracle.md` defines the levels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// When it began, by the bus's clock.
    pub begun_ns: u64,
    /// When it was over.
    pub finished_ns: u64,
    /// Looks at the log.
    pub looks: u64,
    /// Why the log could not be read, if it could not at some time; then all pixels were compared instead, and
    /// [`Self::written_pages`], [`Self::off_screen_pages`] and [`Self::rewritten_px`] are too small.
    pub log_error: Option<String>,

    /// Pages that the guest wrote, once for every look that found it written.
    pub written_pages: u64,
    /// Those among them without a pixel of the screen.
    pub off_screen_pages: u64,
    /// Pixels whose colour changed from one look to the next.
    pub changed_px: u64,
    /// Pixels on written pages whose colour did not.
    pub rewritten_px: u64,

    /// DIRT messages.
    pub dirt_messages: u64,
    /// Pixels of their rectangles, clipped to the screen, overlaps counted each time.
    pub declared_px: u64,
    /// The same, overlaps inside of one message left out.
    pub declared_union_px: u64,
    /// Pixels in [`Self::declared_union_px`] that had not changed since they were last declared.
    pub over_declared_px: u64,
    /// Pixels copied without a DIRT.
    pub implied_px: u64,

    /// Changed pixels that nothing covered within the grace time.
    pub missed_px: u64,
    /// Those among them that a DIRT or an implied repaint covered in the end.
    pub late_px: u64,
    /// Changed pixels that nobody had to declare: dirt was not wanted, or the screen went away first.
    pub excused_px: u64,
    /// Changed pixels whose grace time was not over at the end.
    pub undecided_px: u64,
    /// Where the missed pixels are: the first areas.
    pub missed: Vec<MissedArea>,
    /// Missed pixels in no area of [`Self::missed`], for lack of room.
    pub missed_elsewhere_px: u64,

    /// From the look that saw a pixel changed to the DIRT that covers it, pixel by pixel.
    pub write_to_dirt: Delays,
    /// What happened when.
    pub timeline: Timeline,
    /// What happened where; `None` if there was no screen.
    pub heat: Option<Heat>,
    /// Time that the oracle took, in nanoseconds.
    pub oracle_ns: u64,
}

/// Pixels that changed together and were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissedArea {
    /// When the change was seen, by the bus's clock.
    pub seen_ns: u64,
    /// A rectangle around them.
    pub bounds: Rect,
    /// Pixels in it.
    pub px: u64,
}

/// A distribution of delays, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delays {
    /// How many.
    pub count: u64,
    /// Median; `None` without a delay.
    pub p50_us: Option<f64>,
    /// 99 of 100 are not larger.
    pub p99_us: Option<f64>,
    /// Largest.
    pub max_us: Option<f64>,
    /// Histogram: ascending, only bars that are not empty.
    pub bars: Vec<DelayBar>,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayBar {
    /// Delays from here on, in microseconds.
    pub from_us: f64,
    /// Delays below this.
    pub to_us: f64,
    /// How many.
    pub count: u64,
}

/// Traffic over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Length of a slice in nanoseconds.
    pub slice_ns: u64,
    /// Slices that follow each other from the window's beginning on, up to the last one in which something happened.
    pub slices: Vec<Slice>,
}

/// Traffic in one slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// DIRT messages.
    pub dirt_messages: u64,
    /// Pixels declared, overlaps counted each time.
    pub declared_px: u64,
    /// Pixels seen changed.
    pub changed_px: u64,
    /// Those among them that were missed.
    pub missed_px: u64,
}

/// Traffic over the screen. Each list has `columns * rows` entries, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heat {
    /// Edge of a tile in pixels.
    pub tile_px: u32,
    /// Tiles in a row.
    pub columns: u32,
    /// Rows of tiles.
    pub rows: u32,
    /// Pixels declared, overlaps inside of one message left out.
    pub declared: Vec<u64>,
    /// Pixels changed.
    pub changed: Vec<u64>,
    /// Pixels missed.
    pub missed: Vec<u64>,
}
