//! The guests beside the first one: another driver, compressed modules, newer kernels. Each is booted once and plays the demo.
//!
//! Two of them are in every run of the tests; the others are when `VMBUS_EMU_ALL_GUESTS=1` says so, for a boot of each takes as long
//! as all other tests of a kind.

use anyhow::Result;
use guest_kit::guest_agent::pattern::{Pattern, Picture};
use guest_kit::{cache, console_check, packages};
use tests::bare_metal::requirement::skip;
use tests::guest_run::{GuestRun, demo_console, place};

/// Says that guests are wanted which the tests otherwise leave out.
const ALL_GUESTS: &str = "VMBUS_EMU_ALL_GUESTS";
/// Seeds of the pictures drawn through the frame buffer, after a mode set through KMS, and tile by tile.
const SEED: u64 = 0x0057_6569_2048_7531;
const MODE_SET_SEED: u64 = 0x6d6f_6465;
const TILES_SEED: u64 = 0x7469_6c65;
/// Lines that the demo prints before its picture of the console is taken.
const LINES: u32 = 200;

/// What every driver's run checks.
const CHECKS: [&str; 9] = [
    "driver",
    "pattern",
    "console",
    "console_last_line",
    "silent_when_unwanted",
    "dirt_when_wanted_again",
    "dirt_came",
    "clean_end",
    "no_signal_exits",
];
/// What comes on top for a driver with KMS.
const KMS_CHECKS: [&str; 3] = ["kms_mode_set", "kms_pattern", "kms_damage"];

/// The guests that are in every run, and those on request where they were asked for.
fn wanted<'a>(always: &[&'a str], on_request: &[&'a str]) -> Vec<&'a str> {
    let all = std::env::var_os(ALL_GUESTS).is_some_and(|value| value == "1");
    let mut wanted = always.to_vec();
    if all {
        wanted.extend(on_request);
    } else {
        println!("{} on request only: {ALL_GUESTS}=1", on_request.join(", "));
    }
    wanted
}

/// Plays the demo with a guest; none, with the reason printed, where that cannot be.
fn play(guest: &str) -> Result<Option<GuestRun>> {
    if place().is_none() {
        return Ok(None);
    }
    let kernel = match packages::fetch(guest, &cache::directory(), &mut |_| ()) {
        Ok(kernel) => kernel,
        Err(error) => {
            skip("kernels", &error.to_string());
            return Ok(None);
        }
    };
    let run = GuestRun::with(&["--guest", guest, "--device", "hyperv-synthvid"])?;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert!(run.checks().iter().all(|(_, passed)| *passed), "{:?}", run.checks());
    assert_eq!(run.text("/guest/kernel"), kernel.release);
    assert_eq!(run.text("/guest/sha256"), kernel.sha256);
    assert_eq!(run.text("/guest/driver"), kernel.video_driver);
    assert_eq!(run.text("/device/mode"), "1024x768");
    assert_eq!((run.count("/exits/signal_user"), run.count("/traffic/rejected_rects")), (0, 0));
    let faults = run.value("/traffic/faults").as_object().expect("the report has faults");
    assert!(faults.values().all(|count| count == 0), "{faults:?}");
    assert_checked(&run, &CHECKS);
    assert_pattern(&run, "graphics.png", (1024, 768), SEED)?;
    assert_console(&run)?;
    Ok(Some(run))
}

fn assert_checked(run: &GuestRun, names: &[&str]) {
    for name in names {
        assert!(run.checks().contains(&(name, true)), "{name} is not among {:?}", run.checks());
    }
}

/// The file is a pattern to the pixel.
fn assert_pattern(run: &GuestRun, name: &str, size: (u32, u32), seed: u64) -> Result<()> {
    let png = run.picture(name)?;
    assert_eq!((png.width, png.height), size, "{}", run.file(name).display());
    let expected = Picture::new(Pattern::Coordinates, png.width, png.height, seed);
    let compared = expected.compare(|x, y| png.pixel(x, y).unwrap_or(u32::MAX));
    assert!(compared.is_exact(), "{}: {compared}", run.file(name).display());
    Ok(())
}

/// The text console came back after whatever else was on the screen.
fn assert_console(run: &GuestRun) -> Result<()> {
    let png = run.picture("console.png")?;
    let text = demo_console(png.width, png.height, LINES);
    let pixel = |x, y| png.pixel(x, y).unwrap_or(u32::MAX);
    if let Err(mismatch) = console_check::check(&text, png.width, png.height, pixel) {
        panic!("{}: {mismatch}", run.file("console.png").display());
    }
    Ok(())
}

/// Both pictures drawn through KMS are right, and the mode set's came by implied repaints: nothing else brings its pixels.
fn assert_kms(run: &GuestRun) -> Result<()> {
    assert_checked(run, &KMS_CHECKS);
    assert_pattern(run, "kms-mode.png", (800, 600), MODE_SET_SEED)?;
    assert_pattern(run, "kms.png", (1024, 768), TILES_SEED)?;
    assert!(run.count("/traffic/implied_changed_px") > 0);
    assert!(run.count("/device/situation_changes") >= 3, "to 800x600 and back");
    Ok(())
}

fn limits(run: &GuestRun) -> String {
    run.value("/limits").to_string()
}

#[test]
fn hyperv_drm_draws_through_fbdev_emulation_and_kms_and_is_held_to_the_rate_that_it_promises() -> Result<()> {
    for guest in wanted(&["debian/6.1"], &["debian/6.12", "debian/7.x"]) {
        let Some(run) = play(guest)? else { return Ok(()) };
        assert_kms(&run)?;
        if guest == "debian/7.x" {
            assert_checked(&run, &["rate_cap"]);
        } else {
            assert!(run.checks().iter().all(|(name, _)| *name != "rate_cap"), "{:?}", run.checks());
            assert!(
                limits(&run).contains("rate: hyperv_drm of this kernel promises no limit"),
                "{}",
                limits(&run)
            );
        }
    }
    Ok(())
}

#[test]
fn cloud_6_12_with_compressed_modules_draws_and_keeps_its_rate() -> Result<()> {
    let Some(run) = play("debian/6.12-cloud")? else { return Ok(()) };
    assert_checked(&run, &["rate_cap"]);
    assert!(!run.file("kms.png").exists(), "hyperv_fb has no KMS");
    Ok(())
}
