//! The driver's comings and goings, as the report says them.

use serde::{Deserialize, Serialize};

use crate::meter::Meter;

/// The driver's comings and goings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LifeReport {
    /// Contacts that were answered with a version.
    pub contacts: u64,
    /// Channels opened.
    pub channel_opens: u64,
    /// Channels closed.
    pub channel_closes: u64,
    /// Addresses at which VRAM was, lowest first, as "0xf8000000"; at most 64.
    pub vram_gpas: Vec<String>,
    /// When the last DIRT message was carried out, in milliseconds of the run.
    pub last_dirt_ms: Option<f64>,
    /// When the guest last left the bus; after a crash that was asked for, only if it was then.
    pub unload_ms: Option<f64>,
    /// When the guest was asked to crash.
    pub crash_asked_ms: Option<f64>,
    /// DIRT messages from then on.
    pub dirt_after_crash: Option<u64>,
    /// Those among them that came after the guest had left the bus.
    pub dirt_after_unload: Option<u64>,
}

impl LifeReport {
    pub(super) fn of(meter: &Meter) -> Self {
        let life = meter.life();
        let after_crash = |count| life.crash_asked_ns.map(|_| count);
        Self {
            contacts: life.contacts,
            channel_opens: life.opens,
            channel_closes: life.closes,
            vram_gpas: life.vram_gpas.iter().map(|gpa| format!("{gpa:#x}")).collect(),
            last_dirt_ms: meter.last_dirt_ns().map(milliseconds),
            unload_ms: life.last_unload_ns.map(milliseconds),
            crash_asked_ms: life.crash_asked_ns.map(milliseconds),
            dirt_after_crash: after_crash(life.dirt_after_crash),
            dirt_after_unload: after_crash(life.dirt_after_unload),
        }
    }
}

/// Whole microseconds, as milliseconds.
fn milliseconds(ns: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for three centuries")]
    let us = (ns / 1_000) as f64;
    us / 1_000.0
}
