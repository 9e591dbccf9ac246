//! Where a guest can run: on this host's KVM, or in the KVM lab.

use std::fs;
use std::path::Path;

use hv_kvm::SynicMode;
use hv_kvm::caps::{API_VERSION, HostCaps};
use hv_kvm::guest_probe::{self, GuestProbe};
use kvm_ioctls::Kvm;
use meter::report;

use crate::cli::{KvmChoice, LabClock};
use crate::exit::ExitError;

/// Set in the environment of the instance that runs inside the KVM lab, to what moves its clock, so that its report tells.
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

/// Something that a guest cannot do without, and that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// One line.
    pub(crate) reason: String,
    /// What to do about it, if something can be done.
    pub(crate) hint: Option<&'static str>,
}

impl Obstacle {
    fn new(reason: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { reason: reason.into(), hint }
    }
}

/// A `/dev/kvm` that could be opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenedKvm {
    /// What it says of itself.
    pub(crate) caps: HostCaps,
    /// Whether it ran the tiny guest; the error says how that ended.
    pub(crate) tiny_guest: Result<(), String>,
}

impl OpenedKvm {
    /// The SynIC that a guest gets here when nobody asks for another, or why no guest can run here.
    pub(crate) fn synic(&self) -> Result<SynicMode, Obstacle> {
        let version = self.caps.api_version();
        if version != API_VERSION {
            let reason = format!("this host's KVM speaks API version {version}, a guest needs {API_VERSION}");
            return Err(Obstacle::new(reason, None));
        }
        if let Err(reason) = &self.tiny_guest {
            return Err(Obstacle::new(format!("this host's KVM cannot run Linux: {reason}"), None));
        }
        self.caps.recommended_synic().ok_or_else(|| {
            let missing = self.caps.missing_for(SynicMode::User);
            let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
            Obstacle::new(
                format!("this host's KVM has no SynIC and lacks {} for ours", names.join(", ")),
                Some("a kernel from 5.10 on has what the user-space SynIC needs"),
            )
        })
    }
}

/// Opens `/dev/kvm`, asks what it can do, and runs a tiny guest on it; takes milliseconds.
pub(crate) fn probe() -> Result<OpenedKvm, Obstacle> {
    let system = Kvm::new().map_err(|error| no_device(error, &Devices::look()))?;
    let tiny_guest = match guest_probe::run(&system) {
        Ok(GuestProbe::Runs) => Ok(()),
        Ok(GuestProbe::CannotRun(reason)) => Err(reason),
        Err(error) => Err(error.to_string()),
    };
    Ok(OpenedKvm { caps: HostCaps::probe(&system), tiny_guest })
}

/// Follows the user's choice, and decides where there is none.
pub(crate) fn place(choice: KvmChoice) -> Result<Place, ExitError> {
    let here = if in_lab() { report::Kvm::Lab } else { report::Kvm::Host };
    let usable = || probe().and_then(|kvm| kvm.synic());
    match choice {
        KvmChoice::Lab => Ok(Place::Lab { reason: None }),
        KvmChoice::Auto => match usable() {
            Ok(_) => Ok(Place::Here(here)),
            Err(Obstacle { reason, .. }) => Ok(Place::Lab { reason: Some(reason) }),
        },
        KvmChoice::Host => match usable() {
            Ok(_) => Ok(Place::Here(here)),
            Err(Obstacle { reason, hint }) => Err(ExitError::cannot_run(reason)
                .with_hint(hint.unwrap_or("--kvm lab runs the same command in an emulated machine"))),
        },
    }
}

/// Whether this process runs inside the KVM lab.
pub(crate) fn in_lab() -> bool {
    std::env::var_os(IN_LAB).is_some()
}

/// What moves the clock here, inside the KVM lab.
pub(crate) fn lab_clock() -> Option<report::LabClock> {
    let clock = std::env::var(IN_LAB).ok()?;
    let instructions = clock == LabClock::Instructions.to_string();
    Some(if instructions { report::LabClock::Instructions } else { report::LabClock::Host })
}

/// What tells why there is no `/dev/kvm`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Devices {
    /// The flags of a processor, from `/proc/cpuinfo`.
    cpu_flags: String,
    /// Some KVM module is loaded, or built in.
    kvm_is_loaded: bool,
}

