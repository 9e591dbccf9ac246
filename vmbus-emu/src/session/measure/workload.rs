//! Workloads: which are for this guest, and one of them from a quiet screen to a quiet screen.

use std::time::{Duration, Instant};

use device_model::VramKind;
use guest_agent::protocol::{Command, Event, WorkloadDone};
use guest_agent::workload::Workload;
use meter::measurement::{SharedTraffic, UnwantedPass, WorkloadResult};

use super::files::Pictures;
use super::passes::{LaterWindow, Pass};
use crate::cli::{MeasureArgs, WorkloadChoice};
use crate::progress::Phase;
use crate::session::agent::AgentSilence;
use crate::session::checks;
use crate::session::scenario::{Outcome, Stage, Stop};

/// Two refresh periods of hyperv_fb, 12 jiffies each at HZ=250, and a little more.
const REFRESH_PERIODS_MS: u32 = 120;

/// What a workload is done with.
pub(super) struct Measuring<'a> {
    pub(super) args: &'a MeasureArgs,
    /// How long a changed pixel may wait for its DIRT.
    pub(super) grace: Duration,
    pub(super) traffic: &'a SharedTraffic,
    pub(super) pictures: &'a mut Pictures,
    pub(super) outcome: &'a mut Outcome,
    /// Windows of `--repeat` after each workload's first.
    pub(super) later: Vec<LaterWindow>,
}

/// How the guest came out of a workload.
pub(super) enum Ended {
    /// It did it.
    Done(Option<WorkloadDone>),
    /// It could not, and goes on.
    Refused(String),
}

impl Stage<'_, '_> {
    /// One workload after the other, into `results`. After one that does not come to its end none is run.
    pub(super) fn workloads(
        &mut self,
        measuring: &mut Measuring<'_>,
        results: &mut Vec<WorkloadResult>,
    ) -> Result<(), Stop> {
        let choices = &measuring.args.workloads;
        for (index, choice) in choices.iter().enumerate() {
            let name = choice.to_string();
            if let Some(reason) = self.not_for_this_guest(choice.workload(), measuring.outcome) {
                results.push(not_run(&name, reason));
                continue;
            }
            self.progress.begin(Phase::Workload);
            self.progress.note(&format!("{name}, {} of {}", index + 1, choices.len()));
            match self.passes(choice, measuring) {
                Ok(result) => {
                    self.progress.done(&summary(&result));
                    results.push(result);
                }
                Err(Stop::Guest(reason)) => {
                    results.push(not_run(&name, reason.clone()));
                    for later in choices.iter().skip(index + 1) {
                        results.push(not_run(&later.to_string(), format!("{name} did not come to its end")));
                    }
                    return Err(Stop::Guest(format!("{name}: {reason}")));
                }
                Err(ours) => return Err(ours),
            }
        }
        Ok(())
    }

    /// Why `workload` cannot be run on this guest, if so.
    fn not_for_this_guest(&self, workload: Workload, outcome: &Outcome) -> Option<String> {
        let driver = outcome.driver.as_deref().unwrap_or_default();
        if let Err(reason) = workload.applies_to(driver) {
            return Some(reason.to_string());
        }
        let vram = self.meter.with(|meter| meter.device().vram);
        // hyperv_fb hands tail pages of one allocation to deferred I/O there, which takes references on each.
        let in_ram = vram.is_some_and(|vram| vram.kind == VramKind::Ram);
        (in_ram && workload.maps_frame_buffer())
            .then(|| "with VRAM in the guest's RAM this driver's mmap corrupts the guest's memory".to_owned())
    }

