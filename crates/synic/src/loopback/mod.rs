//! A SynIC and a guest of it in one process: no KVM, no threads, no waiting.
//!
//! [`Loopback`] is the host's end, a [`UserSynic`] over memory of its own whose interrupts are counted.
//! [`LoopbackGuest`] plays the virtual processors. Everything happens inside the call that causes it, so a
//! script over both runs in virtual time.

mod guest;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thiserror::Error;
use vm_memory::{GuestAddress, GuestMemoryMmap};

pub use self::guest::{GuestPages, LoopbackGuest, TakenMessage};

use crate::hypercall::Connections;
use crate::user::{ConfigError, MAX_VPS, UserSynic, UserSynicConfig};
use crate::{Inbox, InterruptError, InterruptSink, SynicStats};

/// TSC frequency that the loopback's guest reads, in Hz.
const TSC_HZ: u64 = 1_000_000_000;

/// The SynIC type of a [`Loopback`].
pub type LoopbackSynic = UserSynic<Arc<GuestMemoryMmap>, Arc<RecordingSink>>;

/// The loopback could not be built.
#[derive(Debug, Error)]
pub enum LoopbackError {
    /// The guest's memory could not be mapped.
    #[error("cannot map {bytes:#x} bytes of guest memory")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the host said.
        #[source]
        source: vm_memory::mmap::FromRangesError,
    },
    /// The inbox has no eventfd.
    #[error("cannot make the inbox")]
    Inbox(#[source] std::io::Error),
    /// The SynIC refused its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The host's end: a [`UserSynic`] over plain memory, and what came of its interrupts.
#[derive(Debug)]
pub struct Loopback {
    memory: Arc<GuestMemoryMmap>,
    sink: Arc<RecordingSink>,
    synic: Arc<LoopbackSynic>,
}

impl Loopback {
    /// `vps` virtual processors and `ram_bytes` of RAM from guest address 0.
    pub fn new(vps: u32, ram_bytes: usize) -> Result<Self, LoopbackError> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), ram_bytes)])
            .map_err(|source| LoopbackError::Memory { bytes: ram_bytes, source })?;
        Self::with_memory(vps, Arc::new(memory))
    }

    /// `vps` virtual processors over existing guest memory.
    pub fn with_memory(vps: u32, memory: Arc<GuestMemoryMmap>) -> Result<Self, LoopbackError> {
        let inbox = Arc::new(Inbox::new(Inbox::DEFAULT_CAPACITY).map_err(LoopbackError::Inbox)?);
        let connections = Connections::new(inbox, Arc::new(SynicStats::default()));
        let sink = Arc::new(RecordingSink::new(vps.min(MAX_VPS)));
        // The guest calls the SynIC itself, so its hypercall page holds a bare return.
        let config = UserSynicConfig::new(vps, TSC_HZ, vec![0xc3]);
        let synic = Arc::new(UserSynic::new(memory.clone(), sink.clone(), connections, config)?);
        Ok(Self { memory, sink, synic })
    }

    /// The guest, with its own pages at `pages`. See [`GuestPages`].
    pub fn guest(&self, pages: GuestPages) -> LoopbackGuest {
        LoopbackGuest::new(self.memory.clone(), self.synic.clone(), pages)
    }

    /// The SynIC; it is the [`GuestSignal`](crate::GuestSignal) and the [`Doorbells`](crate::Doorbells).
    pub fn synic(&self) -> &Arc<LoopbackSynic> {
        &self.synic
    }

    /// What the guest posted.
    pub fn inbox(&self) -> &Arc<Inbox> {
        self.synic.connections().inbox()
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Arc<GuestMemoryMmap> {
        &self.memory
    }

    /// The interrupts.
    pub fn interrupts(&self) -> &Arc<RecordingSink> {
        &self.sink
    }
}

/// An [`InterruptSink`] that counts.
#[derive(Debug)]
pub struct RecordingSink {
    raised: Vec<AtomicU64>,
    refusing: AtomicBool,
}

impl RecordingSink {
    /// A sink for `vps` virtual processors.
    pub fn new(vps: u32) -> Self {
        Self { raised: (0..vps).map(|_| AtomicU64::new(0)).collect(), refusing: AtomicBool::new(false) }
    }

    /// Interrupts that `vp` took since construction; zero for one that does not exist.
    pub fn count(&self, vp: u32) -> u64 {
        let raised = usize::try_from(vp).ok().and_then(|vp| self.raised.get(vp));
        raised.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Makes every APIC refuse interrupts, as one that is switched off does, or take them again.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }
}

impl InterruptSink for RecordingSink {
    fn raise(&self, vp: u32, _vector: u8) -> Result<bool, InterruptError> {
        if self.refusing.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if let Some(count) = usize::try_from(vp).ok().and_then(|vp| self.raised.get(vp)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
