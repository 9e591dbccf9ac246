//! `vmbus-emu compare`: whether one guest does better than another.

mod reports;
mod rounds;
mod table;

use meter::compare::{Comparison, compare};

use crate::cli::{CompareArgs, Compared, FailOn};
use crate::exit::ExitError;
use crate::output::write_json;
use crate::progress::Progress;

/// Reads or takes the measurements, compares them, and prints what came out.
pub(crate) fn execute(args: &CompareArgs, progress: &Progress) -> Result<(), ExitError> {
    let (a, b) = match &args.compared {
        Compared::Reports { a, b } => (reports::read(a)?, reports::read(b)?),
        Compared::Rounds(rounds) => rounds::measure(rounds, progress)?,
    };
    let comparison = compare(&a, &b);
    if let Some(path) = args.results.report() {
        write_json(&path, &comparison)?;
    }
    table::print(&comparison);
    verdict(args.fail_on, &comparison)
}

fn verdict(fail_on: Option<FailOn>, comparison: &Comparison) -> Result<(), ExitError> {
    let worse: Vec<String> = table::worse(comparison).collect();
    if fail_on == Some(FailOn::Worse) && !worse.is_empty() {
        return Err(ExitError::check_failed(format!("B does worse: {}", worse.join("; "))));
    }
    Ok(())
}
