//! A real driver that is unbound, loses its device, sleeps, crashes, or whose kernel hands over to another one.

use anyhow::Result;
use guest_kit::console_check;
use tests::guest_run::{GUEST, GuestRun, place};

/// Rounds of a rebind in every run; fifty on request, as a user's run has.
const ROUNDS: &str = "5";

/// Says that runs are wanted which the tests otherwise leave out.
const ALL_GUESTS: &str = "VMBUS_EMU_ALL_GUESTS";

fn everything_is_wanted() -> bool {
    std::env::var_os(ALL_GUESTS).is_some_and(|value| value == "1")
}

/// Plays `scenario`, and asserts that every check passed and that each of `checks` was made. `None` where no guest can run.
fn play(scenario: &str, words: &[&str], checks: &[&str]) -> Result<Option<GuestRun>> {
    if place().is_none() {
        return Ok(None);
    }
    let run = GuestRun::with(&[&["--guest", GUEST, "--scenario", scenario], words].concat())?;
    for name in checks {
        assert!(run.checks().contains(&(name, true)), "{name}: {:?}\n{}", run.checks(), run.said);
    }
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert!(run.checks().contains(&("no_signal_exits", true)), "{:?}", run.checks());
    Ok(Some(run))
}

#[test]
fn driver_that_is_unbound_and_bound_while_it_draws_leaves_nothing_behind() -> Result<()> {
    let rounds = if everything_is_wanted() { "50" } else { ROUNDS };
    let checks = [
        "rebind",
        "silent_when_unbound",
        "same_vram",
        "pattern_after_rebind",
        "console_after_rebind",
        "no_leak",
        "no_faults",
        "guest_log_clean",
        "clean_end",
    ];
    let Some(run) = play("rebind", &["--repeat", rounds], &checks)? else { return Ok(()) };
    let rounds: u64 = rounds.parse()?;
    assert!(run.count("/life/channel_opens") > rounds);
    assert_eq!(run.count("/life/channel_closes"), rounds, "the last driver powers off with its channel open");
    assert_eq!(run.count("/life/contacts"), 1);
    assert_eq!(run.value("/life/vram_gpas").as_array().map(Vec::len), Some(1));
    Ok(())
}

#[test]
fn device_that_is_taken_away_and_given_back_has_a_right_screen() -> Result<()> {
    let checks = [
        "rescind",
        "pattern_after_rescind",
        "console_after_rescind",
        "no_leak",
        "no_faults",
        "guest_log_clean",
    ];
    let Some(run) = play("rescind", &[], &checks)? else { return Ok(()) };
    assert_eq!((run.count("/life/channel_opens"), run.count("/life/channel_closes")), (3, 2));
    Ok(())
}

/// The kernel's own last line is read from the picture, so it is on the screen and not only in the log.
#[test]
fn panic_is_readable_on_the_screen_and_declared_before_the_guest_leaves_the_bus() -> Result<()> {
    let checks = ["panic_on_screen", "unload_after_last_dirt", "clean_end"];
    let Some(run) = play("panic", &[], &checks)? else { return Ok(()) };
    let time = |key: &str| run.value(key).as_f64().unwrap_or_else(|| panic!("{key} is {}", run.value(key)));
    assert!(run.count("/life/dirt_after_crash") > 0);
    assert_eq!(run.count("/life/dirt_after_unload"), 0);
    assert!(time("/life/crash_asked_ms") < time("/life/last_dirt_ms"));
    assert!(time("/life/last_dirt_ms") <= time("/life/unload_ms"));
    let png = run.picture("panic.png")?;
    assert_eq!(png.width % console_check::CELL_WIDTH_PX, 0);
    Ok(())
}

#[test]
fn power_off_in_the_middle_of_drawing_is_a_clean_end() -> Result<()> {
    let checks = ["drawing_at_power_off", "no_faults", "guest_log_clean", "clean_end"];
    play("poweroff", &[], &checks).map(drop)
}

/// Hibernation, module reload and kexec take long in the lab, or repeat what the others show: on request.
#[test]
fn driver_outlives_hibernation_reload_and_a_new_kernel() -> Result<()> {
    if !everything_is_wanted() {
        println!("on request only: {ALL_GUESTS}=1");
        return Ok(());
    }
    play("suspend", &[], &["hibernate", "silent_when_frozen", "pattern_after_thaw", "console_after_thaw"])?;
    play("reload", &[], &["reload", "same_vram", "pattern_after_reload", "no_leak"])?;
    play("kexec", &[], &["kexec_load", "kexec", "pattern_after_kexec", "console_after_kexec"]).map(drop)
}
