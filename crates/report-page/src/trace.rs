//! A measurement as a trace that ui.perfetto.dev and chrome://tracing open: Chrome's JSON trace-event format.
//!
//! Workloads lie end to end in the order in which they ran; how much time passed between them is not known. Counters hold
//! the value of one slice of the timeline, missed areas are instants, and single DIRT messages may be given besides.
//!
//! *Units*: the format's times are microseconds. *Source*: "Trace Event Format", Google, sections on duration, counter,
//! instant and metadata events.

use meter::measurement::{Measurement, MissedArea, WorkloadResult};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::WORKLOADS_MAX;
use crate::text::plain;

/// Most slices of one workload's timeline in a trace; the rest is left out.
pub const SLICES_MAX: usize = 20_000;
/// Most missed areas of one workload in a trace.
pub const MISSED_MAX: usize = 1_000;
/// Most DIRT messages in a trace, over all workloads.
pub const DIRT_MAX: usize = 200_000;
/// No trace is longer, in microseconds: eleven days, after which a number of microseconds loses its fractions.
const LONGEST_US: f64 = 1e12;

const PROCESS: u32 = 1;
const WORKLOADS: u32 = 1;
const DIRT: u32 = 2;

/// One DIRT message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirtPoint {
    /// When its doorbell was seen, from the start of the workload.
    pub at_ns: u64,
    /// Pixels declared, overlaps counted each time.
    pub px: u64,
    /// Rectangles in it.
    pub rects: u32,
}

/// The DIRT messages of one workload, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct DirtTrack<'a> {
    /// The workload's place in [`Measurement::workloads`].
    pub workload: usize,
    /// At most [`DIRT_MAX`] of them over all tracks are written.
    pub points: &'a [DirtPoint],
}

