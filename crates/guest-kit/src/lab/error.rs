//! Why a job did not come to its end.

use std::{io, path::PathBuf};

use crate::{initramfs::InitramfsError, modules::ModuleError, packages::PackageError};

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// There is no QEMU.
    #[error(
        "the KVM lab needs qemu-system-x86_64; run: apt-get install --no-install-recommends qemu-system-x86"
    )]
    NoQemu,
    /// There is none for a clock by instructions.
    #[error(
        "a clock by instructions takes a QEMU of its own, and there is no {path}; run: cargo xtask lab-qemu",
        path = path.display()
    )]
    NoBuiltQemu {
        /// Where it would be.
        path: PathBuf,
    },
    /// There is no kernel for it.
    #[error(transparent)]
    Kernel(#[from] PackageError),
    /// Its kernel lacks a module.
    #[error("the KVM lab's kernel: {0}")]
    Modules(#[from] ModuleError),
    /// Its initramfs could not be made.
    #[error("the KVM lab: {0}")]
    Initramfs(#[from] InitramfsError),
    /// The job asks for something that cannot be.
    #[error("the KVM lab cannot take {path} along: {reason}", path = path.display())]
    Path {
        /// What was asked for.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// QEMU or a temporary file failed.
    #[error("the KVM lab: cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// QEMU ended by itself before the program did.
    #[error("the KVM lab ended early: {reason}{}", lines(console_tail))]
    EndedEarly {
        /// What QEMU or the lab's init said.
        reason: String,
        /// The end of the lab kernel's console.
        console_tail: Vec<String>,
    },
    /// Every attempt hung.
    #[error("the KVM lab hung {} times: {}{}", hangs.len(), hangs.join("; "), lines(console_tail))]
    Hung {
        /// What was seen in each.
        hangs: Vec<String>,
        /// The end of the lab kernel's console in the last one.
        console_tail: Vec<String>,
    },
    /// The caller asked to stop, and the program did not end by itself.
    #[error("stopped")]
    Stopped,
}

fn lines(console_tail: &[String]) -> String {
    if console_tail.is_empty() {
        return String::new();
    }
    format!("; its console ends with:\n  {}", console_tail.join("\n  "))
}
