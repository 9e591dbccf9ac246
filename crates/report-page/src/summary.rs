//! All workloads in one table.

use core::fmt::Write as _;

use meter::measurement::{Measurement, Quantity, WorkloadResult};

use crate::number::{NOT_MEASURED, count, micros, millis, percent, short_or_none, significant, with_unit};
use crate::text::Text;
use crate::{WORKLOADS_MAX, timeline};

const COLUMNS: &[(&str, &str)] = &[
    ("Workload", ""),
    ("DIRT rate", "over time"),
    ("Declared", "px"),
    ("Written", "4 KiB pages"),
    ("Changed", "px"),
    ("Rewritten", "px"),
    ("Over-declared", "of declared"),
    ("Missed", "px"),
    ("Stale", "tiles"),
    ("DIRT", "messages, rate"),
    ("Interval", "p50 / p99"),
    ("Doorbell to surface", "p50 / p99"),
    ("Write to DIRT", "p50 / p99"),
];

pub(crate) fn section(out: &mut String, measurement: &Measurement) {
    out.push_str(r#"<section id="summary"><h2>Workloads</h2>"#);
    if measurement.workloads.is_empty() {
        out.push_str(r#"<p class="empty">No workload was run.</p></section>"#);
        return;
    }
    out.push_str(r#"<div class="scroll" tabindex="0"><table class="summary"><caption class="unseen">Every workload in one row</caption><thead><tr>"#);
    for (name, unit) in COLUMNS {
        let _ = write!(out, r#"<th scope="col">{name}<small>{unit}</small></th>"#);
    }
    out.push_str("</tr></thead><tbody>");
    for (at, workload) in measurement.workloads.iter().take(WORKLOADS_MAX).enumerate() {
        row(out, at, workload);
    }
    out.push_str(
        r#"</tbody></table></div><p class="small">Over-declared: declared pixels that had not changed since they were last declared, as part of all declared pixels; below it declared pixels for each changed one. Of two values the upper is the median, the lower p99.</p></section>"#,
    );
}

fn row(out: &mut String, at: usize, workload: &WorkloadResult) {
    let bad = |value: Option<u64>| if value.is_some_and(|value| value > 0) { r#" class="bad""# } else { "" };
    let stale = workload.stale.as_ref();
    let _ = write!(
        out,
        r##"<tr><th scope="row"><a href="#w{at}">{}</a>{}</th><td class="sparkline">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td{}>{}</td><td{}>{}</td><td>{}<small>{}</small></td><td>{}</td><td>{}</td><td>{}</td></tr>"##,
        Text(&workload.name),
        if workload.not_run.is_some() { "<small>not run to its end</small>" } else { "" },
        timeline::sparkline(workload),
        short_or_none(Some(workload.declared_px)),
        short_or_none(workload.written_pages),
        short_or_none(workload.changed_px),
        short_or_none(workload.rewritten_px),
        over_declared(workload),
        bad(workload.missed_px),
        short_or_none(workload.missed_px),
        bad(stale.map(|stale| stale.differing)),
        stale.map_or_else(
            || NOT_MEASURED.to_owned(),
            |stale| format!("{} / {}", count(stale.differing), count(stale.compared))
        ),
        count(workload.dirt_messages),
        rate(workload),
        pair(workload.interval_ms.p50, workload.interval_ms.p99, |ms| ms
            .map_or_else(|| NOT_MEASURED.to_owned(), millis)),
        pair(
            workload.latency_us.doorbell_to_surface.p50,
            workload.latency_us.doorbell_to_surface.p99,
            micros
        ),
        pair(workload.latency_us.write_to_dirt.p50, workload.latency_us.write_to_dirt.p99, micros),
    );
}

fn pair(p50: Option<f64>, p99: Option<f64>, shown: impl Fn(Option<f64>) -> String) -> String {
    if p50.is_none() && p99.is_none() {
        return NOT_MEASURED.to_owned();
    }
    format!("{}<small>{}</small>", shown(p50), shown(p99))
}

/// Percent of the declared pixels and, if any changed, how many were declared for each of these.
pub(crate) fn over_declared(workload: &WorkloadResult) -> String {
    let Some(over) = workload.over_declared_px else {
        return NOT_MEASURED.to_owned();
    };
    let declared = workload.declared_union_px.unwrap_or(workload.declared_px);
    let Some(part) = percent(over, declared) else {
        return "nothing declared".to_owned();
    };
    let each = workload.changed_px.filter(|changed| *changed > 0).map_or_else(
        || "none changed".to_owned(),
        |changed| format!("{}\u{d7}", significant(declared as f64 / changed as f64)),
    );
    format!("{} %<small>{each}</small>", significant(part))
}

/// DIRT messages a second, as budgets and comparisons count them.
pub(crate) fn rate(workload: &WorkloadResult) -> String {
    with_unit(Quantity::named("dirt_per_s").and_then(|quantity| quantity.of(workload)), "/s")
}
