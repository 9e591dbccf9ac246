//! A measurement: boots the guest once, puts one workload after the other on its driver, and writes what came out.

mod costs;
mod files;
mod oracle_result;
mod passes;
mod stale;
mod table;
mod window;
mod workload;

use std::time::{Duration, Instant};

use device_model::Clock as _;
use guest_agent::protocol::Command;
use meter::budget::Budget;
use meter::measurement::{Measurement, SCHEMA, Settings, SharedTraffic, WorkloadResult};
use meter::report::Check;
use meter::{Meter, SharedMeter, report};
use oracle::OracleSettings;

use self::files::Pictures;
use self::passes::LaterWindow;
use self::workload::Measuring;
use super::agent::Agent;
use super::checks;
use super::guest;
use super::run::{self, build_report};
use super::scenario::{Outcome, Stage, Stop};
use super::stop::StopRequest;
use super::vm::Vm;
use super::watch::Watch;
use crate::cli::MeasureArgs;
use crate::exit::ExitError;
use crate::host;
use crate::progress::{Phase, Progress};

/// Prepares the guest, measures it, and writes what came out.
pub(crate) fn run(args: &MeasureArgs, kvm: report::Kvm, progress: &Progress) -> Result<(), ExitError> {
    let stop = StopRequest::catch_signals()?;
    host::raise_descriptor_limit();
    let guest = guest::prepare(&args.run, progress)?;
    let meter = SharedMeter::new(Meter::new());
    let traffic = SharedTraffic::default();
    let judging = oracle_settings(args, kvm);
    let watch = Watch {
        meter: meter.clone(),
        traffic: Some(traffic.clone()),
        oracle: args.oracle.then_some(judging),
    };
    let mut vm = Vm::start(&args.run, &guest, watch, stop)?;

    let mut outcome = Outcome::default();
    let mut pictures = Pictures::default();
    let (workloads, later) = {
        let mut stage = Stage {
            agent: Agent::new(vm.machine().agent().clone()),
            clock: vm.clock(),
            vm: &mut vm,
            meter: meter.clone(),
            progress,
            results: &args.run.results,
            pointer: args.run.pointer,
            until: Instant::now() + args.run.timeout,
            dirt_wanted: args.run.video.dirt,
            repaint: args.run.video.repaint,
            repeat: None,
        };
        let mut measuring = Measuring {
            args,
            grace: Duration::from_nanos(judging.grace_ns),
            traffic: &traffic,
            pictures: &mut pictures,
            outcome: &mut outcome,
            later: Vec::new(),
        };
        let workloads = stage.measure(&mut measuring)?;
        let later = measuring.later;
        // A guest that is gone already cannot be asked; how it went is known then.
        let _ = stage.agent.tell(Command::PowerOff);
        (workloads, later)
    };
    run::wait_for_power_off(&mut vm);
    vm.stop()?;
    let duration = Duration::from_nanos(vm.clock().now_ns());
    outcome.checks.push(vm.end_check());

    progress.begin(Phase::Report);
    let mut limits = run::test_equipment(&args.run);
    limits.append(&mut outcome.left_out);
    limits.extend(vm.guest_log().summary());
    limits.extend(guest.sha256.digits().err().map(str::to_owned));
    let report = build_report(&args.run, kvm, &guest, &vm, &meter, outcome, duration);
    limits.extend(LIMITS.map(str::to_owned));
    let mut measurement = Measurement {
        schema: SCHEMA.to_owned(),
        host: report.host,
        guest: report.guest,
        device: report.device,
        settings: settings(args, &judging),
        workloads,
        checks: report.checks,
        limits,
    };
    judge(&mut measurement, &later, args);
    if let Some(directory) = args.run.results.directory() {
        files::write(directory, &measurement, &pictures)?;
        progress.done(&directory.display().to_string());
    } else {
        progress.done("");
    }
    table::print(&measurement);
    if vm.interrupted() {
        return Err(ExitError::check_failed("stopped by a signal before the measurement was over"));
    }
    table::verdict(&measurement)
}

/// Two refresh periods of hyperv_fb.
const GRACE: Duration = Duration::from_millis(100);
/// The same where the guest's timers are late by tenths of a second, because its processor is emulated.
const LAB_GRACE: Duration = Duration::from_secs(1);

