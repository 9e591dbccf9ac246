//! Finds out whether this host's KVM can run a real guest kernel, by running eleven bytes of one.
//!
//! Some hosts offer `/dev/kvm` and then interpret an ordinary guest's instructions (a pagetable-based KVM
//! does), integer code only. A Linux kernel dies there, after minutes. The probe enters a real-mode guest that
//! uses one SSE register and reports through a port; whoever cannot do that cannot run Linux. Milliseconds.

use std::ops::Range;
use std::sync::Arc;

use kvm_ioctls::{Kvm, VcpuExit};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::caps::HostCaps;
use crate::layout::MmioWindows;
use crate::mem_slots::{MemorySlots, SlotError};

/// Where the code lies.
const CODE_GPA: u64 = 0x1000;
/// Port that the guest reports on; a POST-code port that no device here owns.
const REPORT_PORT: u16 = 0x80;
/// What it reports.
const REPORT_VALUE: u8 = 0x2a;
/// `xorps xmm0,xmm0; paddd xmm0,xmm0; mov al,0x2a; out 0x80,al`
const CODE: [u8; 11] =
    [0x0f, 0x57, 0xc0, 0x66, 0x0f, 0xfe, 0xc0, 0xb0, REPORT_VALUE, 0xe6, REPORT_PORT.to_le_bytes()[0]];
/// CR4.OSFXSAVE and CR4.OSXMMEXCPT.
const CR4_SSE: u64 = 0b11 << 9;
/// CR0.EM and CR0.TS must be clear for SSE.
const CR0_NO_SSE: u64 = 0b1100;

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestProbe {
    /// The guest ran.
    Runs,
    /// KVM gave up; the text is its own reason.
    CannotRun(String),
}

/// The probe could not be set up.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// A KVM call failed.
    #[error("cannot set up the probe guest: {0}")]
    Kvm(#[from] kvm_ioctls::Error),
    /// Memory could not be given to it.
    #[error("cannot give memory to the probe guest: {0}")]
    Slot(#[from] SlotError),
    /// Its memory could not be made or filled.
    #[error("cannot prepare the probe guest's memory: {0}")]
    Memory(String),
}

/// Runs the probe guest.
///
/// *Errors*: only when the probe itself cannot be set up; a guest that does not run is an answer, not an error.
pub fn run(system: &Kvm) -> Result<GuestProbe, ProbeError> {
    let vm = Arc::new(system.create_vm()?);
    let memory: GuestMemoryMmap = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)])
        .map_err(|error| ProbeError::Memory(error.to_string()))?;
    memory
        .write_slice(&CODE, GuestAddress(CODE_GPA))
        .map_err(|error| ProbeError::Memory(error.to_string()))?;
    let no_windows: [Range<u64>; 0] = [];
    let windows = MmioWindows::new(&no_windows).map_err(|error| ProbeError::Memory(error.to_string()))?;
    // Keeps the memory registered, and alive, for as long as the vCPU may touch it.
    let _slots = MemorySlots::new(Arc::clone(&vm), &HostCaps::probe(system), memory, windows)?;

    let mut vcpu = vm.create_vcpu(0)?;
    let mut sregs = vcpu.get_sregs()?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    sregs.cr4 |= CR4_SSE;
    sregs.cr0 &= !CR0_NO_SSE;
    vcpu.set_sregs(&sregs)?;
    let mut regs = vcpu.get_regs()?;
    regs.rip = CODE_GPA;
    regs.rflags = 2;
    vcpu.set_regs(&regs)?;
    Ok(match vcpu.run() {
        Ok(VcpuExit::IoOut(REPORT_PORT, [REPORT_VALUE])) => GuestProbe::Runs,
        Ok(exit) => GuestProbe::CannotRun(format!("an SSE instruction ended in {exit:?}")),
        Err(error) => GuestProbe::CannotRun(format!("KVM_RUN failed: {error}")),
    })
}
