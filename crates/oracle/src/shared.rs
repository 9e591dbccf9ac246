//! An oracle that the event thread feeds and another thread asks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use device_model::Observer;
use device_model::observer::{DirtEvent, ImpliedRepaint};
use device_model::video::Scanout;

use crate::oracle::Oracle;

/// A handle on one [`Oracle`]; clones share it.
///
/// The bus owns one clone as (a part of) its observer; the program keeps another. The lock is held for one look at VRAM at
/// most, which on a large screen that changed throughout takes milliseconds.
#[derive(Clone)]
pub struct SharedOracle(Arc<Mutex<Oracle>>);

impl SharedOracle {
    /// Shares `oracle`.
    #[must_use]
    pub fn new(oracle: Oracle) -> Self {
        Self(Arc::new(Mutex::new(oracle)))
    }

    /// Lets `ask` at the oracle. Whoever wants the order of events kept calls it on the event thread.
    pub fn with<R>(&self, ask: impl FnOnce(&mut Oracle) -> R) -> R {
        // A panic elsewhere leaves at worst one look half counted.
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SharedOracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedOracle").finish_non_exhaustive()
    }
}

impl Observer for SharedOracle {
    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        self.with(|oracle| oracle.dirt(dirt));
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        self.with(|oracle| oracle.implied_repaint(at_ns, repaint));
    }

    fn take_stock(&mut self, at_ns: u64) {
        self.with(|oracle| oracle.take_stock(at_ns));
    }

    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        self.with(|oracle| oracle.scanout(at_ns, scanout));
    }

    fn tick(&mut self, now_ns: u64) {
        self.with(|oracle| oracle.tick(now_ns));
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.with(|oracle| oracle.deadline_ns())
    }
}