impl Devices {
    fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let kvm_is_loaded =
            ["kvm_intel", "kvm_amd"].iter().any(|module| Path::new("/sys/module").join(module).is_dir());
        Self { cpu_flags: flags.to_owned(), kvm_is_loaded }
    }

    fn hint(&self) -> &'static str {
        let has = |flag| self.cpu_flags.split_whitespace().any(|word| word == flag);
        if self.kvm_is_loaded {
            "KVM is loaded, but its device is not here: give the device to this container (--device /dev/kvm)"
        } else if has("vmx") {
            "load its module, as root: modprobe kvm_intel"
        } else if has("svm") {
            "load its module, as root: modprobe kvm_amd"
        } else {
            "this processor shows no virtualisation: enable it in the firmware or, in a virtual machine, on its host"
        }
    }
}

fn no_device(error: kvm_ioctls::Error, devices: &Devices) -> Obstacle {
    match error.errno() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => {
            Obstacle::new("there is no /dev/kvm", Some(devices.hint()))
        }
        libc::EACCES | libc::EPERM => Obstacle::new(
            "no permission to open /dev/kvm",
            Some("add yourself to the group kvm (as root: adduser $USER kvm) and log in again"),
        ),
        _ => Obstacle::new(format!("/dev/kvm cannot be opened: {error}"), None),
    }
}

/// Lets this process have as many descriptors as the system allows.
///
/// A guest with many processors takes one for each of them, each of its interrupt lines and each channel; the usual
/// limit of 1024 is near then, and what fails next would be the report's file.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of {:?} descriptors stays: {error}", limit.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(flags: &str, kvm_is_loaded: bool) -> Devices {
        Devices { cpu_flags: format!("flags\t\t: fpu {flags} sse2"), kvm_is_loaded }
    }

    fn opened(caps: HostCaps) -> OpenedKvm {
        OpenedKvm { caps, tiny_guest: Ok(()) }
    }

    #[test]
    fn missing_device_is_explained_by_processor_and_modules() {
        for (flags, loaded, word) in [
            ("vmx", false, "kvm_intel"),
            ("svm", false, "kvm_amd"),
            ("vmx_something", false, "firmware"),
            ("svm", true, "--device /dev/kvm"),
        ] {
            let obstacle = no_device(kvm_ioctls::Error::new(libc::ENOENT), &devices(flags, loaded));
            assert_eq!(obstacle.reason, "there is no /dev/kvm");
            assert!(obstacle.hint.unwrap().contains(word), "{flags}: {obstacle:?}");
        }
    }

    #[test]
    fn refused_device_is_a_matter_of_its_group() {
        let obstacle = no_device(kvm_ioctls::Error::new(libc::EACCES), &devices("svm", true));
        assert_eq!(obstacle.reason, "no permission to open /dev/kvm");
        assert!(obstacle.hint.unwrap().contains("adduser $USER kvm"));
    }

    #[test]
    fn device_that_fails_otherwise_is_told_as_it_fails() {
        let obstacle = no_device(kvm_ioctls::Error::new(libc::EBUSY), &Devices::default());
        assert!(obstacle.reason.contains("busy") && obstacle.hint.is_none(), "{obstacle:?}");
    }

    #[test]
    fn kvm_without_any_synic_is_no_place_although_the_tiny_guest_runs() {
        let msr_filter = kvm_bindings::KVM_CAP_X86_MSR_FILTER;
        let caps = HostCaps::from_answers(API_VERSION, |number| {
            i32::from(number != msr_filter && number != kvm_bindings::KVM_CAP_HYPERV_SYNIC2)
        });
        let obstacle = opened(caps).synic().unwrap_err();
        assert_eq!(obstacle.reason, "this host's KVM has no SynIC and lacks X86_MSR_FILTER for ours");
    }

    #[test]
    fn kvm_of_another_api_is_no_place() {
        let obstacle = opened(HostCaps::from_answers(11, |_| 1)).synic().unwrap_err();
        assert!(obstacle.reason.contains("API version 11, a guest needs 12"), "{obstacle:?}");
    }
}
