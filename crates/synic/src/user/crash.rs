//! The crash registers: how a dying guest says why (TLFS 3.13, `drivers/hv/hv_common.c`).

use std::sync::atomic::{AtomicU64, Ordering};

use hv_abi::msr::{CRASH_MESSAGE, CRASH_NOTIFY};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::page::PAGE_SIZE;

/// What the guest reported when it crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// Virtual processor that reported.
    pub vp: u32,
    /// P0 to P4. Linux: error, guest OS id, instruction pointer, RAX, stack pointer; or, with a message, its
    /// address in P3 and length in P4.
    pub parameters: [u64; 5],
    /// The guest's text (the end of its kernel log), at most a page, if it gave one that could be read.
    pub message: Option<Vec<u8>>,
}

/// P0 to P4 of the partition.
#[derive(Debug, Default)]
pub(super) struct CrashRegisters([AtomicU64; 5]);

impl CrashRegisters {
    /// What CRASH_CTL reads as: notification and messages are understood.
    pub(super) const CAPABILITIES: u64 = CRASH_NOTIFY | CRASH_MESSAGE;

    pub(super) fn write(&self, index: usize, value: u64) {
        if let Some(register) = self.0.get(index) {
            register.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |register| register.load(Ordering::Relaxed))
    }

    pub(super) fn reset(&self) {
        self.0.iter().for_each(|register| register.store(0, Ordering::Relaxed));
    }

    /// The report that a write of `control` to CRASH_CTL makes, if it makes one.
    pub(super) fn report<M>(&self, memory: &M, vp: u32, control: u64) -> Option<CrashReport>
    where
        M: GuestMemory + ?Sized,
    {
        if control & CRASH_NOTIFY == 0 {
            return None;
        }
        let parameters = self.0.each_ref().map(|register| register.load(Ordering::Relaxed));
        let [.., gpa, len] = parameters;
        let message = (control & CRASH_MESSAGE != 0).then(|| read_message(memory, gpa, len)).flatten();
        Some(CrashReport { vp, parameters, message })
    }
}

fn read_message<M: GuestMemory + ?Sized>(memory: &M, gpa: u64, len: u64) -> Option<Vec<u8>> {
    let mut message = vec![0; usize::try_from(len.min(PAGE_SIZE)).ok()?];
    memory.read_slice(&mut message, GuestAddress(gpa)).ok()?;
    Some(message)
}
