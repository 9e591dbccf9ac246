//! `vmbus-emu sim`: runs the simulated guest.

use crate::cli::SimArgs;
use crate::exit::ExitError;
use crate::progress::Progress;

pub(crate) fn execute(_args: &SimArgs, _progress: &Progress) -> Result<(), ExitError> {
    Err(ExitError::cannot_run("`sim` is not built yet"))
}
