//! Where a guest can run: on this host's KVM, or in the KVM lab.

use hv_kvm::guest_probe::{self, GuestProbe};
use kvm_ioctls::Kvm;
use meter::report;

use crate::cli::KvmChoice;
use crate::exit::ExitError;

/// Set in the environment of the instance that runs inside the KVM lab, so that its report tells.
pub(crate) const IN_LAB: &str = "VMBUS_EMU_IN_LAB";

/// Where the guest runs.
pub(crate) enum Place {
    /// On the KVM below this process.
    Here(report::Kvm),
    /// In the KVM lab, and why not here, if here was considered.
    Lab {
        /// What the host's KVM lacks.
        reason: Option<String>,
    },
}

/// What became of the host's `/dev/kvm`.
pub(crate) enum HostKvm {
    /// It runs a guest that Linux could be.
    Runs,
    /// It cannot, or it cannot be used; the text says why.
    Unusable {
        /// One line.
        reason: String,
        /// What to do about it, if something can be done.
        hint: Option<&'static str>,
    },
}

/// Looks at the host's KVM by running a tiny guest on it; takes milliseconds.
pub(crate) fn probe() -> HostKvm {
    let unusable = |reason: String, hint| HostKvm::Unusable { reason, hint };
    let system = match Kvm::new() {
        Ok(system) => system,
        Err(error) if error.errno() == libc::ENOENT => {
            return unusable(
                "there is no /dev/kvm".into(),
                Some("load kvm_intel or kvm_amd, or enable virtualisation in the firmware"),
            );
        }
        Err(error) if error.errno() == libc::EACCES || error.errno() == libc::EPERM => {
            return unusable(
                "no permission to open /dev/kvm".into(),
                Some("add yourself to the group kvm (adduser $USER kvm) and log in again"),
            );
        }
        Err(error) => return unusable(format!("/dev/kvm cannot be opened: {error}"), None),
    };
    match guest_probe::run(&system) {
        Ok(GuestProbe::Runs) => HostKvm::Runs,
        Ok(GuestProbe::CannotRun(reason)) => {
            unusable(format!("this host's KVM cannot run Linux: {reason}"), None)
        }
        Err(error) => unusable(error.to_string(), None),
    }
}

/// Follows the user's choice, and decides where there is none.
pub(crate) fn place(choice: KvmChoice) -> Result<Place, ExitError> {
    let here = if std::env::var_os(IN_LAB).is_some() { report::Kvm::Lab } else { report::Kvm::Host };
    match choice {
        KvmChoice::Lab => Ok(Place::Lab { reason: None }),
        KvmChoice::Auto => match probe() {
            HostKvm::Runs => Ok(Place::Here(here)),
            HostKvm::Unusable { reason, .. } => Ok(Place::Lab { reason: Some(reason) }),
        },
        KvmChoice::Host => match probe() {
            HostKvm::Runs => Ok(Place::Here(here)),
            HostKvm::Unusable { reason, hint } => Err(ExitError::cannot_run(reason)
                .with_hint(hint.unwrap_or("--kvm lab runs the same command in an emulated machine"))),
        },
    }
}
