//! `vmbus-emu`: a KVM host for Linux's Hyper-V video drivers.
//!
//! The program is glue: it reads arguments into checked values ([`cli`]), carries out one command
//! ([`commands`]) and ends with one of four statuses ([`exit`]). Protocols and devices live in the libraries.

mod cli;
mod commands;
mod control;
mod exit;
mod host;
mod machine;
mod output;
mod progress;
mod session;

use std::process::ExitCode;

use cli::Command;
use exit::ExitError;
use progress::Progress;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(stop) => return stop.tell(),
    };
    let progress = Progress::new(invocation.progress);
    progress::log_to(&progress, invocation.verbosity);
    match execute(&invocation.command, &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress.failed();
            if !error.is_told() {
                progress.suspend(|| eprintln!("{error}"));
            }
            error.code()
        }
    }
}

fn execute(command: &Command, progress: &Progress) -> Result<(), ExitError> {
    match command {
        Command::Run(args) => commands::run::execute(args, progress),
        Command::Measure(args) => commands::measure::execute(args, progress),
        Command::Compare(args) => commands::compare::execute(args, progress),
        Command::Sim(args) => commands::sim::execute(args, progress),
        Command::Ctl(args) => commands::ctl::execute(args),
        Command::Doctor(args) => commands::doctor::execute(args, progress),
    }
}
