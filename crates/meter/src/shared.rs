//! A meter that the event thread feeds and another thread reads.

use std::sync::{Arc, Mutex, PoisonError};

use device_model::observer::{ControlEvent, DirtEvent, FaultEvent, ImpliedRepaint, Observer, VideoEvent};
use vmbus::ChannelId;

use crate::meter::Meter;

/// A handle on one [`Meter`]; clones share it.
///
/// The bus owns one clone as its observer; the program keeps another. The lock is held for one event, or for
/// one call of [`Self::with`], so a reader should copy what it needs and leave.
#[derive(Clone, Debug, Default)]
pub struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    /// Shares `meter`.
    #[must_use]
    pub fn new(meter: Meter) -> Self {
        Self(Arc::new(Mutex::new(meter)))
    }

    /// Lets `look` at the meter, and change it.
    pub fn with<R>(&self, look: impl FnOnce(&mut Meter) -> R) -> R {
        // A panic elsewhere leaves at worst one event half counted; the meter is still worth reading.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for SharedMeter {
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        self.with(|meter| meter.doorbell(at_ns, channel, rings));
    }

    fn packet(&mut self, at_ns: u64, channel: ChannelId, bytes: usize) {
        self.with(|meter| meter.packet(at_ns, channel, bytes));
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        self.with(|meter| meter.control(at_ns, event));
    }

    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        self.with(|meter| meter.video(at_ns, event));
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        self.with(|meter| meter.dirt(dirt));
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        self.with(|meter| meter.implied_repaint(at_ns, repaint));
    }

    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        self.with(|meter| meter.fault(at_ns, fault));
    }
}
