//! The host takes the video device away from the guest and gives it back.

use device_model::Synthvid;
use guest_agent::lifecycle::Step;

use super::super::checks;
use super::super::scenario::{Outcome, Stage, Stop};
use super::footprint::Footprint;
use crate::exit::ExitError;
use crate::progress::Phase;

/// How often, if the user does not say.
const ROUNDS: u32 = 2;

impl Stage<'_, '_> {
    /// Rescinds the offer while text is being printed, waits until the guest has let go, and offers the device again.
    pub(in super::super) fn rescind(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.boot(outcome)?;
        self.draw(outcome)?;
        self.console(outcome)?;
        let (log, start) = (self.vm.guest_log().mark(), self.before());
        let rounds = self.repeat.unwrap_or(ROUNDS);
        self.progress.begin(Phase::Lifecycle);
        self.step(Step::PrintStart)?;
        let (mut footprint, mut done) = (None, 0);
        let mut ended = Ok(());
        for round in 1..=rounds {
            self.progress.note(&format!("rescind {round} of {rounds}"));
            ended = self.take_away_and_give_back(outcome);
            if ended.is_err() {
                break;
            }
            done = round;
            if round == 1 {
                footprint = Some(Footprint::now(self)?);
            }
        }
        let detail =
            format!("{done} of {rounds} rounds: rescinded, released, offered again, whole handshake");
        outcome.checks.push(checks::check("rescind", done == rounds, detail));
        ended?;
        if outcome.overtaken_signals > 0 {
            let signals = outcome.overtaken_signals;
            outcome.left_out.push(format!(
                "no_signal_exits does not count {signals} signals of a channel that had just been taken away from the guest"
            ));
        }
        self.step(Step::PrintStop)?;
        self.picture_after("rescind", outcome)?;
        if let Some(footprint) = footprint {
            let check =
                footprint.check(self, &format!("{} rounds after the first", rounds.saturating_sub(1)))?;
            outcome.checks.push(check);
        }
        self.judge_life(&start, log, outcome);
        self.progress.done(&format!("rescinded {done} times"));
        Ok(())
    }

    fn take_away_and_give_back(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        // Nobody holds the screen open: what Linux does with a frame buffer that goes while it is open is another question.
        self.step(Step::LetGo)?;
        let before = self.before();
        let signals = self.vm.exits().signal_user.unwrap_or_default();
        let rescinded = self.vm.events().with_bus(|bus| bus.rescind_device::<Synthvid>())?;
        if !rescinded {
            return Err(Stop::Ours(ExitError::cannot_run("the video device is not on offer")));
        }
        self.step(Step::AwaitGone)?;
        // The guest cannot know at once. From here on, where its driver is gone, a signal would be a mistake.
        let overtaken = self.vm.exits().signal_user.unwrap_or_default().saturating_sub(signals);
        outcome.overtaken_signals = outcome.overtaken_signals.saturating_add(overtaken);
        let reoffered = self.vm.events().with_bus(|bus| bus.reoffer_device::<Synthvid>())?;
        let channel = reoffered.map_err(|error| {
            ExitError::cannot_run(format!("the video device cannot be offered again: {error}"))
        })?;
        if let Some(channel) = channel {
            self.meter.with(|meter| meter.watch_video_channel(channel));
        }
        self.step(Step::AwaitBack)?;
        let releasing = self.vm.events().with_bus(|bus| bus.is_releasing::<Synthvid>())?;
        if releasing {
            return Err(Stop::Guest("the guest has a new channel and has not released the old one".into()));
        }
        self.await_handshake(&before)
    }
}
