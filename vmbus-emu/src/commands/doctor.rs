//! `vmbus-emu doctor`: what this host can do, what would be used, and what brings more.

mod findings;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Write as _};

use findings::{Findings, Verdict};

use crate::cli::{DoctorArgs, KvmChoice};
use crate::exit::{ExitError, ExitKind};
use crate::progress::Progress;
use crate::session;

/// Prints everything, and succeeds if a guest can run where `args` want it.
///
/// The lab is booted only when it was asked for: then its own KVM is looked at as well.
pub(crate) fn execute(args: &DoctorArgs, progress: &Progress) -> Result<(), ExitError> {
    let findings = Findings::gather(args.kvm);
    print(&findings.to_string())?;
    match findings.verdict() {
        Verdict::Lab { .. } if args.kvm == KvmChoice::Lab => in_lab(progress),
        verdict => {
            print(&verdict.to_string())?;
            match verdict {
                Verdict::Here { .. } | Verdict::Lab { .. } => Ok(()),
                Verdict::Nowhere { .. } => Err(ExitError::told(ExitKind::CannotRun)),
            }
        }
    }
}

/// The instance inside prints the rest, its verdict included, unless it does not come so far.
fn in_lab(progress: &Progress) -> Result<(), ExitError> {
    session::lab::doctor(progress).inspect_err(|error| {
        if !error.is_told() {
            let verdict = Verdict::Nowhere { reason: "the KVM lab does not work".to_owned() };
            // The error itself follows on standard error in any case.
            let _ = print(&verdict.to_string());
        }
    })
}

/// Writes to standard output. A reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), ExitError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ExitError::cannot_run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
