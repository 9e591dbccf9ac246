//! Scenarios in which the driver, its device or its kernel comes and goes.
//!
//! | file | what happens |
//! |---|---|
//! | `rebind` | the driver leaves its device and takes it again, or its module is removed and loaded |
//! | `rescind` | the host takes the device away and gives it back |
//! | `kernel` | the kernel hibernates, or another one takes over |
//! | `last_words` | the kernel crashes, or powers off, in the middle of drawing |
//! | `footprint` | what host and guest hold, before and after |
//! | `screen_text` | reading a text console from its picture |

mod footprint;
mod kernel;
mod last_words;
mod rebind;
mod rescind;
mod screen_text;

use std::time::{Duration, Instant};

use guest_agent::lifecycle::Step;
use guest_agent::protocol::{Command, Done};
use meter::Life;
use meter::report::Check;

pub(super) use rebind::Way;

use super::checks;
use super::guest_log::LogMark;
use super::scenario::{Outcome, Stage, Stop};

/// How long a handshake may take after the guest's driver says that it has its screen, and a close after it says that it has left.
const SETTLE: Duration = Duration::from_secs(10);

/// How the fault begins that hyperv_drm is known for.
const EARLY_DIRT: &str = "DIRT before";

/// What was counted when something began.
struct Before {
    life: Life,
    faults: u64,
}

impl Stage<'_, '_> {
    /// Lets the guest take one step of its driver's life.
    fn step(&mut self, step: Step) -> Result<Done, Stop> {
        tracing::debug!(?step, "asked of the guest");
        Ok(self.ask(Command::Lifecycle { step })?)
    }

    fn before(&self) -> Before {
        let (life, faults) = self.meter.with(|meter| (meter.life().clone(), meter.counters().faults.total()));
        Before { life, faults }
    }

    /// Waits until `arrived` is true of what the meter has counted.
    fn await_life(&mut self, what: &str, arrived: impl Fn(&Life) -> bool) -> Result<(), Stop> {
        let until = self.until.min(Instant::now() + SETTLE);
        while !self.meter.with(|meter| arrived(meter.life())) {
            if let Some(reason) = self.vm.look() {
                return Err(Stop::Guest(format!("{what}: the guest is gone: {reason}")));
            }
            if Instant::now() >= until {
                return Err(Stop::Guest(format!("{what}: not in {} s", SETTLE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// A whole handshake since `before`, up to FEATURE_CHANGE.
    fn await_handshake(&mut self, before: &Before) -> Result<(), Stop> {
        let (opens, changes) = (before.life.opens, before.life.feature_changes);
        let wanted = self.dirt_wanted;
        self.await_life("the driver's handshake after it came back", |life| {
            life.opens > opens && (!wanted || life.feature_changes > changes)
        })
    }

    /// Draws and prints, with the checks of the demo, each called `.._after_<what>`.
    fn picture_after(&mut self, what: &str, outcome: &mut Outcome) -> Result<(), Stop> {
        let mut again = Outcome::default();
        let drawn = self.draw(&mut again).and_then(|()| self.console(&mut again));
        outcome.checks.extend(again.checks.into_iter().map(|Check { name, passed, detail }| Check {
            name: format!("{name}_after_{what}"),
            passed,
            detail,
        }));
        for left_out in again.left_out {
            if !outcome.left_out.contains(&left_out) {
                outcome.left_out.push(left_out);
            }
        }
        drawn
    }

    /// What every scenario of this kind ends with: no faults since `before`, and what the guest says of itself since `log`.
    fn judge_life(&mut self, before: &Before, log: LogMark, outcome: &mut Outcome) {
        let (total, last) = self.meter.with(|meter| {
            (
                meter.counters().faults.total(),
                meter.last_fault().map(|fault| fault.text.clone()).unwrap_or_default(),
            )
        });
        let faults = total.saturating_sub(before.faults);
        let detail = match faults {
            0 => "the guest kept to the rules of bus and device".to_owned(),
            _ => format!("{faults} rules broken, the last: {last}"),
        };
        let known = outcome.driver.as_deref() == Some("hyperv_drm") && last.starts_with(EARLY_DIRT);
        if faults > 0 && known {
            outcome.left_out.push(format!(
                "guest limitation: hyperv_drm that comes back holds dirt for wanted as before, and sends it before it has described its \
                 screen; {detail}"
            ));
        }
        outcome.checks.push(checks::check("no_faults", faults == 0 || known, detail));
        let check = self.vm.guest_log().check(log, outcome.driver.as_deref(), &mut outcome.left_out);
        outcome.checks.push(check);
    }
}
