//! `vmbus-emu measure`: puts workloads on a guest's driver, here or in the KVM lab.

use crate::cli::MeasureArgs;
use crate::exit::ExitError;
use crate::host::{self, Place};
use crate::progress::Progress;
use crate::session;

/// Decides where the guest's code runs, and measures it there.
pub(crate) fn execute(args: &MeasureArgs, progress: &Progress) -> Result<(), ExitError> {
    match host::place(args.run.kvm)? {
        Place::Here(kvm) => session::measure::run(args, kvm, progress),
        Place::Lab { reason } => {
            if let Some(reason) = reason {
                progress.suspend(|| eprintln!("kvm: lab ({reason})"));
            }
            session::lab::measure(args, progress)
        }
    }
}
