//! The observer that counts.

use std::collections::{BTreeMap, BTreeSet};

use device_model::observer::{ControlEvent, DirtEvent, FaultEvent, ImpliedRepaint, Observer, VideoEvent};
use vmbus::ChannelId;

use crate::counters::Counters;
use crate::device::DeviceFacts;
use crate::distribution::Distribution;
use crate::life::Life;
use crate::window::BusiestSecond;

/// Channels whose doorbells are counted apart; relids end at 2047.
const MAX_CHANNELS: usize = 2048;

/// Counts what happens on a bus and on its synthetic video device.
///
/// *Times* are those of the bus's clock. The time of a DIRT message is when its pixels were in the surface.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    video_channels: BTreeSet<ChannelId>,
    counters: Counters,
    rings: BTreeMap<ChannelId, u64>,
    busiest: BusiestSecond,
    interval: Distribution,
    latency: Distribution,
    first_dirt_ns: Option<u64>,
    last_dirt_ns: Option<u64>,
    last_repaint_ns: Option<u64>,
    last_fault: Option<FaultEvent>,
    device: DeviceFacts,
    life: Life,
}

/// A moment of a run, to be handed to [`Meter::since`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    counters: Counters,
    signals: Option<u64>,
}

impl Meter {
    /// A meter that counts doorbell rings for each channel but does not know which one is the video channel.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the video channel, whose doorbell rings become [`Self::signals`]. Earlier rings count too, and those of a channel
    /// that was named before: a device that is offered again has another one.
    pub fn watch_video_channel(&mut self, channel: ChannelId) {
        self.video_channels.insert(channel);
    }

    /// All sums so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What guest and host agreed on.
    #[must_use]
    pub fn device(&self) -> &DeviceFacts {
        &self.device
    }

    /// How often the guest's driver came and went.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// The guest is asked to crash at `at_ns`: what it sends from now on is counted apart too.
    pub fn crash_asked(&mut self, at_ns: u64) {
        self.life.crash_asked(at_ns);
    }

    /// Doorbell rings of the video channel, or `None` if nobody said which one that is.
    #[must_use]
    pub fn signals(&self) -> Option<u64> {
        let rings = self.video_channels.iter().map(|channel| self.rings_of(*channel));
        (!self.video_channels.is_empty()).then(|| rings.sum())
    }

    /// Doorbell rings of `channel`.
    #[must_use]
    pub fn rings_of(&self, channel: ChannelId) -> u64 {
        self.rings.get(&channel).copied().unwrap_or(0)
    }

    /// The largest number of DIRT messages in one second; [`BusiestSecond`] defines it.
    #[must_use]
    pub fn max_dirt_in_1s(&self) -> u64 {
        self.busiest.busiest()
    }

    /// Times between one DIRT message and the next.
    #[must_use]
    pub fn dirt_intervals(&self) -> &Distribution {
        &self.interval
    }

    /// Times from the doorbell that announced a DIRT message to its pixels in the surface.
    #[must_use]
    pub fn doorbell_to_surface(&self) -> &Distribution {
        &self.latency
    }

    /// When the first DIRT message was carried out.
    #[must_use]
    pub fn first_dirt_ns(&self) -> Option<u64> {
        self.first_dirt_ns
    }

    /// When the last DIRT message was carried out.
    #[must_use]
    pub fn last_dirt_ns(&self) -> Option<u64> {
        self.last_dirt_ns
    }

    /// When the surface was last written, by a DIRT or without one.
    #[must_use]
    pub fn last_painted_ns(&self) -> Option<u64> {
        self.last_dirt_ns.max(self.last_repaint_ns)
    }

    /// Whether nothing has been painted for `quiet_ns` at `now_ns`. A screen never painted is not quiet.
    #[must_use]
    pub fn is_quiet(&self, now_ns: u64, quiet_ns: u64) -> bool {
        self.last_painted_ns().is_some_and(|painted| now_ns.saturating_sub(painted) >= quiet_ns)
    }

    /// The last rule that the guest broke.
    #[must_use]
    pub fn last_fault(&self) -> Option<&FaultEvent> {
        self.last_fault.as_ref()
    }

    /// This moment.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { counters: self.counters, signals: self.signals() }
    }

    /// What was counted since `mark`.
    #[must_use]
    pub fn since(&self, mark: &Mark) -> Counters {
        self.counters - mark.counters
    }

    /// Doorbell rings of the video channel since `mark`, if it was known then and now.
    #[must_use]
    pub fn signals_since(&self, mark: &Mark) -> Option<u64> {
        Some(self.signals()?.saturating_sub(mark.signals?))
    }
}

impl Observer for Meter {
    fn doorbell(&mut self, _at_ns: u64, channel: ChannelId, rings: u64) {
        add(&mut self.counters.rings, rings);
        if self.rings.len() < MAX_CHANNELS || self.rings.contains_key(&channel) {
            add(self.rings.entry(channel).or_default(), rings);
        }
    }

    fn packet(&mut self, _at_ns: u64, _channel: ChannelId, bytes: usize) {
        add(&mut self.counters.packets, 1);
        add(&mut self.counters.packet_bytes, bytes as u64);
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        self.device.control(event);
        self.life.control(at_ns, event);
    }

    fn video(&mut self, _at_ns: u64, event: &VideoEvent) {
        self.life.video(event);
        if self.device.video(event) {
            add(&mut self.counters.situation_changes, 1);
        }
        if let VideoEvent::FeatureChange { .. } = event {
            add(&mut self.counters.feature_changes, 1);
        }
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        let counters = &mut self.counters;
        add(&mut counters.dirt_messages, 1);
        add(&mut counters.dirt_rects, u64::from(dirt.rects));
        add(&mut counters.rejected_rects, u64::from(dirt.rejected_rects));
        add(&mut counters.declared_px, dirt.declared_px);
        add(&mut counters.changed_px, dirt.changed_px);
        self.life.dirt();
        self.busiest.record(dirt.done_ns);
        self.latency.record_ns(dirt.done_ns.saturating_sub(dirt.doorbell_ns));
        if let Some(last) = self.last_dirt_ns {
            self.interval.record_ns(dirt.done_ns.saturating_sub(last));
        }
        self.first_dirt_ns = self.first_dirt_ns.or(Some(dirt.done_ns));
        self.last_dirt_ns = self.last_dirt_ns.max(Some(dirt.done_ns));
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        add(&mut self.counters.implied_repaints, 1);
        add(&mut self.counters.implied_px, repaint.px);
        add(&mut self.counters.implied_changed_px, repaint.changed_px);
        self.last_repaint_ns = self.last_repaint_ns.max(Some(at_ns));
    }

    fn fault(&mut self, _at_ns: u64, fault: &FaultEvent) {
        self.counters.faults.count(fault.layer);
        self.last_fault = Some(fault.clone());
    }
}

fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}

#[cfg(test)]
mod tests;
