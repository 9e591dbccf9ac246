//! The report of a run: one JSON document whose keys are the same for every kind of run.
//!
//! A value that was not measured is null; it is never left out and never made up. `docs/report.md` explains
//! every key; its table is [`fields::field_table`], and a test holds it to the structures.

mod device;
mod exits;
pub mod fields;
mod life;
mod parties;
mod traffic;
mod write;

use serde::{Deserialize, Serialize};

pub use device::{Device, FirmwareFramebuffer, VramReport};
pub use exits::Exits;
pub use life::LifeReport;
pub use parties::{Check, Console, Guest, Host, Kvm, LabClock, Synic};
pub use traffic::{Faults, IntervalMs, LatencyUs, Percentiles, Traffic};
pub use write::ReportError;

use crate::meter::Meter;

/// Value of [`Report::schema`]. It changes when a key goes away or changes its meaning; new keys may come.
pub const SCHEMA: &str = "vmbus-emu.report/1";

/// What a run was, what it did, and what was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The machine's side.
    pub host: Host,
    /// The guest.
    pub guest: Guest,
    /// What guest and host agreed on.
    pub device: Device,
    /// How often the driver came and went.
    pub life: LifeReport,
    /// Refresh traffic of the whole run.
    pub traffic: Traffic,
    /// Latencies of the whole run.
    pub latency_us: LatencyUs,
    /// Exits of the virtual processors.
    pub exits: Exits,
    /// What was checked.
    pub checks: Vec<Check>,
    /// The guest's text console.
    pub console: Console,
    /// What this report cannot know, one sentence each.
    pub limits: Vec<String>,
}

impl Report {
    /// A report of what `meter` has counted between `host` and `guest`; the rest is empty or null.
    #[must_use]
    pub fn new(host: Host, guest: Guest, generation: u8, meter: &Meter) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            host,
            guest,
            device: Device::of(meter, generation),
            life: LifeReport::of(meter),
            traffic: Traffic::of(meter),
            latency_us: LatencyUs::of(meter),
            exits: Exits::default(),
            checks: Vec::new(),
            console: Console::default(),
            limits: LIMITS.map(str::to_owned).to_vec(),
        }
    }

    /// Notes the outcome of one check.
    pub fn check(&mut self, name: impl Into<String>, passed: bool, detail: impl Into<String>) {
        self.checks.push(Check { name: name.into(), passed, detail: detail.into() });
    }

    /// Every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// What no report of this schema can know.
const LIMITS: [&str; 4] = [
    "changed_px is counted while declared pixels are copied, so a change that the guest never declared is not in it",
    "declared_px counts overlapping rectangles each time",
    "what the guest wrote to its VRAM without declaring it is not measured",
    "messages that the guest dropped because its ring was full never reach the host and are not counted",
];

#[cfg(test)]
mod tests;
