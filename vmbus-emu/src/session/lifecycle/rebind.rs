//! The driver leaves its device and takes it again, with text being printed all the time.

use guest_agent::lifecycle::Step;

use super::super::checks;
use super::super::scenario::{Outcome, Stage, Stop};
use super::footprint::Footprint;
use crate::progress::Phase;

/// How the driver leaves and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// Through sysfs, `unbind` and `bind`.
    Binding,
    /// With its module.
    Module,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Binding => "rebind",
            Self::Module => "reload",
        }
    }

    const fn steps(self) -> [Step; 2] {
        match self {
            Self::Binding => [Step::Unbind, Step::Bind],
            Self::Module => [Step::UnloadModule, Step::LoadModule],
        }
    }

    /// How often, if the user does not say.
    const fn rounds(self) -> u32 {
        match self {
            Self::Binding => 50,
            Self::Module => 5,
        }
    }
}

/// What the guest did while it had no driver.
#[derive(Default)]
struct Away {
    signals: u64,
    accesses: u64,
}

impl Stage<'_, '_> {
    /// Rounds of leaving and coming back. After each the handshake is complete; at the end the picture is right and nothing is left
    /// behind.
    pub(in super::super) fn rebind(&mut self, way: Way, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        self.console(outcome)?;
        let (log, start) = (self.vm.guest_log().mark(), self.before());
        let rounds = self.repeat.unwrap_or_else(|| way.rounds());
        let first_gpa = self.meter.with(|meter| meter.device().vram).map(|vram| vram.gpa);
        self.progress.begin(Phase::Lifecycle);
        self.step(Step::PrintStart)?;
        let (mut away, mut footprint, mut done, mut moved) = (Away::default(), None, 0, 0_u32);
        let mut ended = Ok(());
        for round in 1..=rounds {
            self.progress.note(&format!("{} {round} of {rounds}", way.name()));
            ended = self.leave_and_return(way, &mut away);
            if ended.is_err() {
                break;
            }
            done = round;
            moved +=
                u32::from(self.meter.with(|meter| meter.device().vram).map(|vram| vram.gpa) != first_gpa);
            if round == 1 {
                // Compared with after the first round: caches and allocators are warm then.
                footprint = Some(Footprint::now(self)?);
            }
        }
        let name = way.name();
        let detail = format!("{done} of {rounds} rounds, each with a whole handshake");
        outcome.checks.push(checks::check(name, done == rounds && rounds > 0, detail));
        self.judge_away(&away, outcome);
        ended?;
        self.step(Step::PrintStop)?;
        let detail = match first_gpa {
            Some(gpa) => format!("VRAM was at {gpa:#x}, and elsewhere after {moved} of {done} rounds"),
            None => "there was no VRAM".to_owned(),
        };
        outcome.checks.push(checks::check("same_vram", moved == 0 && first_gpa.is_some(), detail));
        self.picture_after(name, outcome)?;
        if let Some(footprint) = footprint {
            let check =
                footprint.check(self, &format!("{} rounds after the first", rounds.saturating_sub(1)))?;
            outcome.checks.push(check);
        }
        self.judge_life(&start, log, outcome);
        self.progress.done(&format!("{name} {done} times"));
        Ok(())
    }

    fn leave_and_return(&mut self, way: Way, away: &mut Away) -> Result<(), Stop> {
        let [leave, come_back] = way.steps();
        let before = self.before();
        self.step(leave)?;
        let closes = before.life.closes;
        self.await_life("the channel of the driver that left", |life| life.closes > closes)?;
        // From here on the host has neither rings nor VRAM of it. Work that the driver forgot to stop comes within its refresh period.
        let gone = self.vm.machine().exits();
        let signals = self.vm.exits().signal_user.unwrap_or_default();
        self.let_refresh_periods_pass()?;
        let mapped = self.meter.with(|meter| meter.device().vram_mapped);
        away.accesses += self.vm.machine().exits().unclaimed_mmio.saturating_sub(gone.unclaimed_mmio);
        away.signals += self.vm.exits().signal_user.unwrap_or_default().saturating_sub(signals);
        if mapped {
            return Err(Stop::Guest("VRAM is still mapped although the driver has left".into()));
        }
        self.step(come_back)?;
        self.await_handshake(&before)
    }

    fn judge_away(&self, away: &Away, outcome: &mut Outcome) {
        let Away { signals, accesses } = *away;
        let in_ram = self
            .meter
            .with(|meter| meter.device().vram.is_some_and(|vram| vram.kind == device_model::VramKind::Ram));
        if in_ram {
            outcome
                .left_out
                .push("accesses to VRAM after CLOSECHANNEL: it is the guest's own RAM here".into());
        }
        let detail = format!(
            "{signals} signals and {accesses} accesses to VRAM after the channel was closed, limit is 0"
        );
        outcome.checks.push(checks::check("silent_when_unbound", signals == 0 && accesses == 0, detail));
    }
}
