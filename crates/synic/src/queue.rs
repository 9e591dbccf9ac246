//! Messages that wait for their slot.
//!
//! A SINT has one slot, so messages arrive in the guest strictly one after another and the host keeps the
//! rest. Both back ends lock one [`VpQueues`] per virtual processor.

use std::collections::VecDeque;

use hv_abi::sint;
use thiserror::Error;
use vm_memory::{GuestAddress, GuestMemory};

use crate::page::{self, Delivery, PageFault};
use crate::{Payload, SignalError, Sint, SynicStats};

/// Messages that may wait for one SINT unless the embedder says otherwise: a bus with some dozens of
/// channels posts its offers at once.
pub const DEFAULT_LIMIT: usize = 256;

/// The queue cannot take another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limit} messages already wait for the slot, which is the limit")]
pub struct QueueFull {
    /// Messages that may wait.
    pub limit: usize,
}

/// What one attempt at delivery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages written to the slot. If any, raise the SINT's vector once.
    pub delivered: usize,
    /// The slot was found occupied, and its pending flag is set.
    pub busy: bool,
}

/// The messages that wait for one SINT of one virtual processor, bounded, first in first out.
#[derive(Clone, Debug)]
pub struct SintQueue {
    waiting: VecDeque<Payload>,
    limit: usize,
}

impl SintQueue {
    /// An empty queue for `limit` messages.
    pub fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), limit }
    }

    /// Appends a message. *Errors*: the queue is full, and unchanged.
    pub fn push(&mut self, payload: Payload) -> Result<(), QueueFull> {
        if self.waiting.len() >= self.limit {
            return Err(QueueFull { limit: self.limit });
        }
        self.waiting.push_back(payload);
        Ok(())
    }

    /// Moves messages into the slot of `sint` in the message page `simp` until the slot is occupied or
    /// nothing waits. Call it after `push`, on EOM, when the guest becomes ready, and from a retry timer.
    ///
    /// *Errors*: the page is not RAM; the message stays queued.
    pub fn deliver<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        simp: GuestAddress,
        sint: Sint,
    ) -> Result<Progress, PageFault> {
        let mut progress = Progress::default();
        while let Some(payload) = self.waiting.front() {
            match page::deliver(memory, simp, sint, payload)? {
                Delivery::Delivered => {
                    self.waiting.pop_front();
                    progress.delivered += 1;
                }
                Delivery::Busy => {
                    progress.busy = true;
                    break;
                }
            }
        }
        Ok(progress)
    }

    /// Drops all messages; how many there were.
    pub fn clear(&mut self) -> usize {
        let dropped = self.waiting.len();
        self.waiting.clear();
        dropped
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The sixteen queues of one virtual processor, counted in [`SynicStats`].
#[derive(Clone, Debug)]
pub struct VpQueues {
    vp: u32,
    queues: [SintQueue; sint::COUNT],
}

impl VpQueues {
    /// Empty queues for virtual processor `vp`, `limit` messages each.
    pub fn new(vp: u32, limit: usize) -> Self {
        Self { vp, queues: std::array::from_fn(|_| SintQueue::new(limit)) }
    }

    /// Appends a message for `sint`.
    pub fn push(&mut self, sint: Sint, payload: Payload, stats: &SynicStats) -> Result<(), SignalError> {
        let (vp, number) = (self.vp, sint.number());
        self.queue(sint).push(payload).map_err(|full| SignalError::QueueFull {
            vp,
            sint: number,
            limit: full.limit,
        })?;
        stats.messages_queued.increment();
        Ok(())
    }

    /// [`SintQueue::deliver`] for `sint`. True when its vector is due.
    pub fn deliver<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        simp: GuestAddress,
        sint: Sint,
        stats: &SynicStats,
    ) -> Result<bool, PageFault> {
        let progress =
            self.queue(sint).deliver(memory, simp, sint).inspect_err(|_| stats.page_faults.increment())?;
        stats.messages_delivered.add(progress.delivered as u64);
        if progress.busy {
            stats.slot_busy.increment();
        }
        Ok(progress.delivered > 0)
    }

    /// Drops all messages of all SINTs.
    pub fn clear(&mut self, stats: &SynicStats) {
        let dropped: usize = self.queues.iter_mut().map(SintQueue::clear).sum();
        stats.messages_dropped.add(dropped as u64);
    }

    /// Messages wait for `sint`.
    pub fn is_waiting(&self, sint: Sint) -> bool {
        self.queues.get(sint.index()).is_some_and(|queue| !queue.is_empty())
    }

    /// Messages wait for some SINT.
    pub fn any_waiting(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    fn queue(&mut self, sint: Sint) -> &mut SintQueue {
        // In range by construction: a `Sint` is below the length of the array.
        &mut self.queues[sint.index()]
    }
}

#[cfg(test)]
mod tests;
