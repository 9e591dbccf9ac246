//! The whole kernel goes and comes: it hibernates as far as it can, or another kernel takes over.

use guest_agent::lifecycle::Step;

use super::super::checks;
use super::super::scenario::{Outcome, Stage, Stop};
use super::footprint::Footprint;
use crate::progress::Phase;

impl Stage<'_, '_> {
    /// Freezes and thaws every device, as often as asked for, while text is being printed.
    pub(in super::super) fn hibernate(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        self.console(outcome)?;
        let (log, start) = (self.vm.guest_log().mark(), self.before());
        let rounds = self.repeat.unwrap_or(1);
        self.progress.begin(Phase::Lifecycle);
        self.step(Step::PrintStart)?;
        let (mut done, mut signals, mut footprint) = (0, 0, None);
        let mut ended = Ok(());
        for round in 1..=rounds {
            self.progress.note(&format!("hibernate {round} of {rounds}"));
            let before = self.before();
            let stray = self.vm.exits().signal_user.unwrap_or_default();
            ended = self.step(Step::Hibernate).map(drop).and_then(|()| self.await_handshake(&before));
            signals += self.vm.exits().signal_user.unwrap_or_default().saturating_sub(stray);
            if ended.is_err() {
                break;
            }
            done = round;
            if round == 1 {
                footprint = Some(Footprint::now(self)?);
            }
        }
        let life = self.meter.with(|meter| meter.life().clone());
        let contacts = life.contacts.saturating_sub(start.life.contacts);
        let closes = life.closes.saturating_sub(start.life.closes);
        let detail = format!(
            "{done} of {rounds} rounds; {closes} closes of the channel, {contacts} contacts anew, whole handshakes"
        );
        let whole = done == rounds && closes >= u64::from(rounds) && contacts >= u64::from(rounds);
        outcome.checks.push(checks::check("hibernate", whole, detail));
        let detail = format!("{signals} signals while the channel was closed, limit is 0");
        outcome.checks.push(checks::check("silent_when_frozen", signals == 0, detail));
        ended?;
        self.step(Step::PrintStop)?;
        self.picture_after("thaw", outcome)?;
        if let Some(footprint) = footprint {
            let check =
                footprint.check(self, &format!("{} rounds after the first", rounds.saturating_sub(1)))?;
            outcome.checks.push(check);
        }
        self.judge_life(&start, log, outcome);
        self.progress.done(&format!("hibernated {done} times"));
        Ok(())
    }

    /// The guest's kernel starts itself anew by kexec, and the bus has to serve a guest that it has served before.
    pub(in super::super) fn kexec(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        self.console(outcome)?;
        let (log, start) = (self.vm.guest_log().mark(), self.before());
        self.progress.begin(Phase::Lifecycle);
        self.progress.note("kexec");
        let loaded = self.step(Step::KexecLoad);
        let detail = match &loaded {
            Ok(done) => format!("loaded in {} ms", done.ms),
            Err(Stop::Guest(reason)) => reason.clone(),
            Err(Stop::Ours(_)) => String::new(),
        };
        outcome.checks.push(checks::check("kexec_load", loaded.is_ok(), detail));
        loaded?;
        self.step(Step::KexecStart)?;
        let mut again = Outcome::default();
        let booted = self.boot(&mut again);
        let life = self.meter.with(|meter| meter.life().clone());
        let contacts = life.contacts.saturating_sub(start.life.contacts);
        let left = life.last_unload_ns.is_some();
        let detail = format!(
            "{}; {contacts} contacts anew, the first kernel {} UNLOAD",
            again.hello.as_ref().map_or("no word of the second kernel", |hello| &hello.release),
            if left { "sent" } else { "did not send" }
        );
        outcome.checks.push(checks::check("kexec", booted.is_ok() && contacts > 0 && left, detail));
        for check in again.checks {
            outcome.checks.push(checks::check(
                &format!("{}_after_kexec", check.name),
                check.passed,
                check.detail,
            ));
        }
        booted?;
        self.picture_after("kexec", outcome)?;
        self.judge_life(&start, log, outcome);
        self.progress.done("the second kernel runs");
        Ok(())
    }
}
