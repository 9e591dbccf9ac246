//! What was found, and what follows from it.

use std::fs;
use std::path::{Path, PathBuf};

use guest_kit::lab::{LAB_GUEST, LabClock};
use guest_kit::packages::{self, KNOWN_GUESTS, PackageError, Whereabouts};
use guest_kit::probe::{QEMU, Readiness};
use hv_kvm::SynicMode;
use hv_kvm::caps::{Capability, Need};
use rustix::fs::Access;

use crate::cli::KvmChoice;
use crate::host::{self, Obstacle, OpenedKvm};

/// Everything that decides where a guest can run.
pub(super) struct Findings {
    pub(super) choice: KvmChoice,
    /// This instance runs inside the KVM lab.
    pub(super) in_lab: bool,
    /// Release of the kernel below.
    pub(super) release: String,
    /// The KVM below; none if nobody wants to know.
    pub(super) kvm: Option<Result<OpenedKvm, Obstacle>>,
    /// What brings guests and the lab; there is nothing of it inside the lab.
    pub(super) kit: Option<Kit>,
}

/// Tools, guest kernels, and the cache that they are kept in.
pub(super) struct Kit {
    pub(super) readiness: Readiness,
    pub(super) guests: Vec<Guest>,
    pub(super) cache: Cache,
    /// The QEMU of a lab whose clock goes by instructions, if it was built.
    pub(super) built_qemu: Option<PathBuf>,
}

/// A guest that has a name.
pub(super) struct Guest {
    pub(super) name: &'static str,
    /// Where its kernel would come from, or why from nowhere.
    pub(super) kernel: Result<Whereabouts, String>,
}

/// The directory for downloads.
pub(super) struct Cache {
    pub(super) directory: PathBuf,
    /// Why nothing can be put into it.
    pub(super) problem: Option<String>,
}

/// Where a guest would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// On the KVM below.
    Here { in_lab: bool, synic: SynicMode },
    /// In the lab, and why not on the KVM below, if that was considered.
    Lab { because: Option<String> },
    /// Not as asked.
    Nowhere { reason: String },
}

impl Findings {
    /// Looks at whatever `choice` leaves open.
    pub(super) fn gather(choice: KvmChoice) -> Self {
        let in_lab = host::in_lab();
        Self {
            choice,
            in_lab,
            release: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "of unknown release".to_owned(), |text| text.trim().to_owned()),
            kvm: (choice != KvmChoice::Lab).then(host::probe),
            kit: (!in_lab).then(Kit::gather),
        }
    }

    /// Where a guest would run, by the same rules as in `vmbus-emu run`.
    pub(super) fn verdict(&self) -> Verdict {
        let here = match &self.kvm {
            Some(Ok(kvm)) => kvm.synic().map_err(|obstacle| Some(obstacle.reason)),
            Some(Err(obstacle)) => Err(Some(obstacle.reason.clone())),
            None => Err(None),
        };
        let not_here = match here {
            Ok(synic) => return Verdict::Here { in_lab: self.in_lab, synic },
            Err(reason) => reason,
        };
        if self.choice == KvmChoice::Host {
            return Verdict::Nowhere { reason: not_here.unwrap_or_default() };
        }
        match (self.lab(), not_here) {
            (Ok(()), because) => Verdict::Lab { because },
            (Err(no_lab), None) => Verdict::Nowhere { reason: no_lab },
            (Err(no_lab), Some(not_here)) => Verdict::Nowhere { reason: format!("{not_here}, and {no_lab}") },
        }
    }

    /// Whether the lab can be booted; the error says what is missing.
    pub(super) fn lab(&self) -> Result<(), String> {
        match &self.kit {
            Some(kit) => kit.lab(),
            None => Err("there is no KVM lab inside the KVM lab".to_owned()),
        }
    }

    /// What to do, each in a line, to get more out of this host; the most useful first. The lab is as it is.
    pub(super) fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if self.in_lab {
            return advice;
        }
        match &self.kvm {
            Some(Ok(kvm)) => advice.extend(kvm_advice(kvm)),
            Some(Err(obstacle)) => advice.extend(obstacle.hint.map(str::to_owned)),
            None => {}
        }
        advice.extend(self.kit.iter().flat_map(Kit::advice));
        if matches!(self.verdict(), Verdict::Nowhere { .. }) {
            advice.push("for the simulated guest nothing is needed: vmbus-emu sim".to_owned());
        }
        advice
    }
}

