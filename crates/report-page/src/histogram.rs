//! Distributions as histograms, with their percentiles marked.

use core::fmt::Write as _;

use meter::measurement::{Bucket, Spread};

use crate::axis::Axis;
use crate::number::{count, micros, short, significant};

/// Most bars that are drawn; neighbours are added up beyond.
const BARS_MAX: usize = 96;
/// Most rows of the table beside a plot.
const ROWS_MAX: usize = 48;
/// Above this ratio of the largest value to the smallest the axis is logarithmic.
const LOG_FROM_RATIO: f64 = 40.0;

const WIDTH: f64 = 470.0;
const HEIGHT: f64 = 236.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 186.0;

/// What a histogram is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Histogram<'a> {
    /// Distinguishes it from every other figure of the page.
    pub(crate) id: &'a str,
    /// Its heading.
    pub(crate) title: &'a str,
    /// Unit of the values: `ms` or `\u{b5}s`.
    pub(crate) unit: &'a str,
    /// What is counted.
    pub(crate) counted: &'a str,
    /// A value to be marked, with its label.
    pub(crate) mark: Option<(f64, &'a str)>,
    /// Percentiles.
    pub(crate) spread: Spread,
    /// Bars.
    pub(crate) buckets: &'a [Bucket],
}

impl Histogram<'_> {
    /// The whole figure with its table.
    pub(crate) fn figure(&self) -> String {
        let mut out = format!(r#"<figure class="half"><h4>{}</h4>"#, self.title);
        let (bars, grouped) = grouped(self.buckets, BARS_MAX);
        if bars.is_empty() {
            out.push_str(r#"<p class="empty">not measured</p></figure>"#);
            return out;
        }
        self.plot(&mut out, &bars);
        let _ = write!(out, "<figcaption>{}", self.percentiles());
        if grouped > 1 {
            let _ = write!(out, " Thinned: {grouped} buckets are added up in each bar.");
        }
        out.push_str("</figcaption>");
        self.table(&mut out);
        out.push_str("</figure>");
        out
    }

    fn percentiles(&self) -> String {
        let value = |value: Option<f64>| match value {
            None => "not measured".to_owned(),
            value if self.unit == "ms" => micros(value.map(|ms| ms * 1e3)),
            value => micros(value),
        };
        let Spread { p50, p99, max } = self.spread;
        format!("Median {}, p99 {}, longest {}.", value(p50), value(p99), value(max))
    }

    fn plot(&self, out: &mut String, bars: &[Bucket]) {
        let x = self.value_axis(bars);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
        // A sixth of the paper stays free for the label of the mark.
        let y = Axis::counting(most as f64 * 1.2, 4, BOTTOM, TOP);
        let total = bars.iter().fold(0_u64, |sum, bar| sum.saturating_add(bar.count));
        let _ = write!(
            out,
            r#"<svg class="plot histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{}</title><desc id="{id}-d">{} {}. {}</desc>"#,
            self.title,
            count(total),
            self.counted,
            self.percentiles(),
            id = self.id,
        );
        let _ = write!(
            out,
            r#"<rect class="paper" x="{LEFT}" y="{TOP}" width="{}" height="{}"/>"#,
            RIGHT - LEFT,
            BOTTOM - TOP
        );
        for tick in y.ticks(4) {
            let at = y.at(tick);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 7.0,
                at + 4.0,
                short(tick)
            );
        }
        for tick in x.ticks(6) {
            let at = x.at(tick);
            let _ = write!(
                out,
                r#"<path class="axis" d="M{at:.1} {BOTTOM}v5"/><text class="tick" x="{at:.1}" y="{}" text-anchor="middle">{}</text>"#,
                BOTTOM + 19.0,
                short(tick)
            );
        }
        for bar in bars.iter().filter(|bar| bar.count > 0) {
            self.bar(out, &x, &y, bar);
        }
        let _ = write!(
            out,
            r#"<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/><text class="label" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="label" transform="translate(11 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 9.0,
            self.unit,
            f64::midpoint(TOP, BOTTOM),
            self.counted,
        );
        self.marks(out, &x);
        out.push_str("</svg>");
    }

    /// Wide enough for every bar and for the mark.
    fn value_axis(&self, bars: &[Bucket]) -> Axis {
        let filled = || bars.iter().filter(|bar| bar.count > 0);
        let mark = self.mark.map(|(value, _)| value);
        let largest = filled().map(|bar| bar.to).chain(mark).fold(0.0, f64::max);
        let smallest = filled().map(|bar| bar.from).chain(mark).fold(f64::INFINITY, f64::min);
        let positive = filled().map(|bar| if bar.from > 0.0 { bar.from } else { bar.to / 2.0 });
        let positive = positive.chain(mark).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if positive.is_finite() && largest / positive > LOG_FROM_RATIO {
            // Twelve decades are more than any clock here resolves; what is smaller is drawn at the edge.
            return Axis::logarithmic(positive.max(largest * 1e-12) * 0.9, largest * 1.1, LEFT, RIGHT);
        }
        let pad = (largest - smallest) * 0.04;
        Axis::linear((smallest - pad).max(0.0), largest + pad, LEFT, RIGHT)
    }

    fn bar(&self, out: &mut String, x: &Axis, y: &Axis, bar: &Bucket) {
        let (left, right) = (x.at(bar.from), x.at(bar.to));
        // A hair of paper between bars; a bar that would be too thin to be seen is made a pixel wide.
        let width = (right - left - 0.6).max(1.2);
        let top = y.at(bar.count as f64).min(BOTTOM - 1.0);
        let _ = write!(
            out,
            r#"<rect class="bar" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}"><title>{} to {} {}: {}</title></rect>"#,
            BOTTOM - top,
            significant(bar.from),
            significant(bar.to),
            self.unit,
            count(bar.count)
        );
    }

    fn marks(&self, out: &mut String, x: &Axis) {
        if let Some((value, label)) = self.mark.filter(|(value, _)| x.holds(*value)) {
            let at = x.at(value);
            let (anchor, shift) =
                if at > f64::midpoint(LEFT, RIGHT) { ("end", -5.0) } else { ("start", 5.0) };
            let _ = write!(
                out,
                r#"<path class="mark" d="M{at:.1} {TOP}V{BOTTOM}"/><text class="mark-label halo" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
                at + shift,
                TOP + 13.0
            );
        }
        let mut last = f64::NEG_INFINITY;
        for (value, label) in [(self.spread.p50, "p50"), (self.spread.p99, "p99")] {
            let Some(value) = value.filter(|value| x.holds(*value)) else { continue };
            let at = x.at(value);
            let label_at = at.clamp(LEFT + 11.0, RIGHT - 11.0).max(last + 27.0);
            last = label_at;
            let _ = write!(
                out,
                r#"<path class="percentile" d="M{:.1} {}h8l-4 6z"/><text class="tick" x="{label_at:.1}" y="{}" text-anchor="middle">{label}</text>"#,
                at - 4.0,
                TOP - 8.0,
                TOP - 12.0
            );
        }
    }

    fn table(&self, out: &mut String) {
        let filled: Vec<_> = self.buckets.iter().filter(|bar| bar.count > 0).copied().collect();
        let (rows, _) = grouped(&filled, ROWS_MAX);
        let _ = write!(
            out,
            r#"<details><summary>Values as a table</summary><table class="data"><caption>{}</caption><thead><tr><th scope="col">from ({unit})</th><th scope="col">to ({unit})</th><th scope="col">{}</th></tr></thead><tbody>"#,
            self.title,
            self.counted,
            unit = self.unit,
        );
        for row in rows {
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                significant(row.from),
                significant(row.to),
                count(row.count)
            );
        }
        out.push_str("</tbody></table></details>");
    }
}

