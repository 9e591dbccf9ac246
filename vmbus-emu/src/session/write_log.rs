//! KVM's dirty log, as the oracle asks for it.

use std::ops::Range;
use std::sync::Arc;

use hv_kvm::dirty_log::{DirtyLog, DirtyPages};
use hv_kvm::mem_slots::MemorySlots;
use oracle::{WriteLog, WriteLogError, WrittenPages};

/// The log of wherever VRAM lies in one machine's memory: the slot behind the aperture, or the slot of RAM.
///
/// KVM logs from [`WriteLog::restart`] on, so a machine without an oracle pays nothing. After a reset of the machine the
/// oracle gets another.
#[derive(Debug)]
pub(super) struct KvmWriteLog {
    slots: Arc<MemorySlots>,
    log: Option<DirtyLog>,
    /// Pages of one look; kept for the allocation.
    pages: DirtyPages,
}

impl KvmWriteLog {
    /// The log of `slots`; nothing is followed yet.
    pub(super) fn new(slots: Arc<MemorySlots>) -> Self {
        Self { slots, log: None, pages: DirtyPages::default() }
    }
}

impl WriteLog for KvmWriteLog {
    fn restart(&mut self, vram: Option<Range<u64>>) -> Result<(), WriteLogError> {
        // The old one stops first: while two follow the same slot, they may take each other's pages.
        self.log = None;
        let Some(vram) = vram else { return Ok(()) };
        self.log = Some(DirtyLog::start(Arc::clone(&self.slots), &vram).map_err(WriteLogError::new)?);
        Ok(())
    }

    fn collect(&mut self, written: &mut WrittenPages) -> Result<(), WriteLogError> {
        let log = self.log.as_mut().ok_or_else(|| WriteLogError::new("nothing is followed"))?;
        log.collect_into(&mut self.pages).map_err(WriteLogError::new)?;
        written.insert_words(self.pages.words());
        Ok(())
    }
}
