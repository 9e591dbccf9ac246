//! Writes to an I/O port that KVM notes down and does not leave the guest for (KVM_CAP_COALESCED_PIO).
//!
//! Good for a register whose effect nobody needs at once, such as the transmit register of a console: a kernel that prints
//! reads the line status before each letter, which leaves the guest anyway. It spares one exit in two.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO};
use kvm_ioctls::{IoEventAddress, VcpuFd, VmFd};

use crate::backend::BackendError;
use crate::caps::HostCaps;
use crate::ioctl;

/// No ring has room for more, so one call of [`CoalescedPort::drain`] takes all that was there before it. A guest that goes on
/// writing on another processor does not keep the caller.
const RING_ENTRIES: usize = 4096 / size_of::<kvm_bindings::kvm_coalesced_mmio>();

/// A port whose one-byte writes go into the VM's ring, of which there is one for all processors.
///
/// *Order*: a processor's writes are in the ring before it leaves the guest for anything else; so whoever takes them
/// before looking at the exit sees everything in the guest's order. A write that finds the ring full leaves the guest as ever.
///
/// *Drop*: the ring goes with the VM; the VM lives as long as this does.
#[derive(Debug)]
pub struct CoalescedPort {
    /// A second descriptor of a vCPU, because the one that runs is lent to whoever handles its exit.
    ring: Mutex<VcpuFd>,
    vm: Arc<VmFd>,
    port: u16,
    /// Whether KVM notes down, and how often that was taken back.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    on: bool,
    pauses: u32,
}

/// After so many pauses it stays as it is: each costs KVM a grace period of its readers, and whoever pauses so often has little to win.
const PAUSES_MAX: u32 = 32;

impl CoalescedPort {
    /// Has KVM note down the one-byte writes to `port`. `None` when it cannot.
    ///
    /// # Errors
    /// [`BackendError::Kvm`] when KVM refuses what it said it can do.
    pub fn new(
        caps: &HostCaps,
        vm: &Arc<VmFd>,
        vcpu: &VcpuFd,
        port: u16,
    ) -> Result<Option<Self>, BackendError> {
        if ![KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO].iter().all(|&number| caps.has(number)) {
            return Ok(None);
        }
        let mut ring =
            ioctl::second_handle(vm, vcpu).map_err(BackendError::kvm("a second handle of a vCPU"))?;
        ring.map_coalesced_mmio_ring().map_err(BackendError::kvm("the ring of coalesced writes"))?;
        vm.register_coalesced_mmio(IoEventAddress::Pio(port.into()), 1)
            .map_err(BackendError::kvm("coalesced writes to a port"))?;
        let state = Mutex::new(State { on: true, pauses: 0 });
        Ok(Some(Self { ring: Mutex::new(ring), vm: Arc::clone(vm), port, state }))
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets each write leave the guest from now on (`false`), or no longer (`true`). Once it was paused too often
    /// each write leaves for good, which costs exits and nothing else.
    pub fn set_on(&self, on: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.on == on || (on && state.pauses > PAUSES_MAX) {
            return;
        }
        let port = IoEventAddress::Pio(self.port.into());
        let done = if on {
            self.vm.register_coalesced_mmio(port, 1)
        } else {
            state.pauses += 1;
            self.vm.unregister_coalesced_mmio(port, 1)
        };
        match done {
            Ok(()) => state.on = on,
            Err(error) => tracing::warn!(%error, on, port = self.port, "coalesced writes"),
        }
    }

    /// Gives `take` all bytes written so far, in order; two threads do not mix theirs.
    pub fn drain(&self, mut take: impl FnMut(u8)) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..RING_ENTRIES {
            // The only error is a ring that was not mapped, and `new` has mapped it.
            let Ok(Some(write)) = ring.coalesced_mmio_read() else { return };
            let [byte, ..] = write.data;
            take(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_takes_a_whole_ring() {
        // The ring's header and its entries fill one page; KVM leaves one entry free.
        assert_eq!(RING_ENTRIES, 170);
    }
}
