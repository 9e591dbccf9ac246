//! Puts a [`Bus`] on an event-manager loop: file descriptors in, calls of the bus out.
//!
//! No protocol here. Tokens name what a descriptor means; the descriptors of doorbells come and go with the
//! channels, and each is removed from the loop *before* it is closed, since event-manager cannot cope with an
//! event for a descriptor that it does not know.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vm_memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use vmbus::ChannelId;

use crate::bus::{Bus, DoorbellChange};
use crate::observer::Observer;

/// The guest posted a message.
const TOKEN_INBOX: u32 = 0;
/// The guest freed a message slot.
const TOKEN_WAKE: u32 = 1;
/// A deadline of the bus or of a device.
const TOKEN_TIMER: u32 = 2;
/// The doorbell of channel `token - TOKEN_DOORBELL`.
const TOKEN_DOORBELL: u32 = 0x1_0000;

/// While messages wait for a slot: how often to look again, should the guest free one without saying so (kexec and
/// firmware do). A guest that keeps the rules writes EOM, which wakes the loop at once, so this is no polling.
const RETRY: Duration = Duration::from_millis(50);

/// An event-manager subscriber that owns a bus.
///
/// Other threads reach the bus through `EventManager::remote_endpoint` and [`BusSubscriber::bus_mut`].
pub struct BusSubscriber<M: GuestMemory + Clone, O: Observer> {
    bus: Bus<M, O>,
    wake: Vec<EventFd>,
    timer: TimerFd,
    doorbells: Vec<(u32, Arc<EventFd>)>,
}

impl<M: GuestMemory + Clone, O: Observer> BusSubscriber<M, O> {
    /// Takes a bus, and the eventfds that say that a message slot may have become free (the resample eventfds
    /// of an in-kernel SynIC; none for one in user space, which delivers by itself).
    ///
    /// *Errors*: the host is out of timer descriptors.
    pub fn new(bus: Bus<M, O>, wake: Vec<EventFd>) -> std::io::Result<Self> {
        let timer = TimerFd::new().map_err(std::io::Error::from)?;
        Ok(Self { bus, wake, timer, doorbells: Vec::new() })
    }

    /// The bus.
    pub fn bus(&self) -> &Bus<M, O> {
        &self.bus
    }

    /// The bus, to change something; call [`BusSubscriber::settle`] afterwards.
    pub fn bus_mut(&mut self) -> &mut Bus<M, O> {
        &mut self.bus
    }

    /// Carries out what the bus has to do by now and arms the timer for the rest.
    ///
    /// Only for changes made from outside of the loop, which has no way to see them: the loop's own events end in
    /// the same work.
    pub fn settle(&mut self) {
        self.bus.tick();
        let waiting = self.bus.retry_messages();
        self.arm(waiting);
    }

    /// What every event ends with.
    fn finish(&mut self, ops: &mut EventOps) {
        // The timer alone would not do: other events that come without a pause set it anew before it is seen.
        if self.bus.deadline_ns().is_some_and(|at| at <= self.bus.now_ns()) {
            self.bus.tick();
        }
        let waiting = self.bus.retry_messages();
        // Behind everything that may open or close a channel.
        self.follow_doorbells(ops);
        self.arm(waiting);
    }

    /// `waiting`: messages wait for a slot.
    fn arm(&mut self, waiting: bool) {
        let deadline =
            self.bus.deadline_ns().map(|at| Duration::from_nanos(at.saturating_sub(self.bus.now_ns())));
        // From outside of the loop its descriptors cannot be changed; an event of its own can.
        let changed = self.bus.doorbells_changed().then_some(Duration::ZERO);
        let next = [waiting.then_some(RETRY), deadline, changed].into_iter().flatten().min();
        let armed = match next {
            // Zero would disarm it.
            Some(after) => self.timer.reset(after.max(Duration::from_micros(1)), None),
            None => self.timer.clear(),
        };
        if let Err(error) = armed {
            tracing::error!("the event loop's timer cannot be set: {error}");
        }
    }

    /// Brings the loop's descriptors in line with the open channels.
    fn follow_doorbells(&mut self, ops: &mut EventOps) {
        while let Some(change) = self.bus.poll_doorbell_change() {
            match change {
                DoorbellChange::Opened(channel, fd) => {
                    let token = TOKEN_DOORBELL + channel.0;
                    match ops.add(Events::with_data(&*fd, token, EventSet::IN)) {
                        Ok(()) => self.doorbells.push((token, fd)),
                        Err(error) => {
                            tracing::error!("doorbell of channel {channel} is not watched: {error}")
                        }
                    }
                }
                DoorbellChange::Closed(channel) => {
                    let token = TOKEN_DOORBELL + channel.0;
                    self.doorbells.retain(|(known, fd)| {
                        if *known == token
                            && let Err(error) = ops.remove(Events::empty(&**fd))
                        {
                            tracing::error!("doorbell of channel {channel} cannot be forgotten: {error}");
                        }
                        *known != token
                    });
                }
            }
        }
    }
}

impl<M: GuestMemory + Clone + Send, O: Observer> MutEventSubscriber for BusSubscriber<M, O> {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match events.data() {
            TOKEN_INBOX => self.bus.process_inbox(),
            TOKEN_WAKE => {
                let fd = events.fd();
                if let Some(wake) = self.wake.iter().find(|wake| wake.as_raw_fd() == fd) {
                    // Nothing to learn from the count, and an empty one is no error: another wake-up took it.
                    let _ = wake.read();
                }
            }
            // Not read: setting it anew, which every event ends with, takes its expiry back. A read would block for
            // ever if an event of the same batch has done so already.
            TOKEN_TIMER => self.bus.tick(),
            token => {
                if let Some(relid) = token.checked_sub(TOKEN_DOORBELL) {
                    self.bus.process_doorbell(ChannelId(relid));
                }
            }
        }
        self.finish(ops);
    }

    fn init(&mut self, ops: &mut EventOps) {
        let mut added = ops.add(Events::with_data_raw(self.bus.inbox_fd(), TOKEN_INBOX, EventSet::IN));
        added = added.and_then(|()| ops.add(Events::with_data(&self.timer, TOKEN_TIMER, EventSet::IN)));
        for wake in &self.wake {
            added = added.and_then(|()| ops.add(Events::with_data(wake, TOKEN_WAKE, EventSet::IN)));
        }
        if let Err(error) = added {
            tracing::error!("the bus is not watched by the event loop: {error}");
        }
        self.finish(ops);
    }
}

#[cfg(test)]
mod tests;
