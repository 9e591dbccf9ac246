//! `vmbus-emu run`: boots a guest.

use crate::cli::RunArgs;
use crate::exit::ExitError;
use crate::progress::Progress;

pub(crate) fn execute(_args: &RunArgs, _progress: &Progress) -> Result<(), ExitError> {
    Err(ExitError::cannot_run("`run` is not built yet"))
}