/// One event of the format. Keys that do not apply are left out.
#[derive(Debug, Serialize)]
struct TraceEvent {
    name: String,
    ph: &'static str,
    ts: f64,
    pid: u32,
    tid: u32,
    /// Scope of an instant: `t` is its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

/// The trace as a JSON document.
///
/// Events are in the order of their times. What was left out is counted in `otherData`.
#[must_use]
pub fn chrome_json(measurement: &Measurement, tracks: &[DirtTrack<'_>]) -> String {
    let mut trace = Trace::default();
    let kernel = measurement.guest.kernel.as_deref().unwrap_or("unknown kernel");
    trace.metadata("process_name", WORKLOADS, &format!("vmbus-emu: {}", plain(kernel)));
    trace.metadata("thread_name", WORKLOADS, "workloads");
    trace.metadata("thread_name", DIRT, "DIRT messages");
    let mut start = 0.0;
    for (at, workload) in measurement.workloads.iter().take(WORKLOADS_MAX).enumerate() {
        let points = tracks.iter().filter(|track| track.workload == at).flat_map(|track| track.points);
        start = trace.workload(start, workload, points);
    }
    trace.left_out += measurement.workloads.len().saturating_sub(WORKLOADS_MAX);
    let document = json!({
        "traceEvents": trace.events,
        "displayTimeUnit": "ms",
        "otherData": {
            "schema": plain(&measurement.schema),
            "version": plain(&measurement.host.version),
            "kernel": plain(kernel),
            "left_out": trace.left_out,
            "note": "workloads lie end to end; the time between them was not measured",
        },
    });
    let mut text = document.to_string();
    text.push('\n');
    text
}

#[derive(Debug, Default)]
struct Trace {
    events: Vec<TraceEvent>,
    dirt: usize,
    /// Events that a bound kept out.
    left_out: usize,
}

impl Trace {
    fn metadata(&mut self, name: &str, tid: u32, value: &str) {
        let args = args([("name", value.into())]);
        self.events.push(TraceEvent {
            name: name.to_owned(),
            ph: "M",
            ts: 0.0,
            pid: PROCESS,
            tid,
            s: None,
            args,
        });
    }

    /// Adds one workload that begins at `start`; returns its end.
    fn workload<'a>(
        &mut self,
        start: f64,
        workload: &WorkloadResult,
        points: impl Iterator<Item = &'a DirtPoint>,
    ) -> f64 {
        let end = (start + sound(workload.duration_ms * 1e3)).min(LONGEST_US);
        // An event may not leave the slice of its workload.
        let at = |us: f64| (start + sound(us)).clamp(start, end);
        let mut inner = Vec::new();
        self.counters(&mut inner, workload, at, end);
        self.missed(&mut inner, workload, at);
        for point in points {
            if self.dirt >= DIRT_MAX {
                self.left_out += 1;
                continue;
            }
            self.dirt += 1;
            let args = args([("px", point.px.into()), ("rects", point.rects.into())]);
            inner.push(event("DIRT", "i", at(point.at_ns as f64 / 1e3), DIRT, args));
        }
        inner.sort_by(|one, other| one.ts.total_cmp(&other.ts));

        let name = plain(&workload.name);
        let told = args([
            ("dirt_messages", workload.dirt_messages.into()),
            ("declared_px", workload.declared_px.into()),
            ("changed_px", workload.changed_px.into()),
            ("missed_px", workload.missed_px.into()),
            ("not_run", workload.not_run.as_deref().map(plain).into()),
        ]);
        self.events.push(event(&name, "B", start, WORKLOADS, told));
        self.events.append(&mut inner);
        self.events.push(event(&name, "E", end, WORKLOADS, Map::new()));
        end
    }

    fn counters(
        &mut self,
        events: &mut Vec<TraceEvent>,
        workload: &WorkloadResult,
        at: impl Fn(f64) -> f64,
        end: f64,
    ) {
        let slices = &workload.timeline;
        let Some(first) = slices.first() else { return };
        let slice_ms = slices.get(1).map_or(workload.duration_ms, |second| second.at_ms) - first.at_ms;
        let seconds = if slice_ms.is_finite() && slice_ms > 0.0 { slice_ms / 1e3 } else { 1e-3 };
        let compared = workload.changed_px.is_some();
        let mut counter = |ts, name, value: Value| {
            events.push(event(name, "C", ts, WORKLOADS, args([("value", value)])));
        };
        for slice in slices.iter().take(SLICES_MAX) {
            let ts = at(slice.at_ms * 1e3);
            counter(ts, "DIRT/s", (slice.dirt_messages as f64 / seconds).into());
            counter(ts, "declared px", slice.declared_px.into());
            if compared {
                counter(ts, "changed px", slice.changed_px.into());
                counter(ts, "missed px", slice.missed_px.into());
            }
        }
        // A viewer holds a counter's last value; the slice that it belongs to ends here.
        counter(end, "DIRT/s", 0.into());
        counter(end, "declared px", 0.into());
        if compared {
            counter(end, "changed px", 0.into());
            counter(end, "missed px", 0.into());
        }
        self.left_out += slices.len().saturating_sub(SLICES_MAX);
    }

    fn missed(&mut self, events: &mut Vec<TraceEvent>, workload: &WorkloadResult, at: impl Fn(f64) -> f64) {
        for MissedArea { at_ms, x, y, width, height, px } in workload.missed.iter().take(MISSED_MAX) {
            let args = args([
                ("x", (*x).into()),
                ("y", (*y).into()),
                ("width", (*width).into()),
                ("height", (*height).into()),
                ("px", (*px).into()),
            ]);
            events.push(event(&format!("missed {px} px"), "i", at(at_ms * 1e3), WORKLOADS, args));
        }
        self.left_out += workload.missed.len().saturating_sub(MISSED_MAX);
    }
}

fn event(name: &str, ph: &'static str, ts: f64, tid: u32, args: Map<String, Value>) -> TraceEvent {
    let s = (ph == "i").then_some("t");
    TraceEvent { name: name.to_owned(), ph, ts, pid: PROCESS, tid, s, args }
}

fn args<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A time that JSON can say.
fn sound(us: f64) -> f64 {
    if us.is_finite() { us.clamp(0.0, LONGEST_US) } else { 0.0 }
}
