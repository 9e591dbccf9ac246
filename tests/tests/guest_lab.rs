//! Debian's own kernel under the program, as a user runs it: on this machine's KVM if that can, else in the KVM lab.

use std::fs;

use anyhow::Result;
use guest_kit::console_check;
use guest_kit::guest_agent::pattern::{Pattern, Picture};
use guest_kit::packages;
use tests::guest_run::{GUEST, GuestRun, demo_console, kernel, place};
use tests::snapshot;

/// The seed of the demo's pattern.
const SEED: u64 = 0x0057_6569_2048_7531;
/// Lines that the demo prints before its picture of the console is taken.
const LINES: u32 = 200;
const MIB: u64 = 1 << 20;

/// What every run of the demo checks, besides the pattern, which is left out where VRAM is in RAM.
const CHECKS: [&str; 10] = [
    "driver",
    "idle_silent",
    "console",
    "console_last_line",
    "silent_when_unwanted",
    "dirt_when_wanted_again",
    "rate_cap",
    "dirt_came",
    "clean_end",
    "no_signal_exits",
];

/// The run ended well, every check was made and passed, and its figures are those of a sound driver.
fn assert_passed(run: &GuestRun, place: &str) {
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(run.text("/schema"), "vmbus-emu.report/1");
    assert_eq!(run.text("/host/kvm"), place);
    for name in CHECKS {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
    assert!(run.checks().iter().all(|(_, passed)| *passed), "{:?}", run.checks());
    assert_eq!(run.text("/guest/driver"), "hyperv_fb");
    assert_eq!(run.text("/device/mode"), "1024x768");
    assert_eq!(run.text("/device/synthvid_version"), "3.5");
    assert_eq!(run.count("/exits/signal_user"), 0);
    assert!(run.count("/traffic/dirt_messages") > 0);
    assert!(run.count("/traffic/max_dirt_in_1s") <= 42);
    let faults = run.value("/traffic/faults").as_object().expect("the report has faults");
    assert!(faults.values().all(|count| count == 0), "{faults:?}");
    assert_eq!(run.count("/traffic/rejected_rects"), 0);
    assert!(run.value("/console/tail").as_array().is_some_and(|tail| !tail.is_empty()));
}

/// The file is the demo's pattern to the pixel.
fn assert_graphics(run: &GuestRun) -> Result<()> {
    for check in ["pattern", "small_damage"] {
        assert!(run.checks().contains(&(check, true)), "{:?}", run.checks());
    }
    let png = run.picture("graphics.png")?;
    assert_eq!((png.width, png.height), (1024, 768));
    let expected = Picture::new(Pattern::Coordinates, png.width, png.height, SEED);
    let compared = expected.compare(|x, y| png.pixel(x, y).unwrap_or(u32::MAX));
    assert!(compared.is_exact(), "{}: {compared}", run.file("graphics.png").display());
    Ok(())
}

/// The file shows the last lines of the demo, and nothing else, in one font and two colours, and is the picture that
/// was accepted.
fn assert_console(run: &GuestRun) -> Result<()> {
    let png = run.picture("console.png")?;
    assert_eq!((png.width, png.height), (1024, 768));
    let text = demo_console(png.width, png.height, LINES);
    let pixel = |x, y| png.pixel(x, y).unwrap_or(u32::MAX);
    match console_check::check(&text, png.width, png.height, pixel) {
        Ok(found) => assert!(found.glyphs > 60, "{found:?}"),
        Err(mismatch) => panic!("{}: {mismatch}", run.file("console.png").display()),
    }
    snapshot::assert_matches("debian-6.1-cloud-console", &run.file("console.png"));
    Ok(())
}

/// Guest physical address and size of VRAM.
fn vram(run: &GuestRun) -> (u64, u64) {
    let gpa = run.text("/device/vram/gpa");
    let gpa = gpa.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    (gpa.expect("the report has a VRAM address"), run.count("/device/vram/bytes"))
}

#[test]
fn stock_guest_draws_through_vram_in_the_mmio_window() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let run = GuestRun::with(&["--guest", GUEST, "--device", "hyperv-synthvid"])?;
    assert_passed(&run, place);
    assert_graphics(&run)?;
    assert_console(&run)?;
    assert_eq!(run.text("/device/vram/kind"), "mmio");
    let (gpa, bytes) = vram(&run);
    assert_eq!(bytes, 8 * MIB);
    assert!((0xf800_0000..0xfc00_0000 - bytes + 1).contains(&gpa), "VRAM at {gpa:#x}");
    let synic = run.text("/host/synic");
    assert!(synic == "kernel" || (place == "host" && synic == "user"), "{synic}");
    let kernel = kernel()?;
    assert_eq!(run.text("/guest/kernel"), kernel.release);
    assert_eq!((run.text("/guest/package"), run.text("/guest/sha256")), (&*kernel.package, &*kernel.sha256));
    // Doorbells are the kernel's work: each DIRT rings, none of it exits.
    assert!(run.count("/traffic/signals") >= run.count("/traffic/dirt_messages"));
    Ok(())
}

