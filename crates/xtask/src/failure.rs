//! Why a command did not succeed, and the status that says so.

use std::process::ExitCode;

/// What is printed and returned when a command fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// A check failed.
    pub(crate) fn check(message: impl Into<String>) -> Self {
        Self { status: 1, message: message.into() }
    }

    /// This machine cannot carry the command out; the message says what it needs.
    pub(crate) fn cannot_run(message: impl Into<String>) -> Self {
        Self { status: 4, message: message.into() }
    }

    /// A program has said all there is to say and ended with `status`.
    pub(crate) fn passed_on(status: u8) -> Self {
        Self { status, message: String::new() }
    }

    /// Writes the message, if any, and gives the status.
    pub(crate) fn tell(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        ExitCode::from(self.status)
    }
}
