//! Axes: where a value lies on the paper, and which values get a tick.

/// No axis reaches further: beyond any count or clock that is drawn, and far from the ends of f64.
const FARTHEST: f64 = 1e24;
/// No axis is shorter.
const MIN_SPAN: f64 = 1e-9;

/// An axis, linear or logarithmic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Axis {
    /// From `from` to `to`, drawn from `start` to `end`. Values that make no axis are replaced by such that do.
    pub(crate) fn linear(from: f64, to: f64, start: f64, end: f64) -> Self {
        let from = if from.is_finite() { from.clamp(-FARTHEST, FARTHEST) } else { 0.0 };
        let to = if to.is_finite() { to.clamp(-FARTHEST, FARTHEST) } else { from };
        // Ends that are too near to one another would divide by zero.
        let to = to.max(from + (from.abs() * 1e-9).max(MIN_SPAN));
        Self { from, to, start, end, log: false }
    }

    /// As [`Self::linear`] with equal distances for equal ratios; both values are above 0, or it is linear.
    pub(crate) fn logarithmic(from: f64, to: f64, start: f64, end: f64) -> Self {
        let linear = Self::linear(from, to, start, end);
        // As far apart as two ends can be and still have their ratio in f64's range.
        let log = linear.from > 1e-24 && linear.to > linear.from * 1.000_001;
        Self { log, ..linear }
    }

    /// From 0 to the next round value at or above `largest`, with room for about `ticks` ticks.
    pub(crate) fn counting(largest: f64, ticks: u32, start: f64, end: f64) -> Self {
        let largest = if largest.is_finite() && largest > MIN_SPAN { largest.min(FARTHEST) } else { 1.0 };
        let step = round_step(largest, ticks);
        Self::linear(0.0, (largest / step).ceil() * step, start, end)
    }

    /// Where `value` lies; values outside lie at the nearer end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value.clamp(self.from, self.to) } else { self.from };
        let part = if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + part * (self.end - self.start)
    }

    /// `value` lies on the axis.
    pub(crate) fn holds(&self, value: f64) -> bool {
        value >= self.from && value <= self.to
    }

    /// Round values for about `wanted` ticks; never more than a few times that.
    pub(crate) fn ticks(&self, wanted: u32) -> Vec<f64> {
        if self.log {
            return self.log_ticks(wanted);
        }
        let step = round_step(self.to - self.from, wanted);
        let first = (self.from / step).ceil();
        let ticks = (0..=wanted.saturating_mul(3)).map(|n| (first + f64::from(n)) * step);
        ticks.take_while(|tick| *tick <= self.to + step * 1e-6).collect()
    }

    fn log_ticks(&self, wanted: u32) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let steps: &[f64] = if decades * 3.0 <= f64::from(wanted) { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        let mut power = 10_f64.powf(self.from.log10().floor());
        // f64 has some 600 decades.
        for _ in 0..640 {
            if power > self.to {
                break;
            }
            ticks.extend(steps.iter().map(|step| step * power).filter(|tick| self.holds(*tick)));
            power *= 10.0;
        }
        let every = ticks.len().div_ceil(usize::try_from(wanted.max(1)).unwrap_or(1)).max(1);
        ticks.into_iter().step_by(every).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that `span` is cut into about `pieces`.
fn round_step(span: f64, pieces: u32) -> f64 {
    let raw = (span / f64::from(pieces.max(1))).max(f64::MIN_POSITIVE * 1e10);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = match raw / power {
        part if part <= 1.0 => 1.0,
        part if part <= 2.0 => 2.0,
        part if part <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_an_axis_lie_where_they_were_put() {
        for axis in [Axis::linear(10.0, 1_000.0, 50.0, 150.0), Axis::logarithmic(10.0, 1_000.0, 50.0, 150.0)]
        {
            assert!((axis.at(10.0) - 50.0).abs() < 1e-9);
            assert!((axis.at(1_000.0) - 150.0).abs() < 1e-9);
            assert!((axis.at(1e9) - 150.0).abs() < 1e-9, "outside");
        }
        assert!((Axis::logarithmic(10.0, 1_000.0, 0.0, 100.0).at(100.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Axis::linear(0.0, 23.0, 0.0, 1.0).ticks(5), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Axis::logarithmic(1.0, 1_000.0, 0.0, 1.0).ticks(4), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(Axis::counting(20.0, 4, 0.0, 1.0).ticks(4), [0.0, 5.0, 10.0, 15.0, 20.0]);
    }

    #[test]
    fn no_values_make_an_axis_that_hangs_or_divides_by_zero() {
        let odd =
            [0.0, -1.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 1e-320];
        for from in odd {
            for to in odd {
                for axis in [
                    Axis::linear(from, to, 0.0, 100.0),
                    Axis::logarithmic(from, to, 0.0, 100.0),
                    Axis::counting(to, 4, 0.0, 100.0),
                ] {
                    assert!(axis.ticks(6).len() <= 40, "{axis:?}");
                    for value in odd {
                        assert!(axis.at(value).is_finite(), "{axis:?} at {value}");
                    }
                }
            }
        }
    }
}
