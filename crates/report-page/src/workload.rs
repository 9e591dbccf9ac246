//! One workload: figures first, then plots, missed areas and costs.

use core::fmt::Write as _;

use meter::measurement::{MissedArea, Spread, WorkloadResult};

use crate::histogram::Histogram;
use crate::number::{NOT_MEASURED, count, count_or_none, micros, millis, significant};
use crate::text::Text;
use crate::{costs, heat_map, summary, timeline};

/// Most missed areas in the list.
const MISSED_MAX: usize = 40;
/// Most stale tiles in the list.
const STALE_MAX: usize = 20;

pub(crate) fn section(out: &mut String, at: usize, workload: &WorkloadResult, screen: Option<(u32, u32)>) {
    let id = format!("w{at}");
    let _ = write!(
        out,
        r#"<section id="{id}" class="workload"><p class="kind">Workload {}</p><h2>{}{}</h2>"#,
        at + 1,
        Text(&workload.name),
        badges(workload)
    );
    if let Some(why) = &workload.not_run {
        let _ = write!(
            out,
            r#"<p class="warning">Not run to its end: {}. Its counts are not to be compared.</p>"#,
            Text(why)
        );
    }
    figures(out, workload);
    out.push_str("<h3>Over time</h3>");
    out.push_str(&timeline::figure(&format!("{id}-time"), workload));
    out.push_str(r#"<h3>Distributions</h3><div class="halves">"#);
    histograms(out, &id, workload);
    percentiles(out, workload);
    out.push_str("</div><h3>Over the screen</h3>");
    out.push_str(&heat_map::figures(&format!("{id}-map"), workload, screen));
    missed(out, workload);
    stale(out, workload);
    costs::block(out, &workload.costs);
    out.push_str("</section>");
}

fn badges(workload: &WorkloadResult) -> String {
    let mut badges = String::new();
    if workload.not_run.is_some() {
        badges.push_str(r#" <b class="badge plain">not run to its end</b>"#);
    }
    match workload.missed_px {
        Some(0) => badges.push_str(r#" <b class="badge passed">nothing missed</b>"#),
        Some(px) => {
            let _ = write!(badges, r#" <b class="badge failed">{} px missed</b>"#, count(px));
        }
        None => {}
    }
    if let Some(stale) = workload.stale.as_ref().filter(|stale| stale.differing > 0) {
        let _ = write!(badges, r#" <b class="badge failed">{} tiles stale</b>"#, count(stale.differing));
    }
    badges
}

fn figures(out: &mut String, workload: &WorkloadResult) {
    let ms = |value: Option<f64>| value.map_or_else(|| NOT_MEASURED.to_owned(), millis);
    let px = |value: Option<u64>| count_or_none(value);
    out.push_str(r#"<dl class="figures">"#);
    for (name, value) in [
        ("Ran for", millis(workload.duration_ms)),
        ("Operations", px(workload.operations)),
        (
            "DIRT messages",
            format!("{}<small>{}</small>", count(workload.dirt_messages), summary::rate(workload)),
        ),
        ("Most in a second", count(workload.max_dirt_in_1s)),
        (
            "Interval p50 / p99",
            workload.interval_ms.p50.map_or_else(
                || NOT_MEASURED.to_owned(),
                |p50| format!("{}<small>{}</small>", millis(p50), ms(workload.interval_ms.p99)),
            ),
        ),
        (
            "Rectangles",
            format!(
                "{}<small>{} refused</small>",
                count(workload.dirt_rects),
                count(workload.rejected_rects)
            ),
        ),
        ("Declared px", count(workload.declared_px)),
        ("\u{2026} without overlaps", px(workload.declared_union_px)),
        ("Changed px", px(workload.changed_px)),
        ("Over-declared", summary::over_declared(workload)),
        ("Rewritten px", px(workload.rewritten_px)),
        ("Written pages", px(workload.written_pages)),
        ("Missed px", px(workload.missed_px)),
        ("Implied px", count(workload.implied_px)),
        ("Unwanted DIRT", count(workload.unwanted_dirt)),
        ("Doorbell rings", px(workload.signals)),
        ("Ring full", px(workload.ring_full)),
        ("Doorbell to surface p99", micros(workload.latency_us.doorbell_to_surface.p99)),
    ] {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>");
}

fn histograms(out: &mut String, id: &str, workload: &WorkloadResult) {
    let latency = &workload.latency_us;
    for (name, title, unit, counted, mark, spread, buckets) in [
        (
            "interval",
            "From one DIRT to the next",
            "ms",
            "intervals",
            Some((50.0, "50 ms (20 Hz)")),
            workload.interval_ms,
            &workload.interval_histogram,
        ),
        (
            "doorbell",
            "From doorbell to surface",
            "\u{b5}s",
            "DIRT messages",
            None,
            latency.doorbell_to_surface,
            &latency.doorbell_to_surface_histogram,
        ),
        (
            "write",
            "From a seen write to its DIRT",
            "\u{b5}s",
            "changes",
            None,
            latency.write_to_dirt,
            &latency.write_to_dirt_histogram,
        ),
    ] {
        let id = format!("{id}-{name}");
        out.push_str(&Histogram { id: &id, title, unit, counted, mark, spread, buckets }.figure());
    }
}

fn percentiles(out: &mut String, workload: &WorkloadResult) {
    out.push_str(r#"<div class="half"><h4>In numbers</h4><table class="data percentiles"><thead><tr><th scope="col">time</th><th scope="col">median</th><th scope="col">p99</th><th scope="col">longest</th></tr></thead><tbody>"#);
    let interval_us = |ms: Option<f64>| ms.map(|ms| ms * 1e3);
    let latency = &workload.latency_us;
    let interval = workload.interval_ms;
    for (name, spread) in [
        (
            "From one DIRT to the next",
            Spread {
                p50: interval_us(interval.p50),
                p99: interval_us(interval.p99),
                max: interval_us(interval.max),
            },
        ),
        ("From doorbell to surface", latency.doorbell_to_surface),
        ("From a seen write to its DIRT", latency.write_to_dirt),
    ] {
        let _ = write!(
            out,
            r#"<tr><th scope="row">{name}</th><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            micros(spread.p50),
            micros(spread.p99),
            micros(spread.max)
        );
    }
    out.push_str(r#"</tbody></table><p class="small">A write is seen when the dirty log is looked at, so it may be older by as much as one period of looking.</p></div>"#);
}

fn missed(out: &mut String, workload: &WorkloadResult) {
    if workload.missed.is_empty() {
        return;
    }
    let _ = write!(
        out,
        r#"<h3>Missed areas</h3><div class="scroll" tabindex="0"><table class="data"><caption>{} areas are known{}</caption><thead><tr><th scope="col">seen at</th><th scope="col">x (px)</th><th scope="col">y (px)</th><th scope="col">width (px)</th><th scope="col">height (px)</th><th scope="col">missed (px)</th></tr></thead><tbody>"#,
        workload.missed.len(),
        if workload.missed.len() > MISSED_MAX {
            format!(", the first {MISSED_MAX} are listed")
        } else {
            String::new()
        }
    );
    for MissedArea { at_ms, x, y, width, height, px } in workload.missed.iter().take(MISSED_MAX) {
        let _ = write!(
            out,
            r#"<tr><th scope="row">{} s</th><td>{x}</td><td>{y}</td><td>{width}</td><td>{height}</td><td>{}</td></tr>"#,
            significant(at_ms / 1e3),
            count(*px)
        );
    }
    out.push_str("</tbody></table></div>");
}

fn stale(out: &mut String, workload: &WorkloadResult) {
    let Some(stale) = workload.stale.as_ref().filter(|stale| stale.differing > 0) else {
        return;
    };
    let _ = write!(
        out,
        r#"<h3>Stale tiles</h3><p>{} of {} tiles of {edge} by {edge} px differ from what the guest says that it drew"#,
        count(stale.differing),
        count(stale.compared),
        edge = stale.tile_px
    );
    if !stale.first.is_empty() {
        out.push_str("; the first, as column and row in tiles: ");
        for (at, (column, row)) in stale.first.iter().take(STALE_MAX).enumerate() {
            let _ = write!(out, "{}({column}, {row})", if at > 0 { ", " } else { "" });
        }
    }
    out.push_str(".</p>");
}
