//! `cargo xtask matrix`: real guests on every kind of machine, one row a combination.
//!
//! A row is a run of the program whose report is compared with what guest and host must agree on. A guest that
//! cannot do what a row asks of it is no failure where its limit is known and its own log shows it.

mod guest_limits;
mod rows;
mod run;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Args;

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{process, setup};
use rows::Row;
use run::Outcome;

/// Names a program that is built already.
const PROGRAM: &str = "VMBUS_EMU_PROGRAM";

/// What to run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// A few rows that between them see each VMBus and video protocol family, a refusal, and Generation 2.
    #[arg(long, conflicts_with = "cpus")]
    fast: bool,
    /// Rows of these guests only.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    guest: Vec<String>,
    /// Rows whose name contains this only.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Instead of combinations: how boot and first DIRT depend on the number of virtual processors.
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Vec<u32>,
    /// How many rows run at once [default: one for each processor of this machine].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
    /// Where reports and consoles of the rows go, and matrix.json and matrix.md [default: target/matrix].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the rows' commands and run nothing.
    #[arg(long)]
    list: bool,
    /// More arguments for every `vmbus-emu run`.
    #[arg(last = true)]
    more: Vec<String>,
}

/// Runs the rows that `options` pick and prints their table; fails if a row does.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let rows = picked(options)?;
    if options.list {
        for row in &rows {
            println!("{:<34} vmbus-emu {}", row.name, row.arguments().join(" "));
        }
        return Ok(());
    }
    let program = program(workspace)?;
    let out = options.out.clone().unwrap_or_else(|| workspace.target().join("matrix"));
    let cannot_write = |error| Failure::cannot_run(format!("cannot write to {}: {error}", out.display()));
    fs::create_dir_all(&out).map_err(cannot_write)?;

    let outcomes = run_all(&rows, &program, &out, options);
    let series = !options.cpus.is_empty();
    print!("{}", table::text(&outcomes, series));
    fs::write(out.join("matrix.md"), table::markdown(&outcomes, series)).map_err(cannot_write)?;
    fs::write(out.join("matrix.json"), table::json(&outcomes)).map_err(cannot_write)?;
    println!("{}", table::summary(&outcomes));
    match outcomes.iter().filter(|outcome| outcome.failed()).count() {
        0 => Ok(()),
        failed => {
            Err(Failure::check(format!("{failed} rows of {} failed, see {}", rows.len(), out.display())))
        }
    }
}

fn picked(options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = match (options.cpus.as_slice(), options.fast) {
        ([], true) => rows::fast(),
        ([], false) => rows::all(),
        (counts, _) => rows::cpu_series(counts, &options.guest)?,
    };
    for name in &options.guest {
        if !rows::GUESTS.iter().any(|guest| guest.name == name) {
            let known = rows::GUESTS.map(|guest| guest.name).join(", ");
            return Err(Failure::check(format!("--guest: unknown guest \"{name}\", known guests: {known}")));
        }
    }
    rows.retain(|row| options.guest.is_empty() || options.guest.iter().any(|name| name == row.guest));
    if let Some(text) = &options.only {
        rows.retain(|row| row.name.contains(text.as_str()));
    }
    if rows.is_empty() {
        return Err(Failure::check("no row is left; --list without other options shows all"));
    }
    Ok(rows)
}

/// The program that `VMBUS_EMU_PROGRAM` names, else one that is built now.
fn program(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if let Some(program) = env::var_os(PROGRAM) {
        return Ok(program.into());
    }
    setup::execute()?;
    let mut build = Command::new(workspace.cargo());
    build.args(["build", "--locked", "--release", "--package", "vmbus-emu"]).current_dir(workspace.root());
    process::run(&mut build)?;
    Ok(workspace.target().join("release/vmbus-emu"))
}

/// Outcomes in the order of the rows.
fn run_all(rows: &[Row], program: &Path, out: &Path, options: &Options) -> Vec<Outcome> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.map_or(processors, usize::from);
    let next = Mutex::new(rows.iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(rows.len()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let turn = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((place, row)) = turn else { return };
                    let outcome = run::carry_out(row, program, &out.join(&row.name), &options.more);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    eprintln!("[{}/{}] {outcome}", done.len() + 1, rows.len());
                    done.push((place, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_picked_by_guest_and_by_name() {
        let options = Options { guest: vec!["debian/7.x".into()], ..Options::default() };
        let rows = picked(&options).unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.guest == "debian/7.x"));
        let options = Options { only: Some("vmbus-2.4".into()), ..Options::default() };
        assert!(picked(&options).unwrap().iter().all(|row| row.name.contains("vmbus-2.4")));
        let options = Options { only: Some("no such row".into()), ..Options::default() };
        assert!(picked(&options).is_err());
    }

    #[test]
    fn unknown_guest_is_quoted_with_the_known() {
        let options = Options { guest: vec!["debian/6.2".into()], ..Options::default() };
        let failure = format!("{:?}", picked(&options).unwrap_err());
        assert!(failure.contains("debian/6.2") && failure.contains("debian/6.12-cloud"), "{failure}");
    }

    #[test]
    fn outcomes_stand_in_the_order_of_the_rows_however_many_run_at_once() {
        let dir = env::temp_dir().join(format!("vmbus-emu-matrix-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let rows = rows::fast();
        let options = Options { jobs: Some(3), ..Options::default() };
        // A program that says nothing and succeeds leaves no report, so that each row fails.
        let outcomes = run_all(&rows, Path::new("/bin/true"), &dir, &options);
        fs::remove_dir_all(&dir).unwrap();
        let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
        assert_eq!(names, rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>());
        assert!(outcomes.iter().all(Outcome::failed));
    }
}