/// What no measurement of this schema can know.
const LIMITS: [&str; 4] = [
    "a pixel that changed and changed back between two looks at the log is not seen",
    "what the guest drew and never copied to its VRAM is not seen by the oracle; stale_tiles finds it where the guest can say what it drew",
    "written_pages are pages of 4 KiB, 1024 pixels each: they are not pixels that changed",
    "messages that the guest dropped because its ring was full never reach the host and are not counted; ring_full says how often there was no room for one when the host looked",
];

fn oracle_settings(args: &MeasureArgs, kvm: report::Kvm) -> OracleSettings {
    let grace = args.grace.unwrap_or(if kvm == report::Kvm::Lab { LAB_GRACE } else { GRACE });
    let grace_ns = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
    OracleSettings { grace_ns, ..OracleSettings::default() }
}

fn settings(args: &MeasureArgs, judging: &OracleSettings) -> Settings {
    let OracleSettings { grace_ns, sample_ns, tile_px, .. } = *judging;
    Settings {
        grace_ms: grace_ns / 1_000_000,
        sample_ms: sample_ns / 1_000_000,
        tile_px,
        seed: args.seed,
        scale_percent: args.scale_percent,
        oracle: args.oracle,
    }
}

/// Adds a check for each limit of the budget, the user's or the driver's.
fn judge(measurement: &mut Measurement, later: &[LaterWindow], args: &MeasureArgs) {
    let (driver, kernel) = (measurement.guest.driver.as_deref(), measurement.guest.kernel.as_deref());
    let budget = match &args.budget {
        Some(file) => Some(file.budget.clone()),
        None => Budget::stock(driver, kernel)
            .map(|budget| if args.oracle { budget } else { budget.without_oracle() }),
    };
    match budget {
        Some(budget) => {
            let mut checks = budget.evaluate(measurement);
            for LaterWindow { label, result } in later {
                hold_to(&mut checks, label, budget.evaluate_one(result));
            }
            measurement.checks.extend(checks);
        }
        None => {
            let driver = driver.unwrap_or("the driver");
            measurement.limits.push(format!("there is no budget for {driver}: nothing bounds its traffic"));
        }
    }
}

/// A limit that the first window kept, and the one called `label` did not, is broken.
fn hold_to(checks: &mut [Check], label: &str, of_window: Vec<Check>) {
    for broken in of_window.into_iter().filter(|check| !check.passed) {
        if let Some(check) = checks.iter_mut().find(|check| check.passed && check.name == broken.name) {
            *check = Check { detail: format!("{} ({label})", broken.detail), ..broken };
        }
    }
}

impl Stage<'_, '_> {
    /// Boots the guest, then one workload after the other. One that does not come to its end is the last.
    fn measure(&mut self, measuring: &mut Measuring<'_>) -> Result<Vec<WorkloadResult>, ExitError> {
        let mut workloads = Vec::new();
        let ended = self.boot(measuring.outcome).and_then(|_| self.workloads(measuring, &mut workloads));
        match ended {
            Ok(()) => {}
            Err(Stop::Ours(error)) => return Err(error),
            Err(Stop::Guest(reason)) => {
                self.progress.failed();
                measuring.outcome.checks.push(checks::check("workloads", false, reason));
            }
        }
        Ok(workloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_that_only_a_later_window_breaks_is_broken_and_the_window_is_named() {
        let check = |name: &str, passed| Check { name: name.into(), passed, detail: name.to_uppercase() };
        let mut checks = vec![check("box.a", true), check("box.b", false), check("box.c", true)];
        let window = vec![check("box.a", true), check("box.b", false), check("box.c", false)];
        hold_to(&mut checks, "window 2 of 3", window);
        hold_to(&mut checks, "window 3 of 3", vec![check("box.c", false)]);
        let told: Vec<(bool, &str)> =
            checks.iter().map(|check| (check.passed, check.detail.as_str())).collect();
        assert_eq!(told, [(true, "BOX.A"), (false, "BOX.B"), (false, "BOX.C (window 2 of 3)")]);
    }
}