/// 1080 rows are no whole number of cells: what the console leaves over must not show what was there before.
///
/// The files have the guest's pointer in them, which the checks do not see. hyperv_fb's is one pixel in the corner, 0x000101 with an
/// alpha of 1 in 255, so that it hides the host's: it makes the blue of one bright pixel darker by one.
#[test]
fn full_hd_screen_is_right_to_its_last_row_below_the_pointer() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let run = GuestRun::with(&["--guest", GUEST, "--pointer", "--device", "hyperv-synthvid,mode=1920x1080"])?;
    assert_eq!((run.status, run.text("/host/kvm")), (Some(0), place), "{}", run.said);
    assert!(run.checks().iter().all(|(_, passed)| *passed), "{:?}", run.checks());
    assert_eq!(run.text("/device/mode"), "1920x1080");
    for (name, check) in [("graphics.png", "pattern"), ("console.png", "console")] {
        assert!(run.checks().contains(&(check, true)), "{:?}", run.checks());
        let png = run.picture(name)?;
        assert_eq!((png.width, png.height), (1920, 1080));
    }
    let png = run.picture("graphics.png")?;
    let expected = Picture::new(Pattern::Coordinates, png.width, png.height, SEED);
    let compared = expected.compare(|x, y| png.pixel(x, y).unwrap_or(u32::MAX));
    let wrong = compared.first.map(|wrong| (wrong.x, wrong.y, wrong.expected, wrong.found));
    assert_eq!((compared.wrong_px, wrong), (1, Some((0, 0, 0x0004_2fe1, 0x0004_2fe0))), "{compared}");
    Ok(())
}

#[test]
fn stock_guest_with_4_mib_takes_vram_from_its_ram_and_its_console_is_right() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let run = GuestRun::with(&["--guest", GUEST, "--device", "hyperv-synthvid,vram=4M", "--memory", "512M"])?;
    assert_passed(&run, place);
    assert_console(&run)?;
    assert_eq!(run.text("/device/vram/kind"), "ram");
    let (gpa, bytes) = vram(&run);
    assert_eq!(bytes, 4 * MIB);
    assert!(gpa >= MIB && gpa + bytes <= 512 * MIB, "VRAM at {gpa:#x}");
    // A mapping of this frame buffer would corrupt the guest's memory, so nobody draws there, and the report says why.
    assert!(!run.file("graphics.png").exists());
    let limits = run.value("/limits").to_string();
    assert!(limits.contains("graphics: with VRAM in RAM"), "{limits}");
    Ok(())
}

#[test]
fn user_space_synic_with_two_processors_shows_the_same_without_an_exit_for_a_signal() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let run = GuestRun::with(&["--guest", GUEST, "--synic", "user", "--cpus", "2"])?;
    assert_passed(&run, place);
    assert_graphics(&run)?;
    assert_console(&run)?;
    assert_eq!(run.text("/host/synic"), "user");
    assert_eq!(run.count("/host/vcpus"), 2);
    assert!(run.count("/exits/hypercall_user") > 0, "messages are posted by hypercall");
    Ok(())
}

#[test]
fn strict_host_copies_nothing_that_was_not_declared_and_the_pictures_are_right() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let run = GuestRun::with(&["--guest", GUEST, "--device", "hyperv-synthvid,repaint=strict"])?;
    assert_passed(&run, place);
    assert_graphics(&run)?;
    assert_console(&run)?;
    assert_eq!((run.count("/traffic/implied_px"), run.count("/traffic/implied_changed_px")), (0, 0));
    Ok(())
}

#[test]
fn kernel_and_module_tree_of_a_user_boot_like_a_named_guest() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let kernel = kernel()?;
    // As `make modules_install` leaves it: a tree of one's own, and an image elsewhere.
    let build = tempfile::tempdir()?;
    let image = build.path().join("bzImage");
    fs::copy(&kernel.image, &image)?;
    let (image, modules) = (image.to_string_lossy(), kernel.modules.to_string_lossy());
    let run = GuestRun::with(&["--kernel", &image, "--modules", &modules])?;
    assert_passed(&run, place);
    assert_graphics(&run)?;
    assert_console(&run)?;
    assert_eq!(run.text("/guest/kernel"), kernel.release);
    assert_eq!(run.text("/guest/sha256"), packages::sha256(&kernel.image)?);
    assert!(run.value("/guest/package").is_null());
    Ok(())
}

#[test]
fn guest_that_panics_fails_its_check_and_the_report_shows_its_last_words() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let run = GuestRun::with(&["--guest", GUEST, "--cmdline", "rdinit=/no/such/init root=/dev/none"])?;
    assert_eq!(run.status, Some(1), "{}", run.said);
    assert!(run.said.contains("error: ") && run.said.contains("checks failed"), "{}", run.said);
    assert!(run.checks().contains(&("clean_end", false)), "{:?}", run.checks());
    let tail = run.value("/console/tail").to_string();
    assert!(tail.contains("Kernel panic"), "{tail}");
    Ok(())
}
