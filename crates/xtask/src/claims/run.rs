//! A run of the program that leaves one report.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::evidence::Evidence;
use super::place::Place;
use super::section::Section;

/// A run of the program that leaves one report.
pub(super) struct Run {
    /// Of the run, and of its report's file.
    pub(super) name: &'static str,
    /// Words of the command line, without the directory of the results.
    pub(super) words: &'static str,
}

/// Stands for the path of the static program `tests/programs/pixel-storm.rs` in the words of a run.
pub(super) const STORM: &str = "PIXEL-STORM";

pub(super) const fn run(name: &'static str, words: &'static str) -> Run {
    Run { name, words }
}

impl Run {
    /// The command, with its results in `results`; `scratch` has the programs that guests run.
    pub(super) fn command(&self, vmbus_emu: &Path, place: Place, scratch: &Path, results: &Path) -> Command {
        let mut command = Command::new(vmbus_emu);
        let storm = scratch.join("pixel-storm").display().to_string();
        command.args(self.words.split(' ').map(|word| word.replace(STORM, &storm)));
        command.args(place.arguments()).arg("--out").arg(results);
        command
    }

    /// As a reader can type it, for a run that was made in `place`.
    pub(super) fn shown(&self, place: Place) -> String {
        let mut words = vec![self.words.replace(STORM, "target/claims/pixel-storm")];
        words.extend(place.arguments().iter().map(|&word| word.to_owned()));
        format!("vmbus-emu {}", words.join(" "))
    }
}

/// The reports of a section, each with the command that it is of, for a section's `raw`.
pub(super) fn raw(evidence: &Evidence, section: &Section, runs: &[Run]) -> String {
    let mut raw = "Raw, and what was run:\n".to_owned();
    for name in section.reports {
        let command =
            runs.iter().find(|run| run.name == *name).map(|run| run.shown(Place::of(evidence, name)));
        let command = command.map_or_else(|| "see claims.md".to_owned(), |command| format!("`{command}`"));
        let link = if evidence.has(name) {
            format!("[{name}](claims/{name}.json)")
        } else {
            format!("{name}, not measured")
        };
        // Writing to a String does not fail.
        let _ = write!(raw, "\n- {link}: {command}");
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn program_of_the_guest_is_named_by_its_path() {
        let one = run("storm", "measure --workload exec:PIXEL-STORM,fill");
        let command = one.command(Path::new("/b/vmbus-emu"), Place::Lab, Path::new("/s"), Path::new("/r"));
        let shown = process::shown(&command);
        let expected =
            "/b/vmbus-emu measure --workload exec:/s/pixel-storm,fill --lab-clock instructions --out /r";
        assert_eq!(shown, expected);
        assert!(
            one.shown(Place::Host).ends_with("exec:target/claims/pixel-storm,fill --kvm host"),
            "{}",
            one.shown(Place::Host)
        );
    }
}
