//! `vmbus-emu doctor`: shows what this host can do.

use crate::cli::DoctorArgs;
use crate::exit::ExitError;
use crate::progress::Progress;

pub(crate) fn execute(_args: &DoctorArgs, _progress: &Progress) -> Result<(), ExitError> {
    Err(ExitError::cannot_run("`doctor` is not built yet"))
}
