//! A step of building something: unseen unless it fails.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Lines of a failed step that are shown.
const SHOWN_LINES: usize = 20;

/// Runs `command` to its end.
///
/// # Errors
/// It cannot be started, or fails: the end of what it said is in the error.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let output = command
        // A make above this one would hand its own jobs and options down.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
    bail!("{command:?} ended with {}:\n{}", output.status, shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_shows_its_status_and_the_end_of_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 100; echo broken >&2; exit 7"]);
        let told = run(command).unwrap_err().to_string();
        assert!(told.contains("exit status: 7") && told.ends_with("\n100\nbroken"), "{told}");
        assert_eq!(told.lines().count(), 1 + SHOWN_LINES, "{told}");
    }

    #[test]
    fn missing_program_is_named() {
        let told = format!("{:#}", run(Command::new("/no/such/program")).unwrap_err());
        assert!(told.starts_with("cannot run /no/such/program: "), "{told}");
    }
}
