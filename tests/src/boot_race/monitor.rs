//! The two monitors' command lines, and what is waited for.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::watched::{Stream, Watched};
use super::{Boot, Monitor, Plan};

/// How long one boot may take, with its end.
const LIMIT: Duration = Duration::from_secs(240);

/// The kernel command line that the program gives its guests.
const CMDLINE: &str = "console=ttyS0,115200 panic=-1 consoleblank=0";

/// The host's processor with what Linux needs to take QEMU for Hyper-V and to use VMBus, and what it uses on the program's machine beside
/// it, so that neither guest is slower for want of a feature. KVM's own signature would win against Hyper-V's.
const QEMU_CPU: &str = "host,kvm=off,hv-relaxed,hv-vapic,hv-vpindex,hv-runtime,hv-time,hv-frequencies,hv-synic,hv-stimer,\
                        hv-stimer-direct,hv-tlbflush,hv-ipi";

/// Boots the guest once.
pub(super) fn boot(plan: &Plan, monitor: Monitor, vcpus: u32) -> Result<Boot> {
    match monitor {
        Monitor::VmbusEmu => vmbus_emu(plan, vcpus),
        Monitor::Qemu => qemu(plan, vcpus),
    }
    .with_context(|| format!("{monitor:?} with {vcpus} virtual processors"))
}

/// The agent's lines are inside the program; it tells of each when it has read it.
fn vmbus_emu(plan: &Plan, vcpus: u32) -> Result<Boot> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.json");
    let mut command = Command::new(&plan.vmbus_emu);
    command
        .args(["run", "--kvm", "host", "--scenario", "boot", "--progress", "relay"])
        .arg("--kernel")
        .arg(&plan.kernel)
        .arg("--initrd")
        .arg(&plan.initrd)
        .args(["--cpus", &vcpus.to_string(), "--memory", &format!("{}M", plan.memory_mib)])
        .arg("--console")
        .arg(directory.path().join("console.log"))
        .arg("--report")
        .arg(&report)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut watched = Watched::start(&mut command, Stream::Stderr, LIMIT)?;
    // Said when the guest runs already, so what is counted from the guest's start is a little later by this than it was.
    let guest_start_ms =
        watched.wait_for("start of the guest", |line| line == "@progress begin guest boot")?;
    let hello_ms = watched.wait_for("hello", |line| line.starts_with("@progress done Linux "))?;
    let modules_ms = watched.wait_for("modules", |line| {
        line.starts_with("@progress note ") && line.ends_with(" modules loaded")
    })?;
    watched.succeed().with_context(|| guests_side(directory.path()))?;
    let report: Value = serde_json::from_slice(&fs::read(&report)?)?;
    let first_dirt_ms = report.pointer("/traffic/first_dirt_ms").and_then(Value::as_f64);
    let first_dirt_ms = first_dirt_ms.context("the report tells of no DIRT")?;
    let vmm_memory_kib = report.pointer("/host/vmm_memory_kib").and_then(Value::as_u64);
    Ok(Boot {
        round: None,
        monitor: Monitor::VmbusEmu,
        vcpus,
        hello_ms,
        modules_ms,
        first_dirt_ms: Some(guest_start_ms + first_dirt_ms),
        vmm_memory_kib: Some(vmm_memory_kib.context("the report tells of no memory")?),
    })
}

/// What a boot left that was no success: the guest's console and the report.
fn guests_side(directory: &Path) -> String {
    let read = |file: &str| fs::read(directory.join(file)).unwrap_or_default();
    let (console, report) = (read("console.log"), read("report.json"));
    format!(
        "the guest's console and the report:\n{}\n{}",
        String::from_utf8_lossy(&console),
        String::from_utf8_lossy(&report)
    )
}

/// The agent's serial port is QEMU's standard output. It has said enough with `modules`: without a video device it would wait for one.
fn qemu(plan: &Plan, vcpus: u32) -> Result<Boot> {
    let directory = tempfile::tempdir()?;
    let console = directory.path().join("console.log");
    let complaints = directory.path().join("qemu.log");
    let mut command = Command::new(&plan.qemu);
    for firmware in &plan.firmware {
        command.arg("-L").arg(firmware);
    }
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot"])
        .args(["-machine", &plan.qemu_machine, "-accel", "kvm", "-cpu", QEMU_CPU])
        .args(["-smp", &vcpus.to_string(), "-m", &plan.memory_mib.to_string()])
        .args(["-device", "vmbus-bridge"])
        .arg("-kernel")
        .arg(&plan.kernel)
        .arg("-initrd")
        .arg(&plan.initrd)
        .args(["-append", CMDLINE])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-chardev", "stdio,id=agent,signal=off", "-serial", "chardev:agent"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&complaints)?);
    let mut watched = Watched::start(&mut command, Stream::Stdout, LIMIT)?;
    let mut lines = || -> Result<(f64, f64)> {
        let hello_ms = watched.wait_for("hello", |line| is_event(line, "hello"))?;
        Ok((hello_ms, watched.wait_for("modules", |line| is_event(line, "modules"))?))
    };
    let (hello_ms, modules_ms) = lines().with_context(|| {
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        format!("QEMU said:\n{}its guest said:\n{}", text(&complaints), text(&console))
    })?;
    let log = fs::read(&console)?;
    let log = String::from_utf8_lossy(&log);
    for expected in ["Hypervisor detected: Microsoft Hyper-V", "Vmbus version:"] {
        anyhow::ensure!(log.contains(expected), "its guest does not say \"{expected}\":\n{log}");
    }
    Ok(Boot {
        round: None,
        monitor: Monitor::Qemu,
        vcpus,
        hello_ms,
        modules_ms,
        first_dirt_ms: None,
        vmm_memory_kib: None,
    })
}

fn is_event(line: &str, name: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|event| event.get("event") == Some(&Value::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_of_the_agent_is_told_from_other_lines() {
        assert!(is_event(r#"{"event":"hello","release":"6.1","cmdline":"","boot_ms":1}"#, "hello"));
        for line in [r#"{"event":"modules"}"#, "hello", r#"{"event":"#, r#"["event","hello"]"#] {
            assert!(!is_event(line, "hello"), "{line}");
        }
    }
}
