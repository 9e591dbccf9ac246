//! The guest reboots, and its screen is right afterwards.

use std::time::{Duration, Instant};

use guest_agent::protocol::Command;

use super::agent::Agent;
use super::checks;
use super::holdings::Holdings;
use super::scenario::{Outcome, Stage, Stop};
use crate::progress::Phase;

/// How long a guest may take from being asked to its reset.
const RESET_LIMIT: Duration = Duration::from_secs(60);

/// From so many on the second half of the resets can be told from the first.
const ROUNDS_WITH_HALVES: u32 = 4;

impl Stage<'_, '_> {
    /// Boots, draws and prints; then reboots and does it again, as often as asked for.
    pub(super) fn reboot(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        self.console(outcome)?;
        let rounds = self.repeat.unwrap_or(1);
        let half = 1 + rounds / 2;
        let (mut before, mut middle) = (Holdings::now(), None);
        for round in 1..=rounds {
            self.let_guest_reset(round)?;
            let mut again = Outcome::default();
            let booted = self.boot(&mut again).and_then(|_| {
                self.draw(&mut again)?;
                self.console(&mut again)
            });
            // One check of each name for all rounds: the first that failed, or else the last.
            for check in again.checks {
                let check = checks::check(&format!("{}_after_reset", check.name), check.passed, check.detail);
                match outcome.checks.iter_mut().find(|earlier| earlier.name == check.name) {
                    Some(earlier) if earlier.passed => *earlier = check,
                    Some(_) => {}
                    None => outcome.checks.push(check),
                }
            }
            for reason in again.left_out {
                if !outcome.left_out.contains(&reason) {
                    outcome.left_out.push(reason);
                }
            }
            booted?;
            if round == 1 && rounds > 1 {
                // The second machine is what later ones are compared with: allocators and caches are warm then.
                before = Holdings::now();
            } else if round == half {
                middle = Holdings::now();
            }
        }
        let done = u64::from(rounds) == self.vm.resets();
        outcome.checks.push(checks::check(
            "resets",
            done,
            format!("the machine was reset {} times, {rounds} were asked for", self.vm.resets()),
        ));
        let what = format!("{rounds} resets");
        outcome.checks.push(if rounds < ROUNDS_WITH_HALVES {
            Holdings::check_few(before, &what)
        } else {
            Holdings::check_halves(before, middle, &what)
        });
        Ok(())
    }

    /// Asks the guest to reboot, waits for its reset, and carries it out.
    fn let_guest_reset(&mut self, round: u32) -> Result<(), Stop> {
        self.progress.begin(Phase::GuestBoot);
        self.progress.note(&format!("reset {round}"));
        self.agent.tell(Command::Reboot)?;
        let until = self.until.min(Instant::now() + RESET_LIMIT);
        loop {
            if self.vm.wants_reset().is_some() {
                break;
            }
            if let Some(reason) = self.vm.look() {
                return Err(Stop::Guest(format!("the guest was asked to reboot: {reason}")));
            }
            if Instant::now() >= until {
                return Err(Stop::Guest("the guest did not reset its machine when asked to reboot".into()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.vm.reset()?;
        self.agent = Agent::new(self.vm.machine().agent().clone());
        Ok(())
    }
}
