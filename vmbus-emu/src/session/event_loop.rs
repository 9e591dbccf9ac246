//! The event thread: one event-manager loop that owns the bus and everything behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use device_model::Synthvid;
use event_manager::{EventManager, RemoteEndpoint, SubscriberId, SubscriberOps};
use vm_memory::GuestMemoryMmap;

use super::watch::Observers;
use crate::exit::ExitError;

/// Longest sleep of the loop in milliseconds; it wakes for every event, and at least so often to see a stop.
const LOOP_MS: i32 = 200;

/// The bus of a run.
pub(crate) type Bus = device_model::Bus<GuestMemoryMmap, Observers>;
/// The same on an event loop.
pub(crate) type BusSubscriber = device_model::BusSubscriber<GuestMemoryMmap, Observers>;

/// A running event thread.
///
/// Dropping it stops the loop and joins the thread.
pub(crate) struct EventLoop {
    handle: EventHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A way to the bus from any thread. It may outlive the loop; every call fails then.
#[derive(Clone)]
pub(crate) struct EventHandle {
    endpoint: RemoteEndpoint<BusSubscriber>,
    subscriber: SubscriberId,
}

/// The event thread could not be asked, because it is gone.
#[derive(Debug)]
pub(crate) struct LoopGone(String);

impl From<event_manager::Error> for LoopGone {
    fn from(error: event_manager::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<LoopGone> for ExitError {
    fn from(LoopGone(reason): LoopGone) -> Self {
        Self::cannot_run(format!("the event thread does not answer: {reason}"))
    }
}

impl EventLoop {
    /// Moves `subscriber` to a thread of its own.
    pub(crate) fn start(subscriber: BusSubscriber) -> Result<Self, ExitError> {
        let failed = |error: &dyn std::fmt::Display| {
            ExitError::cannot_run(format!("the event thread cannot be started: {error}"))
        };
        let mut manager = EventManager::new().map_err(|error| failed(&error))?;
        let endpoint = manager.remote_endpoint();
        let subscriber = manager.add_subscriber(subscriber);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("event".into())
            .spawn(move || {
                while !seen.load(Ordering::Acquire) {
                    if let Err(error) = manager.run_with_timeout(LOOP_MS) {
                        tracing::error!("the event loop failed: {error}");
                        return;
                    }
                }
            })
            .map_err(|error: io::Error| failed(&error))?;
        Ok(Self { handle: EventHandle { endpoint, subscriber }, stop, thread: Some(thread) })
    }

    /// The same bus, for another thread.
    pub(crate) fn handle(&self) -> EventHandle {
        self.handle.clone()
    }

    /// As [`EventHandle::with_bus`].
    pub(crate) fn with_bus<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Bus) -> R + Send + 'static,
    ) -> Result<R, LoopGone> {
        self.handle.with_bus(act)
    }

    /// As [`EventHandle::with_video`].
    pub(crate) fn with_video<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Synthvid) -> R + Send + 'static,
    ) -> Result<Option<R>, LoopGone> {
        self.handle.with_video(act)
    }
}

impl EventHandle {
    /// Runs `act` on the event thread, between two events, and waits for its answer.
    pub(crate) fn with_bus<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Bus) -> R + Send + 'static,
    ) -> Result<R, LoopGone> {
        let id = self.subscriber;
        self.endpoint.call_blocking(move |ops: &mut dyn SubscriberOps<Subscriber = BusSubscriber>| {
            let subscriber = ops.subscriber_mut(id)?;
            let answer = act(subscriber.bus_mut());
            subscriber.settle();
            Ok::<R, LoopGone>(answer)
        })
    }

    /// Runs `act` on the video device, as [`Self::with_bus`]; `None` if there is none.
    pub(crate) fn with_video<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Synthvid) -> R + Send + 'static,
    ) -> Result<Option<R>, LoopGone> {
        self.with_bus(|bus| bus.device_mut::<Synthvid>().map(act))
    }
}

impl EventLoop {
    /// Ends the loop, and with it the bus and its devices: nobody hears anything more of them. Harmless when done already.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // An empty call wakes the loop; it fails only if the loop has ended already.
        let _ = self.with_bus(|_| ());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the event thread panicked");
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.stop();
    }
}
