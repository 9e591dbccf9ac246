//! A Generation 2 machine under Debian's own kernel: booted as if by EFI, no PCI, VRAM in the MMIO window.

use std::fs;

use anyhow::Result;
use guest_kit::console_check;
use guest_kit::guest_agent::pattern::{Pattern, Picture};
use tests::guest_run::{GUEST, GuestRun, demo_console, place};

/// The seed of the demo's pattern.
const SEED: u64 = 0x0057_6569_2048_7531;
/// Lines that the demo prints before its picture of the console is taken.
const LINES: u32 = 200;
const MIB: u64 = 1 << 20;

/// The demo passed with both pictures right, counted again here from the files.
fn assert_passed(run: &GuestRun) -> Result<()> {
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(run.count("/device/generation"), 2);
    assert_eq!((run.text("/guest/driver"), run.text("/device/mode")), ("hyperv_fb", "1024x768"));
    for name in ["pattern", "console", "clean_end", "no_signal_exits"] {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
    let graphics = run.picture("graphics.png")?;
    let expected = Picture::new(Pattern::Coordinates, graphics.width, graphics.height, SEED);
    let compared = expected.compare(|x, y| graphics.pixel(x, y).unwrap_or(u32::MAX));
    assert!(compared.is_exact(), "{}: {compared}", run.file("graphics.png").display());
    let console = run.picture("console.png")?;
    let text = demo_console(console.width, console.height, LINES);
    let pixel = |x, y| console.pixel(x, y).unwrap_or(u32::MAX);
    if let Err(mismatch) = console_check::check(&text, console.width, console.height, pixel) {
        panic!("{}: {mismatch}", run.file("console.png").display());
    }
    Ok(())
}

/// VRAM lies in the window below 4 GiB and is as long as was offered.
fn assert_vram_in_the_window(run: &GuestRun, bytes: u64) {
    assert_eq!(run.text("/device/vram/kind"), "mmio");
    assert_eq!((run.count("/device/vram/bytes"), run.count("/device/vram/refused")), (bytes, 0));
    let gpa = run.text("/device/vram/gpa").strip_prefix("0x");
    let gpa = gpa.and_then(|digits| u64::from_str_radix(digits, 16).ok()).expect("a VRAM address");
    assert!((0xf800_0000..0xfc00_0000 - bytes + 1).contains(&gpa), "VRAM at {gpa:#x}");
}

/// The guest's own log says EFI, and knows neither a PCI bus nor a way to look for one.
fn assert_efi_without_pci(run: &GuestRun) -> Result<()> {
    let log = String::from_utf8_lossy(&fs::read(run.file("console.log"))?).into_owned();
    for line in ["efi: EFI v2.70 by vmbus-emu", "efi: ACPI 2.0=0xe0000", "PCI: System does not support PCI"] {
        assert!(log.contains(line), "\"{line}\" is not in the guest's log");
    }
    for word in ["PCI host bridge", "PCI Root Bridge", "pci_bus", "pci 0000:", "Using configuration type"] {
        assert!(!log.contains(word), "\"{word}\" is in the guest's log");
    }
    assert!(!log.contains("WARNING:") && !log.contains("efi: System table signature"), "{log}");
    Ok(())
}

#[test]
fn guest_takes_the_boot_for_efi_finds_no_pci_and_draws_through_the_window() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let run = GuestRun::with(&["--guest", GUEST, "--generation", "2"])?;
    assert_passed(&run)?;
    assert_vram_in_the_window(&run, 8 * MIB);
    assert_efi_without_pci(&run)
}

/// In Generation 1 this much would come out of the guest's RAM; see `guest_lab.rs`.
#[test]
fn vram_of_4_mib_lies_in_the_window_too() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let run =
        GuestRun::with(&["--guest", GUEST, "--generation", "2", "--device", "hyperv-synthvid,vram=4M"])?;
    assert_passed(&run)?;
    assert_vram_in_the_window(&run, 4 * MIB);
    assert_efi_without_pci(&run)
}

#[test]
fn guest_resets_without_pci_and_without_runtime_services() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    // `panic=-1` is on every command line: the kernel restarts the machine at once.
    let cmdline = "rdinit=/no/such/init root=/dev/none";
    let run = GuestRun::with(&["--guest", GUEST, "--generation", "2", "--cmdline", cmdline])?;
    assert_eq!(run.status, Some(1), "{}", run.said);
    let checks = run.value("/checks").to_string();
    assert!(checks.contains("guest reset (port 0xcf9)"), "{checks}");
    Ok(())
}

/// Where the firmware has its frame buffer.
const FIRMWARE_GPA: &str = "0xf8000000";

/// The firmware's frame buffer was taken by efifb, and drawn on before the driver came.
fn assert_efifb_drew(run: &GuestRun) -> Result<()> {
    for name in ["firmware_framebuffer_taken", "firmware_framebuffer_drawn"] {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
    let log = String::from_utf8_lossy(&fs::read(run.file("console.log"))?).into_owned();
    let line = format!("efifb: framebuffer at {FIRMWARE_GPA}");
    assert!(log.contains(&line), "\"{line}\" is not in the guest's log");
    assert_eq!(run.text("/device/firmware_framebuffer/mode"), "1024x768");
    assert_eq!(run.text("/device/firmware_framebuffer/gpa"), FIRMWARE_GPA);
    let drawn = run.count("/device/firmware_framebuffer/drawn_px");
    assert!((1..=1024 * 768).contains(&drawn), "{drawn} pixels");
    Ok(())
}

/// In place or elsewhere: a hyperv_fb that asks for MMIO space while efifb still has the firmware's is given another.
#[test]
fn hyperv_fb_takes_over_from_efifb() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let run = GuestRun::with(&["--guest", GUEST, "--generation", "2", "--firmware-framebuffer"])?;
    assert_passed(&run)?;
    assert_vram_in_the_window(&run, 8 * MIB);
    assert_efi_without_pci(&run)?;
    assert_efifb_drew(&run)?;
    assert_eq!(run.text("/device/firmware_framebuffer/declared_gpa"), run.text("/device/vram/gpa"));
    Ok(())
}

#[test]
fn firmware_framebuffer_is_there_again_after_a_reset() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let words = ["--guest", GUEST, "--generation", "2", "--firmware-framebuffer", "--scenario", "reboot"];
    let run = GuestRun::with(&words)?;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_efifb_drew(&run)?;
    for name in [
        "firmware_framebuffer_taken_after_reset",
        "firmware_framebuffer_drawn_after_reset",
        "pattern_after_reset",
        "console_after_reset",
        "no_leak",
    ] {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
    Ok(())
}

/// `video=efifb:off` makes a guest without a driver for it.
#[test]
fn guest_without_a_driver_for_the_firmware_framebuffer_is_told_with_proof() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let off = "video=efifb:off";
    let run = GuestRun::with(&[
        "--guest",
        GUEST,
        "--generation",
        "2",
        "--firmware-framebuffer",
        "--scenario",
        "boot",
        "--cmdline",
        off,
    ])?;
    assert_eq!(run.status, Some(0), "{}", run.said);
    let limits = run.value("/limits").to_string();
    assert!(limits.contains("efi-framebuffer.0") && limits.contains("no driver was bound"), "{limits}");
    assert!(
        !run.checks().iter().any(|(name, _)| name.starts_with("firmware_framebuffer")),
        "{:?}",
        run.checks()
    );
    assert_eq!(run.text("/device/firmware_framebuffer/gpa"), FIRMWARE_GPA);
    Ok(())
}
