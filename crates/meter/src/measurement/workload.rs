//! One workload and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OracleOverhead, Repeats};

/// What one workload did. Counts are of this workload alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadResult {
    /// Its name.
    pub name: String,
    /// Why it was not run to its end, if it was not; the counts are then not to be compared.
    pub not_run: Option<String>,
    /// From its request to the guest's answer, by the host's clock; for a simulated guest virtual time.
    pub duration_ms: f64,
    /// Over which everything here was counted: the same, and the time until the screen was quiet.
    pub window_ms: f64,
    /// Operations that the guest reports to have done; what one is depends on the workload.
    pub operations: Option<u64>,

    /// DIRT messages.
    pub dirt_messages: u64,
    /// Rectangles in them, rejected ones included.
    pub dirt_rects: u64,
    /// Rectangles refused.
    pub rejected_rects: u64,
    /// Most DIRT messages in one second.
    pub max_dirt_in_1s: u64,
    /// DIRT messages that came while the host wanted none, one refresh period granted.
    pub unwanted_dirt: u64,
    /// Doorbell rings.
    pub signals: Option<u64>,
    /// Times at which the guest's ring was seen too full for another DIRT.
    pub ring_full: Option<u64>,

    /// Pixels declared, overlaps counted each time.
    pub declared_px: u64,
    /// Pixels declared, each once for every message that names it: overlaps inside of one message left out.
    pub declared_union_px: Option<u64>,
    /// Pixels that the host copied without a DIRT.
    pub implied_px: u64,
    /// Pages of 4 KiB that the guest wrote, once for every look at the log that found it written.
    pub written_pages: Option<u64>,
    /// Pixels whose value in VRAM changed from one look to the next.
    pub changed_px: Option<u64>,
    /// Pixels on written pages whose value did not change.
    pub rewritten_px: Option<u64>,
    /// Declared pixels that had not changed since they were last declared.
    pub over_declared_px: Option<u64>,
    /// Changed pixels that were covered by no DIRT and no implied repaint within the grace time, while dirt was wanted.
    pub missed_px: Option<u64>,
    /// Those among them that a DIRT or an implied repaint covered in the end, too late.
    pub late_px: Option<u64>,
    /// Where they are; the first few areas only.
    pub missed: Vec<MissedArea>,
    /// Tiles in which the host's picture differs from what the guest says that it drew; null if it cannot say.
    pub stale: Option<StaleTiles>,

    /// Times between one DIRT message and the next, in milliseconds.
    pub interval_ms: Spread,
    /// The same as a histogram.
    pub interval_histogram: Vec<Bucket>,
    /// Latencies.
    pub latency_us: Latencies,
    /// What it cost.
    pub costs: Costs,
    /// A second pass while the host wanted no DIRT, and what came when it wanted DIRT again; null if there was none.
    pub unwanted: Option<UnwantedPass>,
    /// Traffic over time, in slices of equal length.
    pub timeline: Vec<TimelinePoint>,
    /// Traffic over the screen, in tiles; null without a screen.
    pub heat: Option<Heat>,

    /// How far this window, which is the first, and those after it agree; null if there was only one.
    pub repeats: Option<Repeats>,
    /// What it costs with the oracle and without it; null if nobody asked.
    pub oracle_overhead: Option<OracleOverhead>,
}

/// The workload once more while the host wanted no DIRT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwantedPass {
    /// Pages that the guest wrote all the same.
    pub written_pages: Option<u64>,
    /// Pixels whose value changed all the same.
    pub changed_px: Option<u64>,
    /// DIRT messages after the host said that it wants them again, while the guest drew nothing.
    pub dirt_when_wanted_again: u64,
}

/// Pixels that changed and were not declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissedArea {
    /// When the change was seen, in milliseconds from the start of the workload.
    pub at_ms: f64,
    /// Left column.
    pub x: u32,
    /// Top row.
    pub y: u32,
    /// Columns of the bounding rectangle.
    pub width: u32,
    /// Rows of the bounding rectangle.
    pub height: u32,
    /// Pixels in it that were missed.
    pub px: u64,
}

/// Tiles of the host's picture that differ from what the guest drew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleTiles {
    /// Edge of a tile in pixels.
    pub tile_px: u32,
    /// Tiles that were compared.
    pub compared: u64,
    /// Those that differ.
    pub differing: u64,
    /// Column and row of the first few that differ, in tiles.
    pub first: Vec<(u32, u32)>,
}

/// A distribution in a few numbers; all null without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Median.
    pub p50: Option<f64>,
    /// 99 of 100 are not larger.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Values from here on.
    pub from: f64,
    /// Values below this.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From a doorbell to the pixels of the DIRT message that it announced.
    pub doorbell_to_surface: Spread,
    /// The same as a histogram.
    pub doorbell_to_surface_histogram: Vec<Bucket>,
    /// From the look that found a page changed to the DIRT that covers it. The write itself may be up to one sample
    /// period older.
    pub write_to_dirt: Spread,
    /// The same as a histogram.
    pub write_to_dirt_histogram: Vec<Bucket>,
}

/// What a workload cost. Null where nobody counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Exits of the virtual processors, those that the kernel handled included.
    pub exits_total: Option<u64>,
    /// Exits to this program.
    pub exits_user: Option<u64>,
    /// Exits by the name that KVM's statistics, or this program, give the reason.
    pub exits_by_reason: BTreeMap<String, u64>,
    /// Exits to this program for each DIRT message.
    pub exits_user_per_dirt: Option<f64>,
    /// Processor time of the event thread.
    pub host_cpu_us: Option<u64>,
    /// Processor time of the event thread for each DIRT message.
    pub host_cpu_us_per_dirt: Option<f64>,
    /// Processor time of the event thread for each MiB declared.
    pub host_cpu_us_per_mib: Option<f64>,
    /// Time that the oracle took on that thread, by the wall clock: on a loaded host more than its processor time.
    pub oracle_cpu_us: Option<u64>,
    /// Processor time of the threads that run the guest, KVM's work for it included.
    #[serde(default)]
    pub vcpu_cpu_us: Option<u64>,
    /// Processor time in the guest, user and system, by the guest's own count.
    pub guest_cpu_ms: Option<u64>,
    /// `duration_ms` of a second pass while the host wanted no DIRT.
    pub unwanted_duration_ms: Option<f64>,
    /// [`Self::guest_cpu_ms`] of that pass.
    pub unwanted_guest_cpu_ms: Option<u64>,
}

/// Traffic in one slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// Start of the slice, in milliseconds from the start of the workload.
    pub at_ms: f64,
    /// DIRT messages.
    pub dirt_messages: u64,
    /// Pixels declared.
    pub declared_px: u64,
    /// Pixels changed.
    pub changed_px: u64,
    /// Pixels missed.
    pub missed_px: u64,
}

/// Traffic over the screen. Each list has `columns * rows` entries, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heat {
    /// Edge of a tile in pixels.
    pub tile_px: u32,
    /// Tiles in a row.
    pub columns: u32,
    /// Rows of tiles.
    pub rows: u32,
    /// Pixels declared.
    pub declared: Vec<u64>,
    /// Pixels changed.
    pub changed: Vec<u64>,
    /// Pixels missed.
    pub missed: Vec<u64>,
}
