//! The kernel's end, in the middle of drawing: a crash, whose text must still reach the screen, and a power-off.

use std::time::{Duration, Instant};

use device_model::Clock as _;
use guest_agent::lifecycle::Step;
use guest_agent::pattern::Pattern;
use guest_agent::protocol::Command;
use meter::Life;
use meter::report::Check;

use super::super::scenario::{Outcome, Stage, Stop};
use super::super::{checks, promise};
use super::screen_text::Glyphs;
use crate::progress::Phase;

/// How long a kernel may take from the crash to the reset that ends it (`panic=-1`).
const CRASH_LIMIT: Duration = Duration::from_secs(60);
/// How what Linux prints begins when it crashes on request (`drivers/tty/sysrq.c`, `kernel/panic.c`).
const LAST_WORDS: &str = "Kernel panic - not syncing";
/// Seed of the pattern that is drawn while the guest powers off.
const SEED: u64 = 7;

impl Stage<'_, '_> {
    /// Crashes the kernel while text is being printed, and looks at what reached the screen. The kernel's messages go to the text
    /// console as well in this scenario.
    pub(in super::super) fn panic(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.console(outcome)?;
        let vcs = self.text_console()?;
        let before = self.settled_picture("console")?;
        let glyphs = Glyphs::learn(&before, &vcs);
        self.progress.begin(Phase::Lifecycle);
        self.progress.note("crash");
        let now_ns = self.clock.now_ns();
        self.meter.with(|meter| meter.crash_asked(now_ns));
        self.agent.tell(Command::Crash)?;
        let until = self.until.min(Instant::now() + CRASH_LIMIT);
        while self.vm.look().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.vm.events().with_bus(|bus| bus.process_doorbells())?;
        let after = self.picture_to("panic")?;
        let life = self.meter.with(|meter| meter.life().clone());
        let changed = before.pixels.iter().zip(&after.pixels).filter(|(old, new)| old != new).count();
        let log = self.vm.machine().console().tail();
        let shown = panic_on_screen(outcome.driver.as_deref(), &glyphs.read(&after), &log, changed, &life);
        let release = outcome.hello.as_ref().map(|hello| hello.release.as_str());
        if shown.passed || promise::shows_panic(outcome.driver.as_deref(), release) {
            outcome.checks.push(shown);
        } else {
            outcome.left_out.push(format!(
                "guest limitation: {} of this kernel flushes nothing to the screen when the kernel panics; {}",
                outcome.driver.as_deref().unwrap_or("the driver"),
                shown.detail
            ));
        }
        let last_dirt = self.meter.with(|meter| meter.last_dirt_ns());
        let detail = format!(
            "{} DIRT after the crash was asked for, {} of them after UNLOAD; the last at {}, UNLOAD at {}",
            life.dirt_after_crash,
            life.dirt_after_unload,
            at(last_dirt),
            at(life.last_unload_ns)
        );
        let ordered = life.last_unload_ns.is_some() && life.dirt_after_unload == 0;
        outcome.checks.push(checks::check("unload_after_last_dirt", ordered, detail));
        self.progress.done(&format!("{} DIRT after the crash", life.dirt_after_crash));
        Ok(())
    }

    /// Leaves the guest drawing and printing; the run ends by asking it to power off, as every run does.
    pub(in super::super) fn power_off_while_drawing(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        let (log, start) = (self.vm.guest_log().mark(), self.before());
        self.progress.begin(Phase::Lifecycle);
        self.step(Step::PrintStart)?;
        let mark = self.meter.with(|meter| meter.mark());
        self.let_refresh_periods_pass()?;
        if outcome.checks.iter().any(|check| check.name == "pattern") {
            // Not waited for: its pages are still on their way when the power goes.
            self.ask(Command::Draw { pattern: Pattern::Coordinates, seed: SEED })?;
        }
        let busy = self.meter.with(|meter| meter.since(&mark).dirt_messages);
        let detail = format!("{busy} DIRT in the last moments before the power-off was asked for");
        outcome.checks.push(checks::check("drawing_at_power_off", busy > 0 || !self.dirt_wanted, detail));
        self.judge_life(&start, log, outcome);
        self.progress.done("power-off is asked for");
        Ok(())
    }
}

/// What the kernel printed from its panic on is readable on the screen, or the driver's own screen for it is there. The first lines of
/// it may have scrolled away under its backtrace.
fn panic_on_screen(driver: Option<&str>, shown: &[String], log: &str, changed: usize, life: &Life) -> Check {
    let log: Vec<&str> =
        log.lines().map(str::trim_end).skip_while(|line| !line.contains(LAST_WORDS)).collect();
    let words: Vec<&String> =
        shown.iter().filter(|line| !line.is_empty() && log.contains(&line.as_str())).collect();
    // drm_panic draws a screen of its own, with a QR code as a rule, in the place of the console.
    let own_screen = driver == Some("hyperv_drm") && changed > 0 && life.dirt_after_crash > 0;
    let detail = match words.last() {
        Some(last) => format!(
            "{} lines from \"{LAST_WORDS}\" on are on the screen, the last \"{last}\"; {changed} pixels changed",
            words.len()
        ),
        None if own_screen => format!("drm_panic's screen, {changed} pixels changed"),
        None => format!(
            "no line from \"{LAST_WORDS}\" on is on the screen; {changed} pixels changed, {} DIRT after the crash was asked for",
            life.dirt_after_crash
        ),
    };
    checks::check("panic_on_screen", !words.is_empty() || own_screen, detail)
}

/// A time of the run, to the millisecond.
fn at(ns: Option<u64>) -> String {
    ns.map_or_else(|| "no time".to_owned(), |ns| format!("{} ms", ns / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[ 1.0] sysrq: Trigger a crash\r\n[ 2.0] Kernel panic - not syncing: sysrq triggered crash\r\n\
                       [ 3.0] Kernel Offset: 0x1\r\n\r\n";

    fn judge(driver: &str, shown: &[&str], dirt_after_crash: u64) -> Check {
        let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
        let life = Life { dirt_after_crash, ..Life::default() };
        panic_on_screen(Some(driver), &shown, LOG, 5, &life)
    }

    #[test]
    fn any_line_of_the_panic_will_do_and_the_last_one_is_told() {
        let check = judge("hyperv_fb", &["[ 3.0] Kernel Offset: 0x1", ""], 1);
        assert!(check.passed && check.detail.contains("Kernel Offset"), "{}", check.detail);
    }

    #[test]
    fn lines_from_before_the_panic_and_blank_ones_are_none_of_it() {
        let check = judge("hyperv_fb", &["[ 1.0] sysrq: Trigger a crash", "", "line 7"], 1);
        assert!(!check.passed, "{}", check.detail);
    }

    #[test]
    fn screen_of_drm_panic_will_do_if_it_was_declared() {
        assert!(judge("hyperv_drm", &[], 1).passed);
        assert!(!judge("hyperv_drm", &[], 0).passed);
        assert!(!judge("hyperv_fb", &[], 1).passed);
    }
}
