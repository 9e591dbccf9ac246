//! How the program ends: three kinds of failure, a number for each, one message.

use std::fmt;
use std::process::ExitCode;

/// The reason for a status other than 0, with what the user can do about it.
///
/// Displayed as `error: ...`, and `hint: ...` on a line of its own where there is one.
#[derive(Debug)]
pub(crate) struct ExitError {
    kind: ExitKind,
    message: String,
    hint: Option<String>,
}

/// The kinds of failure, which are the program's exit statuses besides 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// The run came to its end and something that it was to show did not hold.
    CheckFailed = 1,
    /// The command line, or a file that it names, is not something to run.
    Usage = 2,
    /// The command is right, but this host cannot carry it out, or stopped doing so.
    CannotRun = 4,
}

impl ExitError {
    /// A check failed: status 1.
    pub(crate) fn check_failed(message: impl Into<String>) -> Self {
        Self { kind: ExitKind::CheckFailed, message: message.into(), hint: None }
    }

    /// The command line is wrong: status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: ExitKind::Usage, message: message.into(), hint: None }
    }

    /// This host cannot do it: status 4.
    pub(crate) fn cannot_run(message: impl Into<String>) -> Self {
        Self { kind: ExitKind::CannotRun, message: message.into(), hint: None }
    }

    /// A failure that has been told already, by the instance of this program that met it: status only.
    pub(crate) fn told(kind: ExitKind) -> Self {
        Self { kind, message: String::new(), hint: None }
    }

    /// Whether there is nothing more to say.
    pub(crate) fn is_told(&self) -> bool {
        self.message.is_empty()
    }

    /// The same error with advice.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error of a part of the command line.
    #[must_use]
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What went wrong, without advice.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Which of the three it is.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> ExitKind {
        self.kind
    }

    /// The process's status.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_documented_status() {
        for (error, status) in [
            (ExitError::check_failed("x"), 1_u8),
            (ExitError::usage("x"), 2),
            (ExitError::cannot_run("x"), 4),
        ] {
            assert_eq!(error.kind() as u8, status);
            assert_eq!(format!("{:?}", error.code()), format!("{:?}", ExitCode::from(status)));
        }
    }

    #[test]
    fn hint_stands_on_its_own_line() {
        let error = ExitError::cannot_run("no /dev/kvm").with_hint("use --kvm lab");
        assert_eq!(error.to_string(), "error: no /dev/kvm\nhint: use --kvm lab");
    }
}
