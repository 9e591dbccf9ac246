//! `vmbus-emu run`: boots a guest, here or in the KVM lab.

use crate::cli::RunArgs;
use crate::control::ClaimedSocket;
use crate::exit::ExitError;
use crate::host::{self, Place};
use crate::progress::Progress;
use crate::session;

/// Decides where the guest's code runs, and runs it there.
pub(crate) fn execute(args: &RunArgs, progress: &Progress) -> Result<(), ExitError> {
    let socket = args.control.as_deref().map(ClaimedSocket::at).transpose()?;
    match host::place(args.kvm)? {
        Place::Here(kvm) => session::run::run(args, kvm, socket, progress),
        Place::Lab { reason } => {
            if let Some(reason) = reason {
                progress.suspend(|| eprintln!("kvm: lab ({reason})"));
            }
            session::lab::run(args, socket, progress)
        }
    }
}
