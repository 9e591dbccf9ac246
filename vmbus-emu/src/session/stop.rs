//! SIGINT and SIGTERM end a run cleanly: the machine stops, and the report says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::ExitError;

/// Whether the user asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Catches SIGINT and SIGTERM from now on. A second one, while the first is being obeyed, ends the process at
    /// once.
    pub(crate) fn catch_signals() -> Result<Self, ExitError> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let failed = |error| ExitError::cannot_run(format!("signal {signal} cannot be caught: {error}"));
            // In this order: the second signal must find the first one's mark.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&asked))
                .map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(failed)?;
        }
        Ok(Self(asked))
    }

    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for whoever waits elsewhere.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
