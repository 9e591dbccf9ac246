//! The traffic of one workload, apart from that of the run.

use std::sync::{Arc, Mutex, PoisonError};

use device_model::observer::{ControlEvent, DirtEvent, FaultEvent, ImpliedRepaint, Observer, VideoEvent};
use vmbus::ChannelId;

use super::{Bucket, Latencies, Spread, TimelinePoint, WorkloadResult};
use crate::distribution::Distribution;
use crate::meter::Meter;

/// How long after FEATURE_CHANGE(dirt=0) a DIRT is still in order: a little more than one refresh period of hyperv_fb, 12 jiffies
/// at HZ=250.
pub const UNWANTED_AFTER_NS: u64 = 60_000_000;
/// Bars of a histogram for each power of ten.
const BARS_PER_DECADE: u32 = 10;
/// Length of a slice of the timeline at first; a window that is too long for its slices doubles it.
const SLICE_NS: u64 = 100_000_000;
/// Most slices of a timeline.
const MAX_SLICES: usize = 600;

/// What the devices tell of one workload: an observer that starts anew whenever it is told to.
///
/// *Bound*: two distributions, some kilobytes of timeline.
#[derive(Clone, Debug, Default)]
pub struct TrafficWindow {
    channels: Vec<ChannelId>,
    meter: Meter,
    begun_ns: u64,
    unwanted_since_ns: Option<u64>,
    unwanted_dirt: u64,
    ring_full: u64,
    slice_ns: u64,
    /// DIRT messages and pixels declared.
    slices: Vec<(u64, u64)>,
}

impl TrafficWindow {
    /// Names the video channel, now and for every later window.
    pub fn watch_video_channel(&mut self, channel: ChannelId) {
        self.channels.push(channel);
        self.meter.watch_video_channel(channel);
    }

    /// Starts a window: what came before is not in it. Whether dirt is wanted is remembered.
    pub fn begin(&mut self, now_ns: u64) {
        *self = Self {
            channels: std::mem::take(&mut self.channels),
            begun_ns: now_ns,
            unwanted_since_ns: self.unwanted_since_ns,
            slice_ns: SLICE_NS,
            ..Self::default()
        };
        for channel in &self.channels {
            self.meter.watch_video_channel(*channel);
        }
    }

    /// What came since [`Self::begin`]; the caller adds name, times and what others measured.
    #[must_use]
    pub fn result(&self) -> WorkloadResult {
        let counters = self.meter.counters();
        let intervals = self.meter.dirt_intervals();
        let latency = self.meter.doorbell_to_surface();
        WorkloadResult {
            dirt_messages: counters.dirt_messages,
            dirt_rects: counters.dirt_rects,
            rejected_rects: counters.rejected_rects,
            max_dirt_in_1s: self.meter.max_dirt_in_1s(),
            unwanted_dirt: self.unwanted_dirt,
            signals: self.meter.signals(),
            ring_full: (!self.channels.is_empty()).then_some(self.ring_full),
            declared_px: counters.declared_px,
            implied_px: counters.implied_px,
            interval_ms: spread(intervals, 1_000.0),
            interval_histogram: histogram(intervals, 1_000.0),
            latency_us: Latencies {
                doorbell_to_surface: spread(latency, 1.0),
                doorbell_to_surface_histogram: histogram(latency, 1.0),
                ..Latencies::default()
            },
            timeline: self.timeline(),
            ..WorkloadResult::default()
        }
    }

    fn timeline(&self) -> Vec<TimelinePoint> {
        let point = |(index, &(dirt_messages, declared_px)): (usize, &(u64, u64))| TimelinePoint {
            at_ms: (index as u64 * self.slice_ns) as f64 / 1e6,
            dirt_messages,
            declared_px,
            ..TimelinePoint::default()
        };
        self.slices.iter().enumerate().map(point).collect()
    }

    fn add_to_timeline(&mut self, at_ns: u64, declared_px: u64) {
        let since = at_ns.saturating_sub(self.begun_ns);
        let slice_of = |slice_ns: u64| usize::try_from(since / slice_ns.max(1)).unwrap_or(usize::MAX);
        while slice_of(self.slice_ns) >= MAX_SLICES && self.slice_ns > 0 && self.slice_ns < u64::MAX / 2 {
            self.slice_ns *= 2;
            let add = |pair: &[(u64, u64)]| {
                pair.iter().fold((0, 0), |sum: (u64, u64), slice| {
                    (sum.0.saturating_add(slice.0), sum.1.saturating_add(slice.1))
                })
            };
            self.slices = self.slices.chunks(2).map(add).collect();
        }
        let slice = slice_of(self.slice_ns).min(MAX_SLICES - 1);
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, (0, 0));
        }
        if let Some(slice) = self.slices.get_mut(slice) {
            slice.0 = slice.0.saturating_add(1);
            slice.1 = slice.1.saturating_add(declared_px);
        }
    }
}

fn spread(durations: &Distribution, us_per_unit: f64) -> Spread {
    let unit = |us: u64| us as f64 / us_per_unit;
    Spread {
        p50: durations.percentile_us(0.50).map(unit),
        p99: durations.percentile_us(0.99).map(unit),
        max: durations.longest_us().map(unit),
    }
}

