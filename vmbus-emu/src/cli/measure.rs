//! Arguments of `measure`, checked.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use guest_agent::workload::Workload;
use guest_kit::initramfs::Initramfs;
use meter::budget::Budget;

use super::choices::Scenario;
use super::run::{RunArgs, in_range};
use super::{files, low};
use crate::exit::ExitError;

/// Largest part of a workload's full size, in percent.
const SCALE_MAX: u32 = 1000;
/// How long a measurement may take if nothing is said, in seconds: all workloads in the KVM lab.
const TIMEOUT: u64 = 900;
/// Most windows of one workload, and most rounds with and without the oracle.
const PASSES_MAX: u32 = 100;
/// Longest grace time in milliseconds.
const GRACE_MAX: u64 = 10_000;

/// What to measure, on which guest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MeasureArgs {
    /// The guest and its machine; the results' directory is the report's.
    pub(crate) run: RunArgs,
    /// Workloads in their order.
    pub(crate) workloads: Vec<WorkloadChoice>,
    /// How much of each, in percent of its full size.
    pub(crate) scale_percent: u32,
    /// Seed of what they draw.
    pub(crate) seed: u64,
    /// Limits of the user's.
    pub(crate) budget: Option<BudgetFile>,
    /// Pixels are compared.
    pub(crate) oracle: bool,
    /// A changed pixel that no DIRT covers for so long is missed; if nothing was said, it depends on where the guest runs.
    pub(crate) grace: Option<Duration>,
    /// Each workload once more while no dirt is wanted.
    pub(crate) cost: bool,
    /// So many windows of each workload, if not one.
    pub(crate) repeat: Option<u32>,
    /// So many rounds of each workload with and without the oracle.
    pub(crate) oracle_overhead: Option<u32>,
}

/// A budget of the user's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BudgetFile {
    /// Its file.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) budget: Budget,
}

impl TryFrom<low::Measure> for MeasureArgs {
    type Error = ExitError;

    fn try_from(mut measure: low::Measure) -> Result<Self, ExitError> {
        measure.machine.timeout.get_or_insert(TIMEOUT);
        let workloads = WorkloadChoice::read(&measure.workload)?;
        in_range("--scale", u64::from(measure.scale), 1, u64::from(SCALE_MAX))?;
        if let Some(grace) = measure.grace {
            in_range("--grace", grace, 1, GRACE_MAX)?;
        }
        for (option, passes) in [("--repeat", measure.repeat), ("--oracle-overhead", measure.oracle_overhead)]
        {
            if let Some(passes) = passes {
                in_range(option, u64::from(passes), 1, u64::from(PASSES_MAX))?;
            }
        }
        let budget = measure.budget.map(|path| read_budget(path, &workloads)).transpose()?;
        if measure.machine.initrd.is_some() {
            return Err(ExitError::usage(
                "--initrd: workloads need the guest agent, which an initramfs of your own does not run",
            ));
        }
        let program = workloads.iter().find_map(|workload| match workload {
            WorkloadChoice::Exec(path) => Some(path.clone()),
            WorkloadChoice::Named(_) => None,
        });
        let run = RunArgs::try_from(low::Run {
            machine: measure.machine,
            scenario: Some(Scenario::Boot),
            repeat: None,
            control: None,
            no_reboot: false,
            pointer: false,
            results: low::Results { report: None, out: measure.report },
        })?;
        Ok(Self {
            run: RunArgs { program, ..run },
            workloads,
            scale_percent: measure.scale,
            seed: measure.seed,
            budget,
            oracle: !measure.no_oracle,
            grace: measure.grace.map(Duration::from_millis),
            cost: measure.cost,
            repeat: measure.repeat,
            oracle_overhead: measure.oracle_overhead,
        })
    }
}

impl MeasureArgs {
    /// Files that it reads beside those of its guest.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let programs = self.workloads.iter().filter_map(|workload| match workload {
            WorkloadChoice::Exec(path) => Some(path.clone()),
            WorkloadChoice::Named(_) => None,
        });
        self.budget.iter().map(|budget| budget.path.clone()).chain(programs).collect()
    }
}

