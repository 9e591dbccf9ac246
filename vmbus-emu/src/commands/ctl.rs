//! `vmbus-emu ctl`: asks something of a run that goes on.

use crate::cli::CtlArgs;
use crate::control::{self, Request};
use crate::exit::ExitError;

/// Asks, and prints the answer: the status as JSON, everything else in words.
pub(crate) fn execute(args: &CtlArgs) -> Result<(), ExitError> {
    let answer = control::ask(&args.socket, &args.request)?;
    match (&args.request, answer.get("text").and_then(serde_json::Value::as_str)) {
        (Request::Status, _) | (_, None) => println!("{answer:#}"),
        (_, Some(text)) => println!("{text}"),
    }
    Ok(())
}