fn histogram(durations: &Distribution, us_per_unit: f64) -> Vec<Bucket> {
    let bucket = |bar: crate::distribution::Bar| Bucket {
        from: bar.from_us / us_per_unit,
        to: bar.to_us / us_per_unit,
        count: bar.count,
    };
    durations.bars(BARS_PER_DECADE).into_iter().map(bucket).collect()
}

impl Observer for TrafficWindow {
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        self.meter.doorbell(at_ns, channel, rings);
    }

    fn ring_full(&mut self, _at_ns: u64, channel: ChannelId) {
        self.ring_full = self.ring_full.saturating_add(u64::from(self.channels.contains(&channel)));
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        self.meter.control(at_ns, event);
    }

    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        if let VideoEvent::FeatureChange { dirt } = event {
            self.unwanted_since_ns = (!dirt).then_some(at_ns);
        }
        self.meter.video(at_ns, event);
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        let unwanted = self
            .unwanted_since_ns
            .is_some_and(|since| dirt.doorbell_ns > since.saturating_add(UNWANTED_AFTER_NS));
        self.unwanted_dirt = self.unwanted_dirt.saturating_add(u64::from(unwanted));
        self.add_to_timeline(dirt.done_ns, dirt.declared_px);
        self.meter.dirt(dirt);
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        self.meter.implied_repaint(at_ns, repaint);
    }

    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        self.meter.fault(at_ns, fault);
    }
}

/// A window that the event thread feeds and another thread reads; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SharedTraffic(Arc<Mutex<TrafficWindow>>);

impl SharedTraffic {
    /// Lets `look` at the window, and change it. The lock is held meanwhile.
    pub fn with<R>(&self, look: impl FnOnce(&mut TrafficWindow) -> R) -> R {
        // A panic elsewhere leaves at worst one event half counted.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for SharedTraffic {
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        self.with(|window| window.doorbell(at_ns, channel, rings));
    }

    fn ring_full(&mut self, at_ns: u64, channel: ChannelId) {
        self.with(|window| window.ring_full(at_ns, channel));
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        self.with(|window| window.control(at_ns, event));
    }

    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        self.with(|window| window.video(at_ns, event));
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        self.with(|window| window.dirt(dirt));
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        self.with(|window| window.implied_repaint(at_ns, repaint));
    }

    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        self.with(|window| window.fault(at_ns, fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn dirt(at_ms: u64) -> DirtEvent<'static> {
        DirtEvent {
            doorbell_ns: at_ms * MS,
            done_ns: at_ms * MS + 50_000,
            rects: 1,
            rejected_rects: 0,
            declared_px: 100,
            changed_px: 10,
            accepted: &[],
        }
    }

    #[test]
    fn what_came_before_the_window_is_not_in_it() {
        let mut window = TrafficWindow::default();
        window.watch_video_channel(ChannelId(1));
        window.doorbell(0, ChannelId(1), 5);
        window.dirt(&dirt(1));
        window.begin(10 * MS);
        window.doorbell(11 * MS, ChannelId(1), 2);
        window.dirt(&dirt(60));
        window.dirt(&dirt(108));
        let result = window.result();
        assert_eq!((result.dirt_messages, result.signals, result.declared_px), (2, Some(2), 200));
        assert_eq!(result.interval_ms.p50, Some(48.0));
        let counted: u64 = result.interval_histogram.iter().map(|bar| bar.count).sum();
        assert_eq!(counted, 1);
        let bar = result.interval_histogram[0];
        assert!(bar.from <= 48.0 && 48.0 < bar.to, "{bar:?}");
    }

    #[test]
    fn full_ring_is_counted_for_the_video_channel_and_for_this_window() {
        let mut window = TrafficWindow::default();
        assert_eq!(window.result().ring_full, None, "nobody named a channel");
        window.watch_video_channel(ChannelId(1));
        window.ring_full(0, ChannelId(1));
        window.begin(10 * MS);
        assert_eq!(window.result().ring_full, Some(0));
        window.ring_full(11 * MS, ChannelId(1));
        window.ring_full(11 * MS, ChannelId(2));
        window.ring_full(12 * MS, ChannelId(1));
        assert_eq!(window.result().ring_full, Some(2));
    }

    #[test]
    fn dirt_is_unwanted_one_refresh_period_after_the_host_said_so() {
        let mut window = TrafficWindow::default();
        window.video(0, &VideoEvent::FeatureChange { dirt: false });
        window.begin(10 * MS);
        window.dirt(&dirt(59));
        assert_eq!(window.result().unwanted_dirt, 0);
        window.dirt(&dirt(61));
        assert_eq!(window.result().unwanted_dirt, 1);
        window.video(70 * MS, &VideoEvent::FeatureChange { dirt: true });
        window.dirt(&dirt(500));
        assert_eq!(window.result().unwanted_dirt, 1);
    }

    #[test]
    fn timeline_of_a_long_window_stays_bounded_and_loses_nothing() {
        let mut window = TrafficWindow::default();
        window.begin(0);
        for second in 0..1_000 {
            window.dirt(&dirt(second * 1_000));
        }
        let timeline = window.result().timeline;
        assert!(timeline.len() <= MAX_SLICES, "{}", timeline.len());
        assert_eq!(timeline.iter().map(|point| point.dirt_messages).sum::<u64>(), 1_000);
        window.dirt(&DirtEvent { done_ns: u64::MAX, ..dirt(0) });
        assert_eq!(window.result().timeline.iter().map(|point| point.dirt_messages).sum::<u64>(), 1_001);
    }
}
