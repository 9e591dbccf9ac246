//! What a machine sees of a SynIC back end, whichever it is.

use std::fmt;
use std::io;
use std::sync::Arc;

use kvm_bindings::kvm_cpuid_entry2;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use synic::user::{CrashReport, MAX_VPS};
use synic::{Doorbells, GuestSignal, Inbox, SynicStats};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::EventFd;

use crate::caps::HostCaps;
use crate::cpuid::MAX_APIC_ID;

/// Where the synthetic interrupt controller lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SynicMode {
    /// In KVM (KVM_CAP_HYPERV_SYNIC2).
    Kernel,
    /// In this process: MSR filter, our own hypercall page, KVM_SIGNAL_MSI.
    User,
}

impl fmt::Display for SynicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        })
    }
}

/// Our failure to run a SynIC on KVM. What the guest does wrong never ends here.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// KVM lacks something that this SynIC needs; `HostCaps::missing_for` names it in advance.
    #[error("this KVM has no {0}, which the {1} SynIC needs")]
    Missing(&'static str, SynicMode),
    /// KVM refused an operation.
    #[error("KVM refused {operation}: {source}")]
    Kvm {
        /// What was asked.
        operation: &'static str,
        /// The kernel's error.
        source: errno::Error,
    },
    /// An eventfd could not be made or duplicated.
    #[error("no eventfd: {0}")]
    EventFd(#[from] io::Error),
    /// The VP does not exist.
    #[error("VP {vp} is not one of the {count} that the machine was built with")]
    NoSuchVp {
        /// VP asked for.
        vp: u32,
        /// VPs there are.
        count: u32,
    },
    /// No VP, or more than interrupts can reach.
    #[error("{0} VPs, the limits are 1 and {MAX_VPS}")]
    VpCount(u32),
    /// The APIC id does not fit an MSI.
    #[error("APIC id {0} is above the limit of {MAX_APIC_ID}")]
    ApicId(u32),
}

impl BackendError {
    /// Names the operation that an ioctl failed in.
    pub(crate) fn kvm(operation: &'static str) -> impl FnOnce(errno::Error) -> Self {
        move |source| Self::Kvm { operation, source }
    }
}

/// What a back end is built from.
#[derive(Debug)]
pub struct SynicParameters<'a> {
    /// `/dev/kvm`.
    pub system: &'a Kvm,
    /// What it can do.
    pub caps: &'a HostCaps,
    /// The VM, with its interrupt controllers created.
    pub vm: Arc<VmFd>,
    /// Guest RAM.
    pub memory: GuestMemoryMmap,
    /// Virtual processors; VP indices run from 0.
    pub vps: u32,
    /// Frequency of the guest's TSC in Hz. The in-kernel SynIC takes KVM's own value instead.
    pub tsc_hz: u64,
}

impl SynicParameters<'_> {
    /// Checks what both back ends ask for.
    pub(crate) fn check(&self, mode: SynicMode) -> Result<(), BackendError> {
        if let Some(missing) = self.caps.missing_for(mode).first() {
            return Err(BackendError::Missing(missing.name, mode));
        }
        if self.vps == 0 || self.vps > MAX_VPS {
            return Err(BackendError::VpCount(self.vps));
        }
        Ok(())
    }
}

/// What [`KvmSynic::on_exit`] made of an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitOutcome {
    /// Served; enter the guest again.
    Handled,
    /// Not the SynIC's; the vCPU's state is as KVM left it.
    NotMine,
    /// The guest panicked and said so. It expects to go on, to reboot or to halt.
    Crash(Box<CrashReport>),
    /// The guest asks for a reset of the machine.
    Reset,
}

/// One SynIC on one KVM VM.
///
/// Order of calls: construct; for each vCPU KVM_SET_CPUID2 (with [`Self::cpuid`] in it) and then
/// [`Self::attach_vcpu`]; run. The machine calls [`Self::on_exit`] on the vCPU's own thread:
///
/// ```text
/// let exit = vcpu.run()?;
/// if synic.claims(&exit) {
///     outcome = synic.on_exit(vp, &mut vcpu)?;
/// } else {
///     match exit { /* ports, MMIO, ... */ }
/// }
/// ```
pub trait KvmSynic: Send + Sync {
    /// Which of the two this is.
    fn mode(&self) -> SynicMode;

    /// Hyper-V's CPUID leaves, for [`crate::cpuid::guest_cpuid`].
    fn cpuid(&self) -> Vec<kvm_cpuid_entry2>;

    /// Prepares the vCPU of virtual processor `vp`, whose CPUID must have been set.
    ///
    /// # Errors
    /// [`BackendError`]; the machine cannot run then.
    fn attach_vcpu(&self, vcpu: &VcpuFd, vp: u32, apic_id: u32) -> Result<(), BackendError>;

    /// Whether [`Self::on_exit`] would serve this exit. Cheap: no lock, no ioctl.
    fn claims(&self, exit: &VcpuExit<'_>) -> bool;

    /// Serves the exit that the last KVM_RUN of `vcpu` ended with.
    ///
    /// Never blocks on the event thread. Must be followed by KVM_RUN before the vCPU's registers are saved.
    ///
    /// # Errors
    /// [`BackendError`] when KVM itself fails; a guest's nonsense is answered as hardware would.
    fn on_exit(&self, vp: u32, vcpu: &mut VcpuFd) -> Result<ExitOutcome, BackendError>;

    /// Host to guest.
    fn signal(&self) -> Arc<dyn GuestSignal>;

    /// Guest to host, connection by connection.
    fn doorbells(&self) -> Arc<dyn Doorbells>;

    /// Guest to host, messages.
    fn inbox(&self) -> Arc<Inbox>;

    /// What the SynIC saw.
    fn stats(&self) -> Arc<SynicStats>;

    /// An eventfd (non-blocking) that is written when a guest may have freed a message slot: poll it, read
    /// it, and call [`GuestSignal::retry`]. `None` when the vCPU threads do that themselves.
    fn slot_freed(&self) -> Option<&EventFd>;

    /// Puts one vCPU's synthetic registers back to their reset values; with the vCPU stopped.
    ///
    /// # Errors
    /// [`BackendError::Kvm`] when KVM refuses.
    fn reset_vcpu(&self, vp: u32, vcpu: &VcpuFd) -> Result<(), BackendError>;

    /// Forgets queues and posted messages of the whole VM; with all vCPUs stopped. Doorbells stay, they are
    /// the bus's to remove.
    fn reset(&self);
}
