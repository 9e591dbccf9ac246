//! Interrupts of the user-space SynIC: KVM_SIGNAL_MSI to one local APIC.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_bindings::kvm_msi;
use kvm_ioctls::VmFd;
use synic::{InterruptError, InterruptSink};

use crate::BackendError;
use crate::cpuid::MAX_APIC_ID;

/// Base of the MSI address; the APIC id is in bits 19:12 (Intel SDM 3A, "Message Address Register Format").
const MSI_ADDRESS: u32 = 0xfee0_0000;
const APIC_ID_SHIFT: u32 = 12;
/// APIC id of a VP that no vCPU has been attached for.
const NOT_ATTACHED: u32 = u32::MAX;

/// Sends MSIs to the APIC of a VP: physical destination, fixed delivery, edge triggered.
#[derive(Debug)]
pub(super) struct MsiSink {
    vm: Arc<VmFd>,
    apic_ids: Box<[AtomicU32]>,
}

impl MsiSink {
    pub(super) fn new(vm: Arc<VmFd>, vps: u32) -> Self {
        Self { vm, apic_ids: (0..vps).map(|_| AtomicU32::new(NOT_ATTACHED)).collect() }
    }

    /// Notes which APIC belongs to `vp`.
    pub(super) fn attach(&self, vp: u32, apic_id: u32) -> Result<(), BackendError> {
        if apic_id > MAX_APIC_ID {
            return Err(BackendError::ApicId(apic_id));
        }
        let count = u32::try_from(self.apic_ids.len()).unwrap_or(u32::MAX);
        self.slot(vp).ok_or(BackendError::NoSuchVp { vp, count })?.store(apic_id, Ordering::Relaxed);
        Ok(())
    }

    fn slot(&self, vp: u32) -> Option<&AtomicU32> {
        self.apic_ids.get(usize::try_from(vp).ok()?)
    }
}

impl InterruptSink for MsiSink {
    fn raise(&self, vp: u32, vector: u8) -> Result<bool, InterruptError> {
        let apic_id = self.slot(vp).map_or(NOT_ATTACHED, |slot| slot.load(Ordering::Relaxed));
        if apic_id > MAX_APIC_ID {
            return Ok(false);
        }
        let msi = kvm_msi {
            address_lo: MSI_ADDRESS | apic_id << APIC_ID_SHIFT,
            data: u32::from(vector),
            ..Default::default()
        };
        // Zero says that the guest has this APIC switched off.
        self.vm.signal_msi(msi).map(|taken| taken > 0).map_err(|error| InterruptError {
            vp,
            vector,
            source: io::Error::from(error),
        })
    }
}
