//! The program as a shell sees it: statuses, and what stands on which stream.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn vmbus_emu(words: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_vmbus-emu"));
    program.args(words).env_remove("VMBUS_EMU_LOG").output().unwrap()
}

/// Runs a command line that must be refused with status 2, and returns what it says.
fn refused(words: &[&str]) -> String {
    let output = vmbus_emu(words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert!(output.stdout.is_empty(), "{words:?} wrote to standard output");
    assert_eq!(said.matches("error: ").count(), 1, "{words:?} must say one thing: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn unknown_key_is_pointed_at() {
    let said = refused(&["run", "--guest", "debian/6.1-cloud", "--device", "hyperv-synthvid,vrma=4M"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "error: --device: unknown key \"vrma\"");
    assert_eq!(lines[1].find("vrma"), lines[2].find("^^^^"), "{said}");
    assert!(said.contains("known keys: vram, modes") && said.contains("did you mean vram?"), "{said}");
}

#[test]
fn unknown_device_and_value_list_the_known() {
    let said = refused(&["sim", "--device", "hyperv-sintvid"]);
    assert!(said.contains("known devices: hyperv-synthvid"), "{said}");
    let said = refused(&["sim", "--device", "hyperv-synthvid,version=3.6"]);
    assert!(said.contains("known values: 3.0, 3.2, 3.3, 3.4, 3.5"), "{said}");
}

#[test]
fn vram_too_small_for_the_mode_says_what_would_do() {
    let said = refused(&["sim", "--device", "hyperv-synthvid,vram=4M,mode=1920x1080"]);
    assert!(said.contains("needs 8294400 bytes") && said.contains("vram=8M would do"), "{said}");
}

#[test]
fn missing_kernel_is_named() {
    let said = refused(&["run", "--kernel", "/no/such/bzImage"]);
    assert_eq!(said, "error: --kernel: there is no file /no/such/bzImage\n");
}

#[test]
fn unwritable_report_is_found_before_the_work_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("no/report.json");
    let out = dir.path().join("out");
    let said = refused(&["sim", "--report", report.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(said.contains("there is no directory"), "{said}");
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn wrong_device_leaves_no_output_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    refused(&["sim", "--out", out.to_str().unwrap(), "--device", "hyperv-synthvid,dirt=maybe"]);
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn device_help_is_on_standard_output_and_is_no_error() {
    let output = vmbus_emu(&["run", "--device", "help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("hyperv-synthvid: ") && table.contains("vram=SIZE"), "{table}");
}

#[test]
fn no_command_is_a_usage_error_and_help_is_not() {
    assert_eq!(vmbus_emu(&[]).status.code(), Some(2));
    assert_eq!(vmbus_emu(&["--help"]).status.code(), Some(0));
    assert_eq!(vmbus_emu(&["run", "--help"]).status.code(), Some(0));
    assert_eq!(vmbus_emu(&["--version"]).status.code(), Some(0));
}
