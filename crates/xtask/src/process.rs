//! Other programs: shown before they start, and a failure of theirs told in one line.

use std::io;
use std::process::{Command, Output, Stdio};

use crate::failure::Failure;

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.contains([' ', '"', '$']) { format!("'{word}'") } else { word.into_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Runs `command` on this terminal, after showing it. A status other than 0 is a failed check.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    eprintln!("$ {}", shown(command));
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::check(format!("`{}` ended with {status}", shown(command))))
}

/// Runs `command` unseen and returns what it wrote, whatever its status.
pub(crate) fn output(command: &mut Command) -> Result<Output, Failure> {
    command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, &error))
}

/// Whether `command` can be started and ends with status 0; what it writes is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The failure of a program that is not there.
pub(crate) fn cannot_start(command: &Command, error: &io::Error) -> Failure {
    Failure::cannot_run(format!("cannot start {}: {error}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_program_is_a_failed_check_with_its_status() {
        let failure = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(failure, Failure::check("`sh -c 'exit 3'` ended with exit status: 3"));
    }

    #[test]
    fn missing_program_cannot_run() {
        let failure = run(&mut Command::new("/no/such/program")).unwrap_err();
        let expected = "cannot start /no/such/program: No such file or directory (os error 2)";
        assert_eq!(failure, Failure::cannot_run(expected));
        assert!(!succeeds(&mut Command::new("/no/such/program")));
    }
}
