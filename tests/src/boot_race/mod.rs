//! How long the program takes to boot a guest, beside QEMU with `vmbus-bridge`: the same kernel, the same initramfs, the same line of
//! the guest agent, one after the other in one run on one machine.
//!
//! Either monitor is watched in the same way, by a process that starts it and reads what it says; a time is from just before the monitor's
//! exec to the moment at which that process has read the line. `cargo bench -p tests --bench boot` runs it.

mod monitor;
mod verdict;
mod watched;

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::verdict::{Limits, Verdict};

/// What to run. Passed on to the machine that it runs on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The program.
    pub vmbus_emu: PathBuf,
    /// QEMU, the system emulator.
    pub qemu: PathBuf,
    /// Its `-machine`.
    pub qemu_machine: String,
    /// Directories of its firmware.
    pub firmware: Vec<PathBuf>,
    /// The guest's kernel, for both.
    pub kernel: PathBuf,
    /// The guest's initramfs, for both.
    pub initrd: PathBuf,
    /// How often each of them boots, in the order A B B A.
    pub rounds: u32,
    /// Virtual processors, for both.
    pub vcpus: u32,
    /// Guest memory in MiB, for both.
    pub memory_mib: u32,
    /// Numbers of virtual processors with which the program boots once more each, for its memory.
    pub memory_vcpus: Vec<u32>,
}

/// Who booted the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// The program.
    VmbusEmu,
    /// QEMU with `vmbus-bridge`.
    Qemu,
}

/// One boot. Times are in milliseconds from just before the monitor's exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// Which round, from 1; none for a boot that is about memory alone.
    pub round: Option<u32>,
    /// Who booted it.
    pub monitor: Monitor,
    /// Virtual processors.
    pub vcpus: u32,
    /// The agent's line `hello`: the kernel has started init.
    pub hello_ms: f64,
    /// The agent's line `modules`: hv_vmbus and the video driver are loaded.
    pub modules_ms: f64,
    /// The first DIRT was carried out, an upper bound that is a few milliseconds off at most; none for QEMU, which has no such device.
    pub first_dirt_ms: Option<f64>,
    /// `host.vmm_memory_kib` of the program's report; none for QEMU.
    pub vmm_memory_kib: Option<u64>,
}

/// Boots everything that `plan` says on the KVM of this machine, and tells each boot as soon as it is over.
///
/// # Errors
/// A monitor that cannot be started, or a guest that does not come so far.
pub fn carry_out(plan: &Plan, tell: &mut dyn FnMut(&Boot)) -> Result<()> {
    for round in 1..=plan.rounds {
        let (first, second) = match round % 2 {
            1 => (Monitor::VmbusEmu, Monitor::Qemu),
            _ => (Monitor::Qemu, Monitor::VmbusEmu),
        };
        for monitor in [first, second] {
            tell(&Boot { round: Some(round), ..monitor::boot(plan, monitor, plan.vcpus)? });
        }
    }
    for &vcpus in &plan.memory_vcpus {
        tell(&monitor::boot(plan, Monitor::VmbusEmu, vcpus)?);
    }
    Ok(())
}
