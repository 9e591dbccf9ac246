//! GUEST_OS_ID and the hypercall page that hangs on it (TLFS 3.13).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hv_abi::msr::{ENABLE, PAGE_MASK};
use vm_memory::{Bytes, GuestMemory};

use super::lock;
use crate::page::{self, PageFault};

/// Bit 1 of the HYPERCALL register: no change until reset.
const LOCKED: u64 = 1 << 1;
/// INT3, for the bytes of the page that no call should reach.
const FILLER: u8 = 0xcc;

/// The two registers of the partition.
///
/// The page is written into guest RAM, as KVM does it, and not laid over it: what was there is gone, and the
/// code stays after the page is disabled. Only accesses to the two registers, a few in the life of a guest, wait for
/// each other; a hypercall, which every processor makes all the time, looks at one flag.
#[derive(Debug, Default)]
pub(super) struct HypercallPage {
    pub(super) registers: Mutex<Registers>,
    /// What the register says, for [`Self::is_enabled`]; stored with the registers locked.
    enabled: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Registers {
    guest_os_id: u64,
    register: u64,
}

impl HypercallPage {
    pub(super) fn guest_os_id(&self) -> u64 {
        lock(&self.registers).guest_os_id
    }

    pub(super) fn register(&self) -> u64 {
        lock(&self.registers).register
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Zero, written by a guest on its way out, disables the hypercall page.
    pub(super) fn set_guest_os_id(&self, value: u64) {
        let mut registers = lock(&self.registers);
        registers.guest_os_id = value;
        if value == 0 {
            let disabled = registers.register & !ENABLE;
            self.store(&mut registers, disabled);
        }
    }

    pub(super) fn reset(&self) {
        let mut registers = lock(&self.registers);
        registers.guest_os_id = 0;
        self.store(&mut registers, 0);
    }

    /// Enabling writes `code` to the page. Without a guest OS id, or locked, the write has no effect.
    pub(super) fn set_register<M>(&self, memory: &M, value: u64, code: &[u8]) -> Result<(), PageFault>
    where
        M: GuestMemory + ?Sized,
    {
        let mut registers = lock(&self.registers);
        if registers.guest_os_id == 0 || registers.register & LOCKED != 0 {
            return Ok(());
        }
        if let Some(gpa) = page::enabled_page(value) {
            page::check(memory, gpa)?;
            let mut bytes = [FILLER; 4096];
            bytes.iter_mut().zip(code).for_each(|(to, from)| *to = *from);
            memory.write_slice(&bytes, gpa).map_err(|_| PageFault { gpa: gpa.0 })?;
        }
        self.store(&mut registers, value & (PAGE_MASK | LOCKED | ENABLE));
        Ok(())
    }

    fn store(&self, registers: &mut Registers, register: u64) {
        registers.register = register;
        self.enabled.store(register & ENABLE != 0, Ordering::Release);
    }
}
