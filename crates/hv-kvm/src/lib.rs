//! What the emulator needs from KVM: the two SynIC back ends, memory slots, VRAM, the dirty log.
//!
//! | module | what |
//! |---|---|
//! | [`caps`] | what the host's KVM can do, and which SynIC that allows |
//! | [`kernel`] | the SynIC that KVM has (KVM_CAP_HYPERV_SYNIC2) |
//! | [`user`] | the SynIC of this process, for every other KVM |
//! | [`cpuid`] | the CPUID that a guest sees |
//! | [`hypercall_page`] | code of the hypercall page of [`user`] |
//! | [`guest_probe`] | whether this KVM runs a real guest at all |
//! | [`layout`] | guest addresses: RAM, the hole below 4 GiB, windows for VRAM |
//! | [`mem_slots`] | memory given to the guest |
//! | [`vram`] | VRAM where the guest wants it |
//! | [`dirty_log`] | pages that the guest wrote |
//! | [`coalesced`] | port writes that cost no exit |
//! | [`binary_stats`] | counters that KVM keeps, all exits among them |
//!
//! A machine takes [`open_synic`] and talks to either back end through [`KvmSynic`]. `unsafe` lives in
//! `ioctl` and [`mem_slots`] and nowhere else in the workspace.

mod backend;
pub mod binary_stats;
pub mod caps;
pub mod coalesced;
pub mod cpuid;
pub mod dirty_log;
mod doorbells;
pub mod guest_probe;
pub mod hypercall_page;
mod ioctl;
pub mod kernel;
pub mod layout;
pub mod mem_slots;
pub mod user;
pub mod vram;

use std::sync::Arc;

pub use backend::{BackendError, ExitOutcome, KvmSynic, SynicMode, SynicParameters};
pub use kernel::KernelSynic;
pub use synic::user::CrashReport;
pub use user::UserSpaceSynic;

/// Builds the SynIC of `mode`.
///
/// The VM must have its in-kernel interrupt controllers (KVM_CREATE_IRQCHIP) and no vCPU yet.
///
/// # Errors
/// [`BackendError::Missing`] when this KVM cannot do it, see [`caps::HostCaps::recommended_synic`].
pub fn open_synic(
    mode: SynicMode,
    parameters: SynicParameters<'_>,
) -> Result<Arc<dyn KvmSynic>, BackendError> {
    Ok(match mode {
        SynicMode::Kernel => Arc::new(KernelSynic::new(parameters)?),
        SynicMode::User => Arc::new(UserSpaceSynic::new(parameters)?),
    })
}