impl Kit {
    fn gather() -> Self {
        let directory = guest_kit::cache::directory();
        let kernel = |name| packages::look_up(name, &directory).map_err(|error| unavailable(&error));
        let guests = KNOWN_GUESTS.iter().map(|guest| Guest { name: guest.name, kernel: kernel(guest.name) });
        let guests = guests.collect();
        let built_qemu = Some(LabClock::built_qemu(&directory)).filter(|path| path.is_file());
        Self { readiness: Readiness::probe(), guests, cache: Cache::look_at(directory), built_qemu }
    }

    fn lab(&self) -> Result<(), String> {
        if !self.readiness.lab() {
            let found = self.readiness.tools.iter().any(|tool| tool.name == QEMU && tool.path.is_some());
            let problem = if found { ", and the one here does not work" } else { "" };
            return Err(format!("the KVM lab needs {QEMU}{problem}"));
        }
        let kernel = self.guests.iter().find(|guest| guest.name == LAB_GUEST).map(|guest| &guest.kernel);
        let obstacle = match kernel {
            Some(Ok(Whereabouts::Cached(_))) => return Ok(()),
            Some(Ok(Whereabouts::Archive { .. })) => match self.no_download() {
                Some(reason) => reason,
                None => return Ok(()),
            },
            Some(Err(reason)) => reason.clone(),
            None => "no guest has its name".to_owned(),
        };
        Err(format!("the KVM lab has no kernel, {LAB_GUEST}: {obstacle}"))
    }

    /// Why a kernel that is in the archive cannot be had all the same.
    pub(super) fn no_download(&self) -> Option<String> {
        let missing =
            |name: &&&str| self.readiness.tools.iter().any(|tool| tool.name == **name && tool.path.is_none());
        let missing: Vec<_> = ["apt-get", "dpkg-deb"].iter().filter(missing).copied().collect();
        if missing.is_empty() {
            return self.cache.problem.clone();
        }
        Some(format!("there is no {} to fetch it with", missing.join(" and no ")))
    }

    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if let Some(command) = self.readiness.install_command() {
            advice.push(format!("for missing tools, as root: {command}"));
        }
        let nothing_missing = self.readiness.packages_to_install().is_empty();
        if nothing_missing && self.guests.iter().any(|guest| guest.kernel.is_err()) {
            advice.push(
                "for more guest kernels: Debian 12 (bookworm) and its security updates in apt's sources, and then, \
                 as root: apt-get update"
                    .to_owned(),
            );
        }
        if self.cache.problem.is_some() {
            advice.push(format!(
                "for a cache: {} set to a directory that can be written",
                guest_kit::cache::VARIABLE
            ));
        }
        advice
    }
}

impl Cache {
    /// A directory that is not there yet can be made if the nearest one above it can be written.
    pub(super) fn look_at(directory: PathBuf) -> Self {
        let existing = directory.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
        let problem = if existing.is_dir() {
            rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK)
                .err()
                .map(|error| format!("{} cannot be written: {error}", existing.display()))
        } else {
            Some(format!("{} is no directory", existing.display()))
        };
        Self { directory, problem }
    }
}

/// The part of a package error that is about this host; what to do is told once, as advice.
fn unavailable(error: &PackageError) -> String {
    match error {
        PackageError::NotAvailable { reason, .. } => format!("not in the cache, and {reason}"),
        error => error.to_string(),
    }
}

fn kvm_advice(kvm: &OpenedKvm) -> Vec<String> {
    let mut advice = Vec::new();
    if kvm.tiny_guest.is_err() {
        let text = "for guests at full speed: a machine whose KVM has hardware virtualisation (bare metal, or nested)";
        advice.push(text.to_owned());
    }
    let (optional, needed): (Vec<_>, Vec<_>) = kvm
        .caps
        .entries()
        .iter()
        .filter(|capability| !capability.present())
        .partition(|capability| capability.need == Need::Optional);
    let missing: Vec<&Capability> = needed.into_iter().chain(optional).collect();
    let mut providers: Vec<&str> = Vec::new();
    for capability in &missing {
        if !providers.contains(&capability.provided_by) {
            providers.push(capability.provided_by);
        }
    }
    for provider in providers {
        let brought = missing.iter().filter(|capability| capability.provided_by == provider);
        let names: Vec<_> = brought.map(|capability| capability.name).collect();
        advice.push(format!("for {}: {provider}", names.join(", ")));
    }
    advice
}
