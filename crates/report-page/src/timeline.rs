//! Traffic over time: DIRT messages, pixels declared and changed, pixels missed, one above the other.

use core::fmt::Write as _;

use meter::measurement::{MissedArea, TimelinePoint, WorkloadResult};

use crate::axis::Axis;
use crate::number::{count, count_or_none, short, significant};

/// Most steps that are drawn; more slices than that are added up in groups.
const STEPS_MAX: usize = 300;
/// Most rows of the table beside a plot.
const ROWS_MAX: usize = 60;
/// Most missed areas that get a mark of their own.
const MARKS_MAX: usize = 32;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 14.0;
/// Top and bottom of each panel.
const RATE: (f64, f64) = (26.0, 126.0);
const PIXELS: (f64, f64) = (168.0, 288.0);
const MISSED: (f64, f64) = (330.0, 380.0);
const HEIGHT: f64 = 424.0;
/// Refresh rate that hyperv_fb promises not to exceed, in messages a second.
const REFRESH_HZ: f64 = 20.0;

/// A workload's traffic in steps of equal length.
#[derive(Debug)]
pub(crate) struct Steps {
    points: Vec<TimelinePoint>,
    step_ms: f64,
    /// Slices in one step.
    grouped: usize,
    /// Pixels were compared; without that, changed and missed pixels are not known.
    compared: bool,
}

impl Steps {
    /// At most `most` steps; `None` without a timeline.
    pub(crate) fn of(workload: &WorkloadResult, most: usize) -> Option<Self> {
        let slices = &workload.timeline;
        let first = slices.first()?;
        let grouped = slices.len().div_ceil(most.max(1)).max(1);
        let slice_ms = match slices.get(1) {
            Some(second) => second.at_ms - first.at_ms,
            None => workload.duration_ms - first.at_ms,
        };
        let slice_ms = if slice_ms.is_finite() && slice_ms > 0.0 { slice_ms } else { 1.0 };
        let points = slices.chunks(grouped).map(added_up).collect();
        let step_ms = slice_ms * grouped as f64;
        Some(Self { points, step_ms, grouped, compared: workload.changed_px.is_some() })
    }

    fn start_ms(&self) -> f64 {
        self.points.first().map_or(0.0, |point| point.at_ms)
    }

    fn end_ms(&self) -> f64 {
        self.points.last().map_or(1.0, |point| point.at_ms + self.step_ms)
    }

    fn per_second(&self, value: u64) -> f64 {
        value as f64 * 1e3 / self.step_ms
    }

    fn largest(&self, value: impl Fn(&TimelinePoint) -> u64) -> f64 {
        self.per_second(self.points.iter().map(value).max().unwrap_or(0))
    }

    /// An outline of `value` in steps, without its beginning and end.
    fn outline(&self, x: &Axis, y: &Axis, value: impl Fn(&TimelinePoint) -> u64) -> String {
        let mut path = String::new();
        for point in &self.points {
            let end = x.at(point.at_ms + self.step_ms);
            let _ = write!(path, "V{:.1}H{end:.1}", y.at(self.per_second(value(point))));
        }
        path
    }
}

fn added_up(slices: &[TimelinePoint]) -> TimelinePoint {
    let mut sum = slices.first().copied().unwrap_or_default();
    for slice in slices.iter().skip(1) {
        sum.dirt_messages = sum.dirt_messages.saturating_add(slice.dirt_messages);
        sum.declared_px = sum.declared_px.saturating_add(slice.declared_px);
        sum.changed_px = sum.changed_px.saturating_add(slice.changed_px);
        sum.missed_px = sum.missed_px.saturating_add(slice.missed_px);
    }
    sum
}

