//! `cargo xtask`: set-up, demo, tests and checks, the same for people and for CI.
//!
//! Every command ends with 0, with 1 if a check failed, or with 4 if this machine cannot carry it out; `demo`
//! passes on the status of the program that it runs.

mod bench_boot;
mod bless;
mod checks;
mod claims;
mod demo;
mod failure;
mod graph;
mod lab_qemu;
mod licences;
mod matrix;
mod process;
mod setup;
mod source_rules;
mod tally;
mod tests_run;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;
use workspace::Workspace;

/// Set-up, demo, tests and checks of vmbus-emu.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what builds and guests need from Debian; as root or with sudo, without questions.
    Setup,
    /// Build the program, boot Debian's kernel, and leave pictures and a report in target/demo.
    Demo {
        /// More arguments for `vmbus-emu run`.
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Run every test and count them.
    Test {
        /// More arguments for `cargo test`, for example a package to pick.
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Accept the pictures that tests produce now; look at them before they are committed.
    Bless {
        /// Words for `cargo test`, for example the name of one test.
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Run real guests on every kind of machine and print what they agreed on, a row each.
    Matrix(matrix::Options),
    /// Measure what the deferred I/O series claims, what reading the drivers suggests, and how precise that is, and write docs/claims.md,
    /// docs/hypotheses.md and docs/precision.md with the raw reports beside them; half an hour in the KVM lab.
    Claims(claims::Options),
    /// Boot a guest in turn with QEMU, the same kernel to the same line, and measure the program's memory; status 1 beyond a limit.
    BenchBoot {
        /// Options of the bench; --help lists them.
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Build the QEMU of a KVM lab whose clock goes by instructions (vmbus-emu --lab-clock instructions), from Debian's source with one
    /// edit; some three minutes, once.
    LabQemu,
    /// Check formatting, lints, documentation, the crate graph, the source rules and licences.
    Check,
    /// Check that packages use each other in the documented directions, and the source rules; print the graph.
    Graph,
    /// Run what CI runs: every check, then every test.
    Ci,
}

fn main() -> ExitCode {
    let line = Line::parse();
    match execute(&line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn execute(command: &Command) -> Result<(), Failure> {
    let workspace = Workspace::find();
    match command {
        Command::Setup => setup::execute(),
        Command::Demo { more } => demo::execute(&workspace, more),
        Command::Test { more } => tests_run::execute(&workspace, more),
        Command::Bless { more } => bless::execute(&workspace, more),
        Command::Matrix(options) => matrix::execute(&workspace, options),
        Command::Claims(options) => claims::execute(&workspace, options),
        Command::BenchBoot { more } => bench_boot::execute(&workspace, more),
        Command::LabQemu => lab_qemu::execute(&workspace),
        Command::Check => checks::execute(&workspace),
        Command::Graph => {
            let graph = graph::execute(&workspace);
            let rules = source_rules::execute(&workspace);
            graph.and(rules)
        }
        Command::Ci => checks::execute_as_ci(&workspace),
    }
}
