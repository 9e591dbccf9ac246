//! Wrong guest drivers, each caught by exactly the checks that its description names, and the same build without an edit by none.

use anyhow::Result;
use guest_kit::{cache, packages};
use tests::bare_metal::requirement::skip;
use tests::drivers::{self, Driver};
use tests::guest_run::{GUEST, GuestRun, kernel, place};

/// Runs the demo with the driver that `tests/drivers/NAME.toml` describes, and compares the failed checks with those it names.
fn assert_caught(name: &str) -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let driver = Driver::named(name)?;
    let module = match drivers::build(&driver, &kernel()?, &cache::directory()) {
        Ok(module) => module,
        Err(error) => {
            skip("drivers", &format!("{error:#}"));
            return Ok(());
        }
    };
    let missed_in = |run: &GuestRun| -> Vec<String> {
        let failed = |name: &str| run.checks().contains(&(name, false));
        driver.fails.iter().filter(|name| !failed(name)).cloned().collect()
    };
    let play = || GuestRun::with(&["--guest", GUEST, "--driver", &module.to_string_lossy()]);
    let mut run = play()?;
    for _ in 1..driver.tries {
        if missed_in(&run).is_empty() {
            break;
        }
        run = play()?;
    }
    assert_eq!(run.text("/guest/driver"), "hyperv_fb", "{}", run.said);
    assert_eq!(run.text("/guest/driver_sha256"), packages::sha256(&module)?);

    let missed = missed_in(&run);
    assert!(missed.is_empty(), "{name}: {missed:?} did not fail: {:?}", run.checks());
    for (check, passed) in run.checks() {
        let expected = driver.fails.iter().chain(&driver.may_fail).any(|fails| fails == check);
        assert!(passed || expected, "{name}: {check} failed, too: {:?}", run.checks());
    }
    let status = if driver.fails.is_empty() { 0 } else { 1 };
    assert_eq!(run.status, Some(status), "{}", run.said);
    for check in &driver.fails {
        assert!(run.said.contains(check.as_str()), "{}", run.said);
    }
    Ok(())
}

#[test]
fn driver_built_without_an_edit_passes_every_check() -> Result<()> {
    assert_caught("unmodified")
}

#[test]
fn full_refresh_of_an_idle_screen_is_caught() -> Result<()> {
    assert_caught("full-refresh-20hz")
}

#[test]
fn last_row_that_is_not_declared_is_caught() -> Result<()> {
    assert_caught("last-row-missing")
}

#[test]
fn dirt_that_the_host_does_not_want_is_caught() -> Result<()> {
    assert_caught("dirt-when-unwanted")
}

#[test]
fn dirt_that_never_comes_again_is_caught() -> Result<()> {
    assert_caught("dirt-not-resumed")
}

#[test]
fn loss_of_one_dirt_in_ten_is_caught() -> Result<()> {
    assert_caught("drop-one-in-ten")
}

#[test]
fn pixels_that_are_never_copied_to_vram_are_caught() -> Result<()> {
    assert_caught("no-shadow-copy")
}

#[test]
fn refresh_at_three_times_the_promised_rate_is_caught() -> Result<()> {
    assert_caught("refresh-60hz")
}

#[test]
fn text_that_is_declared_one_pixel_too_narrow_is_caught() -> Result<()> {
    assert_caught("text-one-px-narrow")
}

/// A driver without a test here would be caught by nobody.
#[test]
fn every_wrong_driver_has_its_test() -> Result<()> {
    let own = include_str!("drivers_lab.rs");
    for name in drivers::names()? {
        assert!(own.contains(&format!("assert_caught(\"{name}\")")), "{name}");
    }
    Ok(())
}

#[test]
fn module_that_is_no_video_driver_is_refused_by_its_name() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let bus = kernel()?.modules.join("kernel/drivers/hv/hv_vmbus.ko");
    let run = GuestRun::with(&["--guest", GUEST, "--driver", &bus.to_string_lossy()])?;
    assert_eq!(run.status, Some(2), "{}", run.said);
    assert!(
        run.said.contains("is the module \"hv_vmbus\", expected hyperv_drm or hyperv_fb"),
        "{}",
        run.said
    );
    Ok(())
}