/// The whole figure with its table.
pub(crate) fn figure(id: &str, workload: &WorkloadResult) -> String {
    let Some(steps) = Steps::of(workload, STEPS_MAX) else {
        return r#"<p class="empty">The timeline was not measured.</p>"#.to_owned();
    };
    let mut out = String::from(r#"<figure class="wide"><div class="scroll" tabindex="0">"#);
    plot(&mut out, id, &steps, workload);
    out.push_str("</div>");
    let thinned = match steps.grouped {
        1 => String::new(),
        n => format!(" Thinned: {n} slices are added up in each step."),
    };
    let _ = write!(
        out,
        "<figcaption>Refresh traffic in steps of {} ms.{thinned}</figcaption>",
        significant(steps.step_ms)
    );
    if let Some(rows) = Steps::of(workload, ROWS_MAX) {
        table(&mut out, &rows);
    }
    out.push_str("</figure>");
    out
}

fn plot(out: &mut String, id: &str, steps: &Steps, workload: &WorkloadResult) {
    let x = Axis::linear(steps.start_ms(), steps.end_ms(), LEFT, RIGHT);
    let rate = Axis::counting(steps.largest(|point| point.dirt_messages), 4, RATE.1, RATE.0);
    let most_px = steps.largest(|point| point.declared_px).max(steps.largest(|point| point.changed_px));
    let pixels = Axis::counting(most_px, 4, PIXELS.1, PIXELS.0);
    let missed = Axis::counting(steps.largest(|point| point.missed_px), 2, MISSED.1, MISSED.0);
    let _ = write!(
        out,
        r#"<svg class="plot timeline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">Refresh traffic over time</title><desc id="{id}-d">{} DIRT messages, {} pixels declared, {} changed, {} missed over {} seconds; the table below holds the values.</desc>"#,
        count(workload.dirt_messages),
        count(workload.declared_px),
        workload.changed_px.map_or_else(|| "an unknown number".to_owned(), count),
        workload.missed_px.map_or_else(|| "an unknown number".to_owned(), count),
        significant((steps.end_ms() - steps.start_ms()) / 1e3),
    );
    panel(out, RATE, &rate, 4);
    heading(out, RATE, &[("", "DIRT messages per second")]);
    panel(out, PIXELS, &pixels, 4);
    let mut legend = vec![("", "Pixels per second"), ("declared", "declared")];
    if steps.compared {
        legend.push(("changed", "changed"));
    }
    heading(out, PIXELS, &legend);
    panel(out, MISSED, &missed, if misses(steps, workload) { 2 } else { 0 });
    // The marks of missed areas stand between the heading and the panel.
    heading(out, (MISSED.0 - 5.0, MISSED.1), &[("", "Pixels missed per second")]);
    time_axis(out, &x);

    let left = x.at(steps.start_ms());
    area(
        out,
        "rate",
        left,
        RATE.1,
        x.at(steps.end_ms()),
        &steps.outline(&x, &rate, |point| point.dirt_messages),
    );
    if rate.holds(REFRESH_HZ) && steps.largest(|point| point.dirt_messages) >= REFRESH_HZ / 2.0 {
        let y = rate.at(REFRESH_HZ);
        let _ = write!(
            out,
            r#"<path class="mark" d="M{LEFT} {y:.1}H{RIGHT}"/><text class="mark-label halo" x="{:.1}" y="{:.1}" text-anchor="end">20 Hz</text>"#,
            RIGHT - 4.0,
            y - 4.0
        );
    }
    let end = x.at(steps.end_ms());
    area(out, "declared", left, PIXELS.1, end, &steps.outline(&x, &pixels, |point| point.declared_px));
    if steps.compared {
        area(out, "changed", left, PIXELS.1, end, &steps.outline(&x, &pixels, |point| point.changed_px));
        missed_panel(out, steps, &x, &missed, workload);
    } else {
        note(out, MISSED, "not measured: pixels were not compared");
    }
    hover(out, steps, &x);
    out.push_str("</svg>");
}

/// Frame, grid and value axis.
fn panel(out: &mut String, (top, bottom): (f64, f64), y: &Axis, ticks: u32) {
    let _ = write!(
        out,
        r#"<rect class="paper" x="{LEFT}" y="{top}" width="{}" height="{}"/>"#,
        RIGHT - LEFT,
        bottom - top
    );
    for tick in y.ticks(ticks).into_iter().take(if ticks == 0 { 0 } else { usize::MAX }) {
        let at = y.at(tick);
        let _ = write!(
            out,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 7.0,
            at + 4.0,
            short(tick)
        );
    }
}

/// What a panel shows; entries with a class get a swatch in its colour.
fn heading(out: &mut String, (top, _): (f64, f64), entries: &[(&str, &str)]) {
    let mut x = LEFT;
    for (class, label) in entries {
        if class.is_empty() {
            let _ = write!(out, r#"<text class="heading" x="{x:.1}" y="{:.1}">{label}</text>"#, top - 9.0);
            x += label.len() as f64 * 7.1 + 16.0;
        } else {
            let _ = write!(
                out,
                r#"<rect class="swatch-{class}" x="{x:.1}" y="{:.1}" width="11" height="11"/><text class="label" x="{:.1}" y="{:.1}">{label}</text>"#,
                top - 18.5,
                x + 16.0,
                top - 9.0
            );
            x += label.len() as f64 * 7.0 + 34.0;
        }
    }
}

fn time_axis(out: &mut String, x: &Axis) {
    for tick in x.ticks(8) {
        let at = x.at(tick);
        for (top, bottom) in [RATE, PIXELS, MISSED] {
            let _ = write!(out, r#"<path class="grid" d="M{at:.1} {top}V{bottom}"/>"#);
        }
        let _ = write!(
            out,
            r#"<path class="axis" d="M{at:.1} {}v5"/><text class="tick" x="{at:.1}" y="{}" text-anchor="middle">{}</text>"#,
            MISSED.1,
            MISSED.1 + 19.0,
            significant(tick / 1e3)
        );
    }
    let _ = write!(
        out,
        r#"<path class="axis" d="M{LEFT} {y}H{RIGHT}"/><text class="label" x="{:.1}" y="{:.1}" text-anchor="middle">seconds from the start of the workload</text>"#,
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 6.0,
        y = MISSED.1,
    );
}

fn area(out: &mut String, class: &str, left: f64, bottom: f64, right: f64, outline: &str) {
    let _ = write!(
        out,
        r#"<path class="area-{class}" d="M{left:.1} {bottom}{outline}V{bottom}Z"/><path class="line-{class}" d="M{left:.1} {bottom}{outline}V{bottom}H{right:.1}"/>"#
    );
}

/// There is something to draw in the lowest panel.
fn misses(steps: &Steps, workload: &WorkloadResult) -> bool {
    steps.compared && (!workload.missed.is_empty() || steps.points.iter().any(|point| point.missed_px > 0))
}

fn missed_panel(out: &mut String, steps: &Steps, x: &Axis, y: &Axis, workload: &WorkloadResult) {
    if !misses(steps, workload) {
        note(out, MISSED, "none");
        return;
    }
    let outline = steps.outline(x, y, |point| point.missed_px);
    let (left, right) = (x.at(steps.start_ms()), x.at(steps.end_ms()));
    area(out, "missed", left, MISSED.1, right, &outline);
    for MissedArea { at_ms, .. } in workload.missed.iter().take(MARKS_MAX) {
        let at = x.at(*at_ms);
        // A triangle that points down at its time, so that the colour is not the only sign.
        let _ =
            write!(out, r#"<path class="mark-missed" d="M{:.1} {}h9l-4.5 7z"/>"#, at - 4.5, MISSED.0 - 7.0);
    }
}

fn note(out: &mut String, (top, bottom): (f64, f64), text: &str) {
    let _ = write!(
        out,
        r#"<text class="note" x="{:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#,
        f64::midpoint(LEFT, RIGHT),
        f64::midpoint(top, bottom) + 4.0
    );
}

/// Columns that cannot be seen and say their values when they are pointed at.
fn hover(out: &mut String, steps: &Steps, x: &Axis) {
    for point in &steps.points {
        let (left, right) = (x.at(point.at_ms), x.at(point.at_ms + steps.step_ms));
        let _ = write!(
            out,
            r#"<rect class="hover" x="{left:.1}" y="{}" width="{:.1}" height="{}"><title>{} s: {} DIRT, {} px declared"#,
            RATE.0,
            right - left,
            MISSED.1 - RATE.0,
            significant(point.at_ms / 1e3),
            count(point.dirt_messages),
            count(point.declared_px),
        );
        if steps.compared {
            let _ =
                write!(out, ", {} px changed, {} px missed", count(point.changed_px), count(point.missed_px));
        }
        out.push_str("</title></rect>");
    }
}

fn table(out: &mut String, steps: &Steps) {
    let _ = write!(
        out,
        r#"<details><summary>Values as a table</summary><div class="scroll" tabindex="0"><table class="data"><caption>Counts in steps of {} ms</caption><thead><tr><th scope="col">from (s)</th><th scope="col">DIRT messages</th><th scope="col">declared (px)</th><th scope="col">changed (px)</th><th scope="col">missed (px)</th></tr></thead><tbody>"#,
        significant(steps.step_ms)
    );
    for point in &steps.points {
        let compared = |value: u64| count_or_none(steps.compared.then_some(value));
        let _ = write!(
            out,
            r#"<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            significant(point.at_ms / 1e3),
            count(point.dirt_messages),
            count(point.declared_px),
            compared(point.changed_px),
            compared(point.missed_px),
        );
    }
    out.push_str("</tbody></table></div></details>");
}

/// The rate of DIRT messages in a line of text.
pub(crate) fn sparkline(workload: &WorkloadResult) -> String {
    const WIDTH: f64 = 104.0;
    const HEIGHT: f64 = 24.0;
    let Some(steps) = Steps::of(workload, 52) else {
        return r#"<span class="none">none</span>"#.to_owned();
    };
    let most = steps.largest(|point| point.dirt_messages);
    let x = Axis::linear(steps.start_ms(), steps.end_ms(), 0.0, WIDTH);
    let y = Axis::linear(0.0, most.max(1.0), HEIGHT - 2.0, 2.0);
    let outline = steps.outline(&x, &y, |point| point.dirt_messages);
    let bottom = HEIGHT - 2.0;
    format!(
        r#"<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="DIRT rate over time, at most {peak} a second"><path class="area-rate" d="M0 {bottom}{outline}V{bottom}Z"/><path class="line-rate" d="M0 {bottom}{outline}"/></svg><span class="peak">peak {peak}/s</span>"#,
        peak = short(most),
    )
}
