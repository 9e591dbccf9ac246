//! The findings as text: a row for each thing that was looked at, with `ok`, `no`, or `-` for what nobody needs.

use std::fmt;

use guest_kit::packages::Whereabouts;
use guest_kit::probe::{QEMU, Tool};
use hv_kvm::SynicMode;
use hv_kvm::caps::{HostCaps, Need};

use super::findings::{Findings, Guest, Kit, Verdict};
use crate::host::{Obstacle, OpenedKvm};

/// The row of the lab whose clock goes by instructions.
const LAB_CLOCK: &str = "lab clock by instructions";

/// How a row begins.
#[derive(Clone, Copy)]
enum Mark {
    Ok,
    No,
    /// Missing, and nobody needs it.
    Unneeded,
}

impl Mark {
    fn of(present: bool) -> Self {
        if present { Self::Ok } else { Self::No }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::No => "no",
            Self::Unneeded => "-",
        })
    }
}

/// A row of any section but the capabilities'.
fn row(f: &mut fmt::Formatter<'_>, mark: Mark, name: &str, detail: &str) -> fmt::Result {
    writeln!(f, "  {mark:<3} {name:<26} {detail}")
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.in_lab {
            writeln!(f, "vmbus-emu {} on Linux {}\n", env!("CARGO_PKG_VERSION"), self.release)?;
        }
        if let Some(kvm) = &self.kvm {
            let whose = if self.in_lab { "the lab" } else { "this host" };
            writeln!(f, "KVM of {whose}, Linux {}", self.release)?;
            kvm_section(f, kvm.as_ref())?;
        }
        if let Some(kit) = &self.kit {
            kit_section(f, kit, &self.lab())?;
        }
        let advice = self.advice();
        if !advice.is_empty() {
            writeln!(f, "To get more")?;
            for line in advice {
                writeln!(f, "  {line}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn kvm_section(f: &mut fmt::Formatter<'_>, kvm: Result<&OpenedKvm, &Obstacle>) -> fmt::Result {
    match kvm {
        Err(obstacle) => row(f, Mark::No, "/dev/kvm", &obstacle.reason)?,
        Ok(kvm) => {
            let version = kvm.caps.api_version();
            row(f, Mark::Ok, "/dev/kvm", &format!("opens, API version {version}"))?;
            match &kvm.tiny_guest {
                Ok(()) => row(f, Mark::Ok, "tiny guest", "ran, so Linux can")?,
                Err(reason) => row(f, Mark::No, "tiny guest", &format!("did not run: {reason}"))?,
            }
            for mode in [SynicMode::Kernel, SynicMode::User] {
                synic_row(f, &kvm.caps, mode)?;
            }
            capabilities(f, &kvm.caps)?;
        }
    }
    writeln!(f)
}

fn synic_row(f: &mut fmt::Formatter<'_>, caps: &HostCaps, mode: SynicMode) -> fmt::Result {
    let name = match mode {
        SynicMode::Kernel => "SynIC in the kernel",
        SynicMode::User => "SynIC in user space",
    };
    let missing: Vec<_> = caps.missing_for(mode).iter().map(|capability| capability.name).collect();
    if missing.is_empty() {
        return row(f, Mark::Ok, name, "has what it needs");
    }
    row(f, Mark::No, name, &format!("lacks {}", missing.join(", ")))
}

fn capabilities(f: &mut fmt::Formatter<'_>, caps: &HostCaps) -> fmt::Result {
    writeln!(f, "      {:<26} {:>7}  {:<12}  purpose", "capability", "value", "needed by")?;
    for capability in caps.entries() {
        let mark = match capability.need {
            Need::Optional if !capability.present() => Mark::Unneeded,
            _ => Mark::of(capability.present()),
        };
        let (name, value, need) = (capability.name, capability.value, capability.need);
        writeln!(f, "  {mark:<3} {name:<26} {value:>7}  {need:<12}  {}", capability.purpose)?;
    }
    Ok(())
}

fn kit_section(f: &mut fmt::Formatter<'_>, kit: &Kit, lab: &Result<(), String>) -> fmt::Result {
    writeln!(f, "Guest kernels and the KVM lab")?;
    match lab {
        Ok(()) => row(f, Mark::Ok, "KVM lab", "can be booted")?,
        Err(reason) => row(f, Mark::No, "KVM lab", reason)?,
    }
    for tool in &kit.readiness.tools {
        tool_row(f, tool, kit.readiness.qemu_version.as_deref())?;
    }
    match &kit.built_qemu {
        Some(path) => row(f, Mark::Ok, LAB_CLOCK, &path.display().to_string())?,
        None => row(f, Mark::Unneeded, LAB_CLOCK, "its QEMU is not built; cargo xtask lab-qemu builds it")?,
    }
    match &kit.cache.problem {
        None => row(f, Mark::Ok, "cache", &kit.cache.directory.display().to_string())?,
        Some(problem) => {
            row(f, Mark::No, "cache", &format!("{}: {problem}", kit.cache.directory.display()))?;
        }
    }
    let no_download = kit.no_download();
    for guest in &kit.guests {
        guest_row(f, guest, no_download.as_deref())?;
    }
    writeln!(f)
}

fn tool_row(f: &mut fmt::Formatter<'_>, tool: &Tool, qemu_version: Option<&str>) -> fmt::Result {
    let Some(path) = &tool.path else {
        let detail = format!("not in PATH; for {}; in package {}", tool.purpose, tool.package);
        return row(f, Mark::No, tool.name, &detail);
    };
    let path = path.display();
    match qemu_version {
        _ if tool.name != QEMU => row(f, Mark::Ok, tool.name, &path.to_string()),
        Some(version) => row(f, Mark::Ok, QEMU, &format!("{path}, {version}")),
        None => row(f, Mark::No, QEMU, &format!("{path}, but it does not tell its version")),
    }
}

fn guest_row(f: &mut fmt::Formatter<'_>, guest: &Guest, no_download: Option<&str>) -> fmt::Result {
    let (mark, detail) = match (&guest.kernel, no_download) {
        (Ok(Whereabouts::Cached(kernel)), _) => {
            (Mark::Ok, format!("{} {}, in the cache", kernel.package, kernel.version))
        }
        (Ok(Whereabouts::Archive { package, version, bytes }), None) => {
            (Mark::Ok, format!("{package} {version}, to be downloaded, {} MiB", bytes.div_ceil(1 << 20)))
        }
        (Ok(Whereabouts::Archive { package, version, .. }), Some(reason)) => {
            (Mark::No, format!("{package} {version}, in the archive, but {reason}"))
        }
        (Err(reason), _) => (Mark::No, reason.clone()),
    };
    row(f, mark, guest.name, &detail)
}

/// The last two lines.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { in_lab: false, .. } => writeln!(f, "a guest would run: on this host's KVM")?,
            Self::Here { in_lab: true, .. } | Self::Lab { because: None } => {
                writeln!(f, "a guest would run: in the KVM lab")?;
            }
            Self::Lab { because: Some(reason) } => {
                writeln!(f, "a guest would run: in the KVM lab, because {reason}")?;
            }
            Self::Nowhere { reason } => writeln!(f, "a guest would run: not at all, because {reason}")?,
        }
        match self {
            Self::Here { synic: SynicMode::Kernel, .. } => writeln!(f, "SynIC: in the kernel"),
            Self::Here { synic: SynicMode::User, .. } => writeln!(f, "SynIC: in user space"),
            Self::Lab { .. } => {
                writeln!(
                    f,
                    "SynIC: in the kernel, the lab's; `vmbus-emu doctor --kvm lab` boots it and looks"
                )
            }
            Self::Nowhere { .. } => writeln!(f, "SynIC: none"),
        }
    }
}
