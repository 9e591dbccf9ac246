//! Why a machine cannot be built or started: our failures, never the guest's.

use std::io;
use std::path::PathBuf;

use super::config::ConfigError;

/// Failure to build, start or stop a machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    /// The configuration describes no machine.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be opened or read.
    #[error("cannot open or read {what} {}: {source}", .path.display())]
    File {
        /// "kernel" or "initrd".
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel file is something else.
    #[error("{} is not a Linux bzImage: {reason}", .path.display())]
    NotBzImage {
        /// Which file.
        path: PathBuf,
        /// What gives it away.
        reason: String,
    },
    /// Kernel and initrd do not fit in RAM.
    #[error("{what} needs {bytes:#x} bytes between {floor:#x} and {ceiling:#x}: give the guest more memory")]
    DoesNotFit {
        /// "kernel" or "initrd".
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// Lowest address that it may have.
        floor: u64,
        /// End of the space that it may have.
        ceiling: u64,
    },
    /// The command line is longer than this kernel takes.
    #[error("kernel command line has {bytes} bytes, this kernel takes {limit}")]
    CmdlineLimit {
        /// Its length.
        bytes: usize,
        /// The kernel's limit.
        limit: u32,
    },
    /// The host has no memory for the guest.
    #[error("cannot allocate {bytes:#x} bytes of guest memory: {source}")]
    Memory {
        /// How much was wanted.
        bytes: u64,
        /// Why not.
        source: io::Error,
    },
    /// The firmware's screen could not be mapped.
    #[error("cannot map the firmware's screen: {0}")]
    FirmwareScreen(surface::VramMapError),
    /// Something that the machine wrote to guest memory fell outside.
    #[error("cannot write {what} to guest memory at {gpa:#x}: {source}")]
    GuestWrite {
        /// What.
        what: &'static str,
        /// Where.
        gpa: u64,
        /// Why not.
        source: vm_memory::GuestMemoryError,
    },
    /// /dev/kvm is missing or may not be opened.
    #[error("cannot open /dev/kvm: {0}; load kvm_intel or kvm_amd, and be a member of its group")]
    NoKvm(io::Error),
    /// This KVM lacks what a SynIC needs.
    #[error("this host's KVM cannot run a guest with the {wanted} SynIC, it lacks {missing}")]
    NoSynic {
        /// The SynIC that was asked for.
        wanted: String,
        /// Capabilities, comma-separated.
        missing: String,
    },
    /// KVM refused something that it should be able to do.
    #[error("KVM refused to {operation}: {source}")]
    Kvm {
        /// What, in words.
        operation: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A memory slot could not be set up.
    #[error(transparent)]
    Slot(#[from] hv_kvm::mem_slots::SlotError),
    /// An operating-system object (eventfd, thread, signal handler) could not be made.
    #[error("cannot create {what}: {source}")]
    Host {
        /// What.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// [`super::Machine::start`] was called twice.
    #[error("machine has been started already; build it again to run the guest again")]
    AlreadyStarted,
    /// A SynIC back end failed.
    #[error(transparent)]
    Synic(#[from] hv_kvm::BackendError),
    /// No CPUID could be made for the guest.
    #[error(transparent)]
    Cpuid(#[from] hv_kvm::cpuid::CpuidError),
}

impl MachineError {
    /// For `map_err` on a KVM call.
    pub(super) fn kvm(operation: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |error| Self::Kvm { operation, source: error.into() }
    }

    /// For `map_err` on a host call.
    pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}
