//! From what was typed to values that are ready to build with.
//!
//! Two steps, each in its own types: [`low`] is the command line as clap reads it, nothing checked but its form;
//! [`RunArgs`], [`SimArgs`] and [`DoctorArgs`] are what the commands take: every file was found, every name is
//! known, every place to write to was tried. A command therefore never finds out after a minute of work that its
//! report cannot be written.

mod choices;
mod compare;
mod files;
mod low;
mod measure;
mod relaunch;
mod run;
mod sim;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use device_model::options::DeviceSet;

pub(crate) use choices::{FailOn, Generation, KvmChoice, LabClock, ProgressStyle, Scenario, SynicChoice};
pub(crate) use compare::{CompareArgs, Compared, Rounds};
pub(crate) use measure::{MeasureArgs, WorkloadChoice};
pub(crate) use run::{GuestSource, RunArgs, Userland};
pub(crate) use sim::SimArgs;

use crate::control::Request;
use crate::exit::{ExitError, ExitKind};

/// A whole command line, checked.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What to do.
    pub(crate) command: Command,
    /// How often `-v` was given.
    pub(crate) verbosity: u8,
    /// How progress is to be shown.
    pub(crate) progress: ProgressStyle,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Boot a guest.
    Run(Box<RunArgs>),
    /// Put workloads on a guest and measure.
    Measure(Box<MeasureArgs>),
    /// Compare measurements.
    Compare(CompareArgs),
    /// Run the simulated guest.
    Sim(SimArgs),
    /// Ask something of a run.
    Ctl(CtlArgs),
    /// Show what this host can do.
    Doctor(DoctorArgs),
}

/// Arguments of `ctl`.
#[derive(Debug)]
pub(crate) struct CtlArgs {
    /// Socket of the run.
    pub(crate) socket: PathBuf,
    /// What to ask.
    pub(crate) request: Request,
}

/// Arguments of `doctor`.
#[derive(Debug)]
pub(crate) struct DoctorArgs {
    /// Which KVM to look at.
    pub(crate) kvm: KvmChoice,
}

/// Why there is nothing to execute.
#[derive(Debug)]
pub(crate) enum Stop {
    /// clap has something to say: a form error, or the help that was asked for.
    Clap(clap::Error),
    /// The table that `--device help` asks for.
    DeviceHelp,
    /// The table that `--workload help` asks for.
    WorkloadHelp,
    /// An argument does not do.
    Error(ExitError),
}

impl From<ExitError> for Stop {
    fn from(error: ExitError) -> Self {
        Self::Error(error)
    }
}

impl Stop {
    /// Writes what there is to say and returns the status: 0 for help, 2 for a mistake of form.
    pub(crate) fn tell(&self) -> ExitCode {
        match self {
            Self::Clap(error) => {
                // A closed pipe is no reason for another status: the reader has seen enough.
                let _ = error.print();
                if error.use_stderr() { ExitCode::from(ExitKind::Usage as u8) } else { ExitCode::SUCCESS }
            }
            Self::DeviceHelp => {
                print!("{}", device_model::options::help());
                ExitCode::SUCCESS
            }
            Self::WorkloadHelp => {
                print!("{}", measure::workload_help());
                ExitCode::SUCCESS
            }
            Self::Error(error) => {
                eprintln!("{error}");
                error.code()
            }
        }
    }
}

/// Reads and checks a command line, the program's name first.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let line = low::Line::try_parse_from(words).map_err(Stop::Clap)?;
    let command = match line.command {
        low::Command::Run(run) => {
            stop_for_device_help(&run.machine.device)?;
            Command::Run(Box::new(RunArgs::try_from(run)?))
        }
        low::Command::Measure(measure) => {
            stop_for_device_help(&measure.machine.device)?;
            if measure.workload.iter().any(|name| name == "help") {
                return Err(Stop::WorkloadHelp);
            }
            Command::Measure(Box::new(MeasureArgs::try_from(measure)?))
        }
        low::Command::Compare(compare) => Command::Compare(CompareArgs::try_from(compare)?),
        low::Command::Sim(sim) => {
            stop_for_device_help(&sim.device)?;
            Command::Sim(SimArgs::try_from(sim)?)
        }
        low::Command::Ctl(ctl) => {
            let request = Request::from_words(&ctl.words).map_err(|reason| {
                ExitError::usage(reason).with_hint("vmbus-emu ctl --help lists every command")
            })?;
            Command::Ctl(CtlArgs { socket: ctl.socket, request })
        }
        low::Command::Doctor(doctor) => Command::Doctor(DoctorArgs { kvm: doctor.kvm }),
    };
    Ok(Invocation { command, verbosity: line.verbose, progress: line.progress })
}

fn stop_for_device_help(devices: &[String]) -> Result<(), Stop> {
    if devices.iter().any(|text| text == "help") { Err(Stop::DeviceHelp) } else { Ok(()) }
}

/// Reads the `--device` texts.
fn devices(texts: &[String]) -> Result<DeviceSet, ExitError> {
    DeviceSet::parse(texts.iter().map(String::as_str)).map_err(|error| {
        ExitError::usage(format!("--device: {error}")).with_hint("--device help lists every key")
    })
}
