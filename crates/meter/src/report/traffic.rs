//! Refresh traffic and latencies, as the report says them.

use serde::{Deserialize, Serialize};

use crate::counters::FaultCounts;
use crate::distribution::Distribution;
use crate::meter::Meter;

/// Refresh traffic of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// DIRT messages carried out.
    pub dirt_messages: u64,
    /// Rectangles in them, rejected ones included.
    pub dirt_rects: u64,
    /// Pixels of the accepted rectangles.
    pub declared_px: u64,
    /// Pixels copied without a DIRT.
    pub implied_px: u64,
    /// Pixels that a DIRT changed.
    pub changed_px: u64,
    /// Pixels changed without a DIRT.
    pub implied_changed_px: u64,
    /// Rectangles refused.
    pub rejected_rects: u64,
    /// Doorbell rings of the video channel.
    pub signals: Option<u64>,
    /// Packets read from all channels.
    pub packets: u64,
    /// FEATURE_CHANGE messages sent.
    pub feature_changes: u64,
    /// Most DIRT messages in one second.
    pub max_dirt_in_1s: u64,
    /// When the first DIRT message was carried out, from the start of the guest.
    pub first_dirt_ms: Option<f64>,
    /// From the first DIRT message to the last.
    pub dirt_span_ms: Option<f64>,
    /// Times between one DIRT message and the next.
    pub interval_ms: IntervalMs,
    /// Rules that the guest broke.
    pub faults: Faults,
}

/// Times between one DIRT message and the next, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalMs {
    /// Median.
    pub p50: Option<f64>,
    /// 99 of 100 are not longer.
    pub p99: Option<f64>,
    /// Longest.
    pub max: Option<f64>,
}

/// Rules that the guest broke, by the layer that saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// VMBus control messages.
    pub control: u64,
    /// Ring indices and packet descriptors.
    pub ring: u64,
    /// Framing inside a packet.
    pub pipe: u64,
    /// A device's own protocol.
    pub device: u64,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyUs {
    /// From a doorbell to the pixels of the DIRT message that it announced.
    pub doorbell_to_surface: Percentiles,
}

/// Two percentiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<u64>,
    /// 99 of 100 are not longer.
    pub p99: Option<u64>,
}

impl Traffic {
    pub(super) fn of(meter: &Meter) -> Self {
        let counters = meter.counters();
        let span_ns =
            meter.first_dirt_ns().zip(meter.last_dirt_ns()).map(|(first, last)| last.saturating_sub(first));
        Self {
            dirt_messages: counters.dirt_messages,
            dirt_rects: counters.dirt_rects,
            declared_px: counters.declared_px,
            implied_px: counters.implied_px,
            changed_px: counters.changed_px,
            implied_changed_px: counters.implied_changed_px,
            rejected_rects: counters.rejected_rects,
            signals: meter.signals(),
            packets: counters.packets,
            feature_changes: counters.feature_changes,
            max_dirt_in_1s: meter.max_dirt_in_1s(),
            first_dirt_ms: meter.first_dirt_ns().map(|ns| milliseconds(ns / 1_000)),
            dirt_span_ms: span_ns.map(|ns| milliseconds(ns / 1_000)),
            interval_ms: IntervalMs::of(meter.dirt_intervals()),
            faults: Faults::from(counters.faults),
        }
    }
}

impl IntervalMs {
    fn of(intervals: &Distribution) -> Self {
        Self {
            p50: intervals.percentile_us(0.50).map(milliseconds),
            p99: intervals.percentile_us(0.99).map(milliseconds),
            max: intervals.longest_us().map(milliseconds),
        }
    }
}

impl From<FaultCounts> for Faults {
    fn from(faults: FaultCounts) -> Self {
        Self { control: faults.control, ring: faults.ring, pipe: faults.pipe, device: faults.device }
    }
}

impl LatencyUs {
    pub(super) fn of(meter: &Meter) -> Self {
        let latency = meter.doorbell_to_surface();
        Self {
            doorbell_to_surface: Percentiles {
                p50: latency.percentile_us(0.50),
                p99: latency.percentile_us(0.99),
            },
        }
    }
}

/// Exact to the microsecond for some 285 years.
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1_000.0
}