/// At most `most` buckets, and how many are added up in each. Buckets without a width are left out.
fn grouped(buckets: &[Bucket], most: usize) -> (Vec<Bucket>, usize) {
    let first = buckets.iter().position(|bucket| bucket.count > 0);
    let last = buckets.iter().rposition(|bucket| bucket.count > 0);
    let used = first.zip(last).and_then(|(first, last)| buckets.get(first..=last)).unwrap_or_default();
    let sound: Vec<_> = used
        .iter()
        .filter(|bucket| bucket.from.is_finite() && bucket.to.is_finite() && bucket.to > bucket.from)
        .copied()
        .collect();
    let grouped = sound.len().div_ceil(most.max(1)).max(1);
    let bars = sound.chunks(grouped).filter_map(|group| {
        let (first, last) = (group.first()?, group.last()?);
        let count = group.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.count));
        Some(Bucket { from: first.from, to: last.to, count })
    });
    (bars.collect(), grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[Bucket]) -> String {
        Histogram {
            id: "h",
            title: "Interval",
            unit: "ms",
            counted: "intervals",
            mark: Some((50.0, "50 ms (20 Hz)")),
            spread: Spread { p50: Some(48.0), p99: Some(51.0), max: Some(900.0) },
            buckets,
        }
        .figure()
    }

    #[test]
    fn empty_histogram_is_said_to_be_not_measured() {
        assert!(histogram(&[]).contains("not measured"));
        assert!(!histogram(&[]).contains("<svg"));
    }

    #[test]
    fn bars_are_bounded_and_none_is_lost() {
        let buckets: Vec<_> =
            (0..10_000_u32).map(|n| Bucket { from: n.into(), to: f64::from(n) + 1.0, count: 2 }).collect();
        let (bars, many) = grouped(&buckets, BARS_MAX);
        assert!(bars.len() <= BARS_MAX && many > 1);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 20_000);
        let shown = histogram(&buckets);
        assert!(shown.matches(r#"class="bar""#).count() <= BARS_MAX);
        assert!(shown.contains("Thinned: 105 buckets"), "{}", &shown[shown.len() - 200..]);
    }

    #[test]
    fn mark_is_drawn_also_where_no_bar_reaches_it() {
        let shown = histogram(&[Bucket { from: 1.0, to: 2.0, count: 3 }]);
        assert!(shown.contains("50 ms (20 Hz)"));
    }

    #[test]
    fn senseless_buckets_are_left_out() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MAX];
        for from in odd {
            for to in odd {
                let shown = histogram(&[
                    Bucket { from, to, count: u64::MAX },
                    Bucket { from: 1.0, to: 2.0, count: 1 },
                ]);
                assert!(!shown.contains("NaN") && !shown.contains("inf"), "{from} {to}");
            }
        }
    }
}
