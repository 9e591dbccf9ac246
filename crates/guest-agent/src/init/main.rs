//! `guest-agent`: init of a guest under test, and of the KVM lab.
//!
//! It refuses to run unless it is PID 1: it powers the machine off when it is done, and as root on a developer's machine that
//! would be the wrong machine.

use std::{fs, process::ExitCode};

use rustix::system::{RebootCommand, reboot};

mod boot;
mod console;
mod drawn;
mod firmware;
mod framebuffer;
mod guest;
mod input;
mod kms;
mod lab;
mod lifecycle;
mod line_port;
mod modules;
mod port;
mod workload;

/// Where the host put what this init needs to know.
const CONFIGURATION: &str = "/etc/vmbus-emu";

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    PowerOff,
    Reboot,
    Kexec,
}

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "guest-agent: this is the init of a guest under test; it powers the machine off when it ends, so it runs only as PID 1, not as PID {}",
            std::process::id()
        );
        return ExitCode::from(2);
    }
    boot::mount_kernel_filesystems();
    let role = fs::read_to_string(format!("{CONFIGURATION}/role")).unwrap_or_default();
    let end = match role.trim() {
        "lab" => lab::run(),
        _ => guest::run(),
    };
    rustix::fs::sync();
    let command = match end {
        End::PowerOff => RebootCommand::PowerOff,
        End::Reboot => RebootCommand::Restart,
        End::Kexec => RebootCommand::Kexec,
    };
    if let Err(error) = reboot(command) {
        eprintln!("guest-agent: the kernel refused to end: {error}");
    }
    // PID 1 must not return: the kernel would panic, which is the right end only if the one above failed.
    ExitCode::FAILURE
}
