//! What the oracle found, as a measurement says it.

use meter::measurement::{Bucket, Heat, MissedArea, Spread, TimelinePoint, WorkloadResult};
use oracle::Window;

/// Adds what the oracle found to what was declared. `result` has the declared traffic already, counted by the devices.
pub(super) fn add(result: &mut WorkloadResult, found: Window) {
    let log = found.log_error.is_none();
    result.declared_union_px = Some(found.declared_union_px);
    result.written_pages = log.then_some(found.written_pages);
    result.rewritten_px = log.then_some(found.rewritten_px);
    result.changed_px = Some(found.changed_px);
    result.over_declared_px = Some(found.over_declared_px);
    result.missed_px = Some(found.missed_px);
    result.late_px = Some(found.late_px);
    result.missed = found
        .missed
        .iter()
        .map(|area| MissedArea {
            at_ms: milliseconds(area.seen_ns.saturating_sub(found.begun_ns)),
            x: unsigned(area.bounds.left),
            y: unsigned(area.bounds.top),
            width: unsigned(area.bounds.right.saturating_sub(area.bounds.left)),
            height: unsigned(area.bounds.bottom.saturating_sub(area.bounds.top)),
            px: area.px,
        })
        .collect();
    let delays = &found.write_to_dirt;
    result.latency_us.write_to_dirt = Spread { p50: delays.p50_us, p99: delays.p99_us, max: delays.max_us };
    result.latency_us.write_to_dirt_histogram =
        delays.bars.iter().map(|bar| Bucket { from: bar.from_us, to: bar.to_us, count: bar.count }).collect();
    let slice_ns = found.timeline.slice_ns;
    result.timeline = (0_u64..)
        .zip(&found.timeline.slices)
        .map(|(index, slice)| TimelinePoint {
            at_ms: milliseconds(index.saturating_mul(slice_ns)),
            dirt_messages: slice.dirt_messages,
            declared_px: slice.declared_px,
            changed_px: slice.changed_px,
            missed_px: slice.missed_px,
        })
        .collect();
    result.heat = found.heat.map(|heat| Heat {
        tile_px: heat.tile_px,
        columns: heat.columns,
        rows: heat.rows,
        declared: heat.declared,
        changed: heat.changed,
        missed: heat.missed,
    });
    result.costs.oracle_cpu_us = Some(found.oracle_ns / 1_000);
}

/// Areas lie on the screen.
fn unsigned(edge: i32) -> u32 {
    u32::try_from(edge).unwrap_or(0)
}

/// Exact to the nanosecond for some hundred days.
fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use oracle::MissedArea;
    use synthvid::Rect;

    use super::*;

    #[test]
    fn missed_area_has_its_time_from_the_windows_beginning() {
        let bounds = Rect { left: 3, top: 4, right: 10, bottom: 5 };
        let found = Window {
            begun_ns: 1_000_000,
            missed_px: 7,
            missed: vec![MissedArea { seen_ns: 3_500_000, bounds, px: 7 }],
            ..Window::default()
        };
        let mut result = WorkloadResult::default();
        add(&mut result, found);
        let area = &result.missed[0];
        assert_eq!((area.x, area.y, area.width, area.height), (3, 4, 7, 1));
        assert_eq!((area.at_ms, result.missed_px), (2.5, Some(7)));
        assert_eq!(result.written_pages, Some(0));
    }

    #[test]
    fn pages_are_null_when_the_log_could_not_be_read() {
        let found = Window { log_error: Some("gone".into()), changed_px: 9, ..Window::default() };
        let mut result = WorkloadResult::default();
        add(&mut result, found);
        assert_eq!((result.written_pages, result.rewritten_px, result.changed_px), (None, None, Some(9)));
    }
}
