//! `cargo xtask check`: everything about the code that is not a test, and `cargo xtask ci`.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{graph, licences, process, setup, source_rules};

type Check = fn(&Workspace) -> Result<(), Failure>;

/// The checks, quick ones first.
const CHECKS: [(&str, Check); 7] = [
    ("setup", |_| setup::execute()),
    ("format", |workspace| cargo(workspace, &["fmt", "--all", "--check"])),
    ("source rules", source_rules::execute),
    ("crate graph", graph::execute),
    ("lints", |workspace| {
        cargo(workspace, &["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"])
    }),
    ("documentation", documentation),
    ("licences", licences::execute),
];

/// Runs every check, whatever the others say, and lists the times.
pub(crate) fn execute(workspace: &Workspace) -> Result<(), Failure> {
    let mut ended = Vec::new();
    for (name, check) in CHECKS {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = check(workspace);
        if let Err(failure) = &result {
            failure.tell();
        }
        ended.push((name, started.elapsed(), result.is_ok()));
    }
    println!("\n{}", table(&ended));
    let failed: Vec<&str> = ended.iter().filter(|(_, _, good)| !good).map(|(name, _, _)| *name).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::check(format!("checks failed: {}", failed.join(", "))))
    }
}

/// Runs the very script that CI runs, so that there is one list of what must hold.
pub(crate) fn execute_as_ci(workspace: &Workspace) -> Result<(), Failure> {
    let script = workspace.root().join(".ci/run");
    let mut run = Command::new(&script);
    run.current_dir(workspace.root());
    let status = run.status().map_err(|error| process::cannot_start(&run, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::passed_on(1)) }
}

fn cargo(workspace: &Workspace, words: &[&str]) -> Result<(), Failure> {
    process::run(Command::new(workspace.cargo()).args(words).current_dir(workspace.root()))
}

fn documentation(workspace: &Workspace) -> Result<(), Failure> {
    let mut doc = Command::new(workspace.cargo());
    doc.args(["doc", "--locked", "--workspace", "--no-deps"])
        .current_dir(workspace.root())
        .env("RUSTDOCFLAGS", "--deny warnings");
    process::run(&mut doc)
}

fn table(ended: &[(&str, Duration, bool)]) -> String {
    let row = |(name, took, good): &(&str, Duration, bool)| {
        let verdict = if *good { "ok" } else { "FAILED" };
        format!("{name:<14} {:7.1} s  {verdict}", took.as_secs_f64())
    };
    ended.iter().map(row).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_tells_time_and_verdict_of_each_check() {
        let text = table(&[
            ("format", Duration::from_millis(1500), true),
            ("lints", Duration::from_secs(70), false),
        ]);
        assert_eq!(text, "format             1.5 s  ok\nlints             70.0 s  FAILED");
    }
}