    /// One window of a workload, measured.
    pub(super) fn workload(
        &mut self,
        choice: &WorkloadChoice,
        measuring: &mut Measuring<'_>,
        pass: Pass,
    ) -> Result<WorkloadResult, Stop> {
        let (name, workload, args) = (choice.to_string(), choice.workload(), measuring.args);
        let label = pass.label(&name);
        self.clear_console()?;
        // As long as a refresh may take: the console's own, of a guest that is late, is not the workload's.
        let restless = !self.rest(measuring.grace)?;
        if restless {
            measuring
                .outcome
                .left_out
                .push(format!("{label}: the screen never came to rest before it began"));
        }
        let window = self.begin_window(measuring.traffic)?;
        let asked = Instant::now();
        let ended = self.perform(workload, args)?;
        let duration = asked.elapsed();
        self.rest(measuring.grace)?;
        let mut result = self.end_window(window, measuring.traffic)?;
        result.name.clone_from(&name);
        result.duration_ms = duration.as_secs_f64() * 1e3;
        match ended {
            Ended::Done(done) => {
                if let Some(done) = done {
                    result.operations = Some(done.operations);
                    result.costs.guest_cpu_ms = done.cpu_ms;
                    let note = |note| format!("{label}: {note}");
                    measuring.outcome.left_out.extend(done.note.map(note));
                }
            }
            Ended::Refused(reason) => {
                measuring.outcome.checks.push(checks::check(
                    &format!("{name}.done"),
                    false,
                    format!("{name}: the guest could not do it: {reason}"),
                ));
                result.not_run = Some(format!("the guest could not do it: {reason}"));
            }
        }
        let picture = self.vm.events().with_video(|video| video.picture())?;
        if result.not_run.is_none() && workload != Workload::Cursor && !restless {
            result.stale = self.stale_tiles(picture.as_ref())?;
        }
        if let (Some(picture), 1) = (picture, pass.number) {
            measuring.pictures.keep(&name, picture);
        }
        self.release_screen(workload)?;
        Ok(result)
    }

    /// An empty console without a cursor, whatever the workload before left behind.
    pub(super) fn clear_console(&mut self) -> Result<(), Stop> {
        self.ask(Command::Console { lines: 0 })?;
        Ok(())
    }

    /// Gives the screen back to the console after a workload that holds it.
    pub(super) fn release_screen(&mut self, workload: Workload) -> Result<(), Stop> {
        if workload == Workload::Kms {
            self.ask(Command::KmsRelease)?;
        }
        Ok(())
    }

    /// The same once more while the host wants no DIRT: what the guest does for its refresh traffic is the difference.
    pub(super) fn unwanted_pass(
        &mut self,
        workload: Workload,
        measuring: &mut Measuring<'_>,
        result: &mut WorkloadResult,
    ) -> Result<(), Stop> {
        self.vm.events().with_video(|video| video.want_dirt(false))?;
        self.ask(Command::Console { lines: 0 })?;
        // By the guest's clock, so that its refresh period is over on a slow host, too.
        self.ask(Command::Idle { ms: REFRESH_PERIODS_MS })?;
        let window = self.begin_window(measuring.traffic)?;
        let asked = Instant::now();
        let ended = self.perform(workload, measuring.args)?;
        let duration = asked.elapsed();
        self.ask(Command::Idle { ms: REFRESH_PERIODS_MS })?;
        let second = self.end_window(window, measuring.traffic)?;
        result.unwanted_dirt = result.unwanted_dirt.saturating_add(second.unwanted_dirt);
        if let Ended::Done(Some(done)) = ended {
            result.costs.unwanted_duration_ms = Some(duration.as_secs_f64() * 1e3);
            result.costs.unwanted_guest_cpu_ms = done.cpu_ms;
        }
        self.release_screen(workload)?;
        let window = self.begin_window(measuring.traffic)?;
        self.vm.events().with_video(|video| video.want_dirt(true))?;
        self.rest(measuring.grace)?;
        let again = self.end_window(window, measuring.traffic)?;
        result.unwanted = Some(UnwantedPass {
            written_pages: second.written_pages,
            changed_px: second.changed_px,
            dirt_when_wanted_again: again.dirt_messages,
        });
        Ok(())
    }

    /// Lets the guest do it.
    pub(super) fn perform(&mut self, workload: Workload, args: &MeasureArgs) -> Result<Ended, Stop> {
        let command = Command::Workload { workload, seed: args.seed, scale_percent: args.scale_percent };
        let mut done = None;
        let Self { agent, vm, until, .. } = self;
        let answer = agent.ask_and_hear(command, *until, &mut || vm.look(), &mut |event| {
            if let Event::WorkloadDone(said) = event {
                done = Some(said);
            }
        });
        match answer {
            Ok(_) => Ok(Ended::Done(done)),
            Err(AgentSilence::Refused(reason)) => Ok(Ended::Refused(reason)),
            Err(silence) => Err(silence.into()),
        }
    }
}

fn not_run(name: &str, reason: String) -> WorkloadResult {
    WorkloadResult { name: name.to_owned(), not_run: Some(reason), ..WorkloadResult::default() }
}

fn summary(result: &WorkloadResult) -> String {
    let missed = match result.missed_px {
        Some(missed) => format!(", {missed} px missed"),
        None => String::new(),
    };
    format!("{}: {} DIRT of {} px{missed}", result.name, result.dirt_messages, result.declared_px)
}