/// A workload, as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkloadChoice {
    /// One of the agent's.
    Named(Workload),
    /// A program of the user's that runs in the guest.
    Exec(PathBuf),
}

/// What stands before the path of a program.
const EXEC: &str = "exec:";

impl fmt::Display for WorkloadChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(workload) => f.write_str(workload.name()),
            Self::Exec(path) => write!(f, "{EXEC}{}", path.display()),
        }
    }
}

impl WorkloadChoice {
    /// What the guest is asked for.
    pub(crate) fn workload(&self) -> Workload {
        match self {
            Self::Named(workload) => *workload,
            Self::Exec(_) => Workload::Exec,
        }
    }

    /// The workloads in `names`, or the usual ones if there are none.
    fn read(names: &[String]) -> Result<Vec<Self>, ExitError> {
        if names.is_empty() {
            return Ok(usual());
        }
        let mut choices = Vec::with_capacity(names.len());
        for name in names {
            let choice = Self::read_one(name)?;
            if choices.contains(&choice) {
                return Err(ExitError::usage(format!("--workload: {name} is there twice")));
            }
            choices.push(choice);
        }
        if choices.iter().filter(|choice| choice.workload() == Workload::Exec).count() > 1 {
            return Err(ExitError::usage("--workload: a second program, limit is 1"));
        }
        Ok(choices)
    }

    fn read_one(name: &str) -> Result<Self, ExitError> {
        if let Some(path) = name.strip_prefix(EXEC) {
            let path = std::path::absolute(path)
                .map_err(|error| ExitError::usage(format!("--workload: {name}: {error}")))?;
            files::readable_file("--workload", &path)?;
            Initramfs::default()
                .exec_program(&path)
                .map_err(|error| ExitError::usage(format!("--workload: {error}")))?;
            return Ok(Self::Exec(path));
        }
        let workload: Workload =
            name.parse().map_err(|error| ExitError::usage(format!("--workload: {error}")))?;
        if workload == Workload::Exec {
            return Err(ExitError::usage("--workload: exec needs a program")
                .with_hint("exec:PATH names a static binary that is put into the guest"));
        }
        Ok(Self::Named(workload))
    }
}

/// All but the one that takes minutes and the one that needs a program.
fn usual() -> Vec<WorkloadChoice> {
    let usual = |workload: &Workload| !matches!(workload, Workload::Flood | Workload::Exec);
    Workload::ALL.into_iter().filter(usual).map(WorkloadChoice::Named).collect()
}

/// The table that `--workload help` asks for.
pub(super) fn workload_help() -> String {
    let mut text = String::from("Workloads, at their full size:\n\n");
    for workload in Workload::ALL {
        let name = if workload == Workload::Exec { "exec:PATH" } else { workload.name() };
        text.push_str(&format!(
            "  {name:<10} {}\n  {:<10}   {}\n",
            workload.summary(),
            "",
            workload.purpose()
        ));
    }
    text
}

fn read_budget(path: PathBuf, workloads: &[WorkloadChoice]) -> Result<BudgetFile, ExitError> {
    let refuse =
        |reason: &dyn fmt::Display| ExitError::usage(format!("--budget: {}: {reason}", path.display()));
    files::readable_file("--budget", &path)?;
    let text = fs::read_to_string(&path).map_err(|error| refuse(&error))?;
    let budget: Budget = text.parse().map_err(|error| refuse(&error))?;
    for name in budget.workloads() {
        let known = name.parse::<Workload>().is_ok() || name.starts_with(EXEC);
        if !known && !workloads.iter().any(|workload| workload.to_string() == name) {
            return Err(match name.parse::<Workload>() {
                Err(error) => refuse(&error),
                Ok(_) => refuse(&format!("unknown workload {name}")),
            });
        }
    }
    Ok(BudgetFile { path, budget })
}
