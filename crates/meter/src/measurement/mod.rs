//! What `vmbus-emu measure` finds out: refresh traffic against what KVM saw the guest write, workload by workload.
//!
//! Three levels are never mixed. *Declared* is what DIRT messages named. *Written* is what KVM's dirty log holds, in
//! pages of 4 KiB. *Changed* is what a comparison of pixels found. A value that was not measured is null, never zero.

pub mod fields;
mod quantity;
mod repeats;
mod traffic;
mod workload;

use serde::{Deserialize, Serialize};

pub use quantity::{Better, Kind, QUANTITIES, Quantity};
pub use repeats::{CountSpread, OracleOverhead, Repeats, WithAndWithout};
pub use traffic::{SharedTraffic, TrafficWindow, UNWANTED_AFTER_NS};
pub use workload::{
    Bucket, Costs, Heat, Latencies, MissedArea, Spread, StaleTiles, TimelinePoint, UnwantedPass,
    WorkloadResult,
};

use crate::report::{Check, Device, Guest, Host};

/// Value of [`Measurement::schema`]. It changes when a key goes away or changes its meaning; new keys may come.
pub const SCHEMA: &str = "vmbus-emu.measurement/1";

/// One guest, measured under one or more workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// [`SCHEMA`].
    pub schema: String,
    /// The machine's side.
    pub host: Host,
    /// The guest.
    pub guest: Guest,
    /// What guest and host agreed on.
    pub device: Device,
    /// How it was measured.
    pub settings: Settings,
    /// What each workload did, in the order in which they ran.
    pub workloads: Vec<WorkloadResult>,
    /// What was checked, budgets included.
    pub checks: Vec<Check>,
    /// What this measurement cannot know, one sentence each.
    pub limits: Vec<String>,
}

/// How a measurement was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// A changed pixel that no DIRT covers within so many milliseconds is missed.
    pub grace_ms: u64,
    /// Longest time between two looks at the dirty log, in milliseconds. There is one before each DIRT, too.
    pub sample_ms: u64,
    /// Edge of a tile of the heat maps, in pixels.
    pub tile_px: u32,
    /// Seed of the workloads.
    pub seed: u64,
    /// How much of each workload was done, in percent of its full size.
    pub scale_percent: u32,
    /// The oracle compared pixels; without it only declared traffic is known.
    pub oracle: bool,
}

impl Measurement {
    /// The workload called `name`, if it was measured.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&WorkloadResult> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// Every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}
