//! A workload as often as the user asked for it: windows that should agree, and passes with and without the oracle.

use std::time::{Duration, Instant};

use meter::measurement::{OracleOverhead, Repeats, WithAndWithout, WorkloadResult};

use super::workload::{Ended, Measuring};
use crate::cli::WorkloadChoice;
use crate::session::checks;
use crate::session::scenario::{Stage, Stop};

/// One window among those of a workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) number: u32,
    pub(super) of: u32,
}

impl Pass {
    /// The workload's name, with the window's number where there are several.
    pub(super) fn label(self, workload: &str) -> String {
        match self.of {
            1 => workload.to_owned(),
            of => format!("{workload}, window {} of {of}", self.number),
        }
    }
}

/// A window after the first, which the budget must hold for as well.
#[derive(Debug)]
pub(super) struct LaterWindow {
    pub(super) label: String,
    pub(super) result: WorkloadResult,
}

/// What one pass with the oracle, or without it, took.
struct Took {
    vcpu_cpu_us: Option<f64>,
    guest_cpu_ms: Option<f64>,
    duration_ms: f64,
    host_cpu_us: Option<f64>,
}

impl Stage<'_, '_> {
    /// One workload, all of its passes; the result is the first window's.
    pub(super) fn passes(
        &mut self,
        choice: &WorkloadChoice,
        measuring: &mut Measuring<'_>,
    ) -> Result<WorkloadResult, Stop> {
        let args = measuring.args;
        let of = args.repeat.unwrap_or(1);
        let mut result = self.workload(choice, measuring, Pass { number: 1, of })?;
        if args.cost && self.dirt_wanted && result.not_run.is_none() {
            self.unwanted_pass(choice.workload(), measuring, &mut result)?;
        }
        if result.not_run.is_none() && of > 1 {
            self.repeat(choice, measuring, of, &mut result)?;
        }
        if let (Some(rounds), None) = (args.oracle_overhead, &result.not_run) {
            result.oracle_overhead = self.oracle_overhead(choice, measuring, rounds)?;
        }
        for later in measuring.later.iter_mut().filter(|later| later.result.name == result.name) {
            // They are of the workload as a whole.
            later.result.repeats.clone_from(&result.repeats);
            later.result.oracle_overhead.clone_from(&result.oracle_overhead);
        }
        Ok(result)
    }

    /// The other windows of `result`'s workload.
    fn repeat(
        &mut self,
        choice: &WorkloadChoice,
        measuring: &mut Measuring<'_>,
        of: u32,
        result: &mut WorkloadResult,
    ) -> Result<(), Stop> {
        let mut windows = vec![result.clone()];
        for number in 2..=of {
            let pass = Pass { number, of };
            let again = self.workload(choice, measuring, pass)?;
            if let Some(reason) = again.not_run {
                result.not_run = Some(format!("window {number} of {of}: {reason}"));
                return Ok(());
            }
            windows.push(again);
        }
        result.repeats = Some(Repeats::of(&windows));
        let later = (2..).zip(windows.into_iter().skip(1));
        measuring.later.extend(
            later.map(|(number, result)| LaterWindow { label: format!("window {number} of {of}"), result }),
        );
        Ok(())
    }

    /// The workload with the oracle and without it, in the order A B B A, so that what gets slower or faster meanwhile does
    /// so for both. None if a pass did not come to its end.
    fn oracle_overhead(
        &mut self,
        choice: &WorkloadChoice,
        measuring: &mut Measuring<'_>,
        rounds: u32,
    ) -> Result<Option<OracleOverhead>, Stop> {
        let name = choice.to_string();
        let mut took: Vec<(Took, Took)> = Vec::new();
        let mut logged_only_with = true;
        for round in 1..=rounds {
            let mut of_round = [None, None];
            let order = if round % 2 == 1 { [true, false] } else { [false, true] };
            for oracle in order {
                logged_only_with &= self.follow_writes(oracle)? == oracle;
                let pass = self.timed_pass(choice, measuring)?;
                let [with, without] = &mut of_round;
                *(if oracle { with } else { without }) = pass;
            }
            let [Some(with), Some(without)] = of_round else { break };
            took.push((with, without));
        }
        self.follow_writes(true)?;
        let complete = took.len() == rounds as usize;
        measuring.outcome.checks.push(checks::check(
            &format!("{name}.oracle_off"),
            complete && logged_only_with,
            match (complete, logged_only_with) {
                (false, _) => format!("{name}: {} of {rounds} rounds came to their end", took.len()),
                (_, false) => format!("{name}: KVM logged written pages without the oracle, or none with it"),
                _ => format!("{name}: KVM logged no written pages while the oracle was off"),
            },
        ));
        let numbers = |number: fn(&Took) -> Option<f64>| {
            let pairs: Option<Vec<(f64, f64)>> =
                took.iter().map(|(with, without)| number(with).zip(number(without))).collect();
            WithAndWithout::of(&pairs.unwrap_or_default())
        };
        Ok(complete.then(|| OracleOverhead {
            rounds: rounds.into(),
            vcpu_cpu_us: numbers(|took| took.vcpu_cpu_us),
            guest_cpu_ms: numbers(|took| took.guest_cpu_ms),
            duration_ms: numbers(|took| Some(took.duration_ms)),
            host_cpu_us: numbers(|took| took.host_cpu_us),
        }))
    }

    /// Switches the oracle, and KVM's log with it; whether KVM logs anything then.
    fn follow_writes(&mut self, oracle: bool) -> Result<bool, Stop> {
        let Some(shared) = self.vm.oracle().cloned() else { return Ok(false) };
        self.vm.events().with_bus(move |bus| {
            let now_ns = bus.now_ns();
            shared.with(|it| if oracle { it.resume(now_ns) } else { it.pause(now_ns) });
        })?;
        Ok(self.vm.machine().slots().logged() > 0)
    }

    /// One pass, of which only times are kept.
    fn timed_pass(
        &mut self,
        choice: &WorkloadChoice,
        measuring: &Measuring<'_>,
    ) -> Result<Option<Took>, Stop> {
        self.clear_console()?;
        self.rest(Duration::ZERO)?;
        let window = self.begin_window(measuring.traffic)?;
        let asked = Instant::now();
        let ended = self.perform(choice.workload(), measuring.args)?;
        let duration_ms = asked.elapsed().as_secs_f64() * 1e3;
        self.rest(Duration::ZERO)?;
        let result = self.end_window(window, measuring.traffic)?;
        self.release_screen(choice.workload())?;
        Ok(match ended {
            // Exact up to 2^53.
            Ended::Done(done) => Some(Took {
                vcpu_cpu_us: result.costs.vcpu_cpu_us.map(|us| us as f64),
                guest_cpu_ms: done.and_then(|done| done.cpu_ms).map(|ms| ms as f64),
                duration_ms,
                host_cpu_us: result.costs.host_cpu_us.map(|us| us as f64),
            }),
            Ended::Refused(_) => None,
        })
    }
}
