//! The oracle: what it is told, and what it does about it.

use device_model::Observer;
use device_model::observer::{DirtEvent, ImpliedRepaint};
use device_model::video::Scanout;

use crate::settings::OracleSettings;
use crate::window::Window;
use crate::write_log::WriteLog;

/// Compares what a guest declares with what it writes.
///
/// All calls come from the event thread, or between two of its events, so that their order is that of what happened.
pub struct Oracle {
    settings: OracleSettings,
    log: Box<dyn WriteLog>,
    window: Window,
}

impl Oracle {
    /// An oracle without a screen. It judges from the beginning; [`Self::begin`] starts a window of its own.
    #[must_use]
    pub fn new(settings: OracleSettings, log: Box<dyn WriteLog>) -> Self {
        Self { settings, log, window: Window::default() }
    }

    /// How it judges.
    #[must_use]
    pub fn settings(&self) -> &OracleSettings {
        &self.settings
    }

    /// Starts over with the log of another machine: the one before was reset.
    pub fn replace_log(&mut self, log: Box<dyn WriteLog>) {
        self.log = log;
    }

    /// Looks at the log and judges what is due.
    pub fn sample(&mut self, now_ns: u64) {
        let _ = now_ns;
    }

    /// Starts a window: what the guest wrote before is not in it.
    pub fn begin(&mut self, now_ns: u64) {
        self.sample(now_ns);
        self.window = Window { begun_ns: now_ns, ..Window::default() };
    }

    /// Ends the window that [`Self::begin`] started. Wait for the grace time before, or what changed last is undecided.
    pub fn finish(&mut self, now_ns: u64) -> Window {
        self.sample(now_ns);
        let next = Window { begun_ns: now_ns, ..Window::default() };
        let window = std::mem::replace(&mut self.window, next);
        Window { finished_ns: now_ns, ..window }
    }
}

impl Observer for Oracle {
    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        let _ = dirt;
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        let _ = (at_ns, repaint);
    }

    fn take_stock(&mut self, at_ns: u64) {
        let _ = at_ns;
    }

    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        let _ = (at_ns, scanout);
    }
}
