//! `vmbus-emu doctor` as a user runs it: status, last lines, and that they agree with what this host is.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use guest_kit::probe::{QEMU, find_program};
use hv_kvm::guest_probe::{self, GuestProbe};
use kvm_ioctls::Kvm;
use tests::bare_metal::requirement::skip;
use tests::program::vmbus_emu;

/// What one run printed, and its status.
struct Told {
    status: Option<i32>,
    text: String,
    stderr: String,
}

impl Told {
    fn by(command: &mut Command) -> Result<Self> {
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8(stderr)?;
        ensure!(!stderr.contains("panicked"), "{stderr}");
        Ok(Self { status: status.code(), text: String::from_utf8(stdout)?, stderr })
    }

    /// What follows `start` in the one line that begins with it.
    fn after(&self, start: &str) -> Result<&str> {
        let mut found = self.text.lines().filter_map(|line| line.strip_prefix(start));
        match (found.next(), found.next()) {
            (Some(rest), None) => Ok(rest),
            _ => bail!("not one line begins with {start:?} in\n{}{}", self.text, self.stderr),
        }
    }

    fn place(&self) -> Result<&str> {
        self.after("a guest would run: ")
    }

    fn synic(&self) -> Result<&str> {
        self.after("SynIC: ")
    }
}

fn doctor(words: &[&str]) -> Result<Told> {
    Told::by(doctor_command(words).env_remove("VMBUS_EMU_LOG"))
}

fn doctor_command(words: &[&str]) -> Command {
    let mut command = Command::new(vmbus_emu());
    command.arg("doctor").args(words);
    command
}

fn host_runs_guests() -> bool {
    Kvm::new().is_ok_and(|system| guest_probe::run(&system).is_ok_and(|probe| probe == GuestProbe::Runs))
}

#[test]
fn verdict_about_the_hosts_kvm_is_that_of_the_tiny_guest() -> Result<()> {
    let told = doctor(&["--kvm", "host"])?;
    if host_runs_guests() {
        ensure!(told.place()? == "on this host's KVM", "{}", told.text);
        ensure!(told.synic()?.starts_with("in "), "{}", told.text);
        ensure!(told.status == Some(0), "status {:?}\n{}", told.status, told.text);
    } else {
        ensure!(told.place()?.starts_with("not at all, because "), "{}", told.text);
        ensure!(told.synic()? == "none", "{}", told.text);
        ensure!(told.status == Some(4), "status {:?}\n{}", told.status, told.text);
    }
    ensure!(told.stderr.is_empty(), "all is told on standard output, but: {}", told.stderr);
    Ok(())
}

#[test]
fn status_without_a_choice_is_that_of_the_verdict() -> Result<()> {
    let told = doctor(&[])?;
    let expected = if told.place()?.starts_with("not at all") { 4 } else { 0 };
    ensure!(told.status == Some(expected), "status {:?}\n{}", told.status, told.text);
    for word in ["/dev/kvm", QEMU, "cache", "debian/6.1-cloud"] {
        let rows = told.text.lines().filter(|line| line.split_whitespace().nth(1) == Some(word)).count();
        ensure!(rows == 1, "{rows} rows for {word} in\n{}", told.text);
    }
    Ok(())
}

#[test]
fn capabilities_are_listed_where_there_is_a_kvm() -> Result<()> {
    if let Err(error) = Kvm::new() {
        skip("kvm", &error.to_string());
        return Ok(());
    }
    let told = doctor(&["--kvm=host"])?;
    let row = told.text.lines().find(|line| line.split_whitespace().nth(1) == Some("X86_MSR_FILTER"));
    let row = row.with_context(|| told.text.clone())?;
    ensure!(row.contains("user SynIC"), "{row}");
    Ok(())
}

#[test]
fn machine_without_tools_and_cache_is_told_what_to_install() -> Result<()> {
    let told = Told::by(
        doctor_command(&["--kvm=lab"])
            .env("PATH", "/nonexistent")
            .env("VMBUS_EMU_CACHE", "/proc/cannot/be/made")
            .env_remove("VMBUS_EMU_LOG"),
    )?;
    ensure!(told.status == Some(4), "status {:?}\n{}", told.status, told.text);
    ensure!(told.place()? == "not at all, because the KVM lab needs qemu-system-x86_64", "{}", told.text);
    ensure!(told.text.contains("apt-get install --no-install-recommends --yes qemu-system-x86 apt dpkg"));
    Ok(())
}

#[test]
fn lab_that_was_asked_for_is_booted_and_its_kvm_shown() -> Result<()> {
    if find_program(QEMU).is_none() {
        skip("lab", "no qemu-system-x86_64");
        return Ok(());
    }
    let told = doctor(&["--kvm", "lab"])?;
    if told.place()?.contains("the KVM lab has no kernel") {
        skip("lab", told.place()?);
        return Ok(());
    }
    ensure!(told.status == Some(0), "status {:?}\n{}{}", told.status, told.text, told.stderr);
    ensure!(told.place()? == "in the KVM lab", "{}", told.text);
    ensure!(told.synic()? == "in the kernel", "{}", told.text);
    ensure!(told.text.contains("KVM of the lab, Linux 6.1."), "{}", told.text);
    Ok(())
}

#[test]
fn reader_that_leaves_early_is_no_failure_and_a_full_disk_is() -> Result<()> {
    let mut child = doctor_command(&["--kvm=host"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    let status = if host_runs_guests() { 0 } else { 4 };
    ensure!(output.status.code() == Some(status), "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");

    let full = Path::new("/dev/full");
    let output = doctor_command(&["--kvm=host"])
        .stdout(std::fs::File::options().write(true).open(full)?)
        .stderr(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    ensure!(output.status.code() == Some(4), "{output:?}");
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.starts_with("error: cannot write to standard output: "), "{said}");
    Ok(())
}
