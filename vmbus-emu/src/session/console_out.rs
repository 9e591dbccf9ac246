//! The guest's console on standard output, which may be slow, stalled or closed without the guest noticing.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use crate::exit::ExitError;
use crate::machine::ConsoleCallback;

/// Lines that may wait for a reader that pauses; more are dropped and counted.
const MAX_WAITING_LINES: usize = 4096;

/// A callback for the machine's console that hands lines to a thread of their own.
///
/// The console is written on a vCPU's thread, and that must never wait for whoever reads standard output: a stalled
/// pager would keep the machine from stopping.
pub(crate) fn to_stdout() -> Result<ConsoleCallback, ExitError> {
    let (sender, lines) = sync_channel::<Vec<u8>>(MAX_WAITING_LINES);
    std::thread::Builder::new()
        .name("console".into())
        .spawn(move || {
            for line in lines {
                // Closed: nobody reads any more, now or later.
                if std::io::stdout().write_all(&line).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| ExitError::cannot_run(format!("no thread for the console: {error}")))?;
    Ok(Arc::new(move |line: &[u8]| pass(&sender, line)))
}

/// Passes a line on if there is room. The whole log is in the file; standard output is for looking on.
fn pass(sender: &SyncSender<Vec<u8>>, line: &[u8]) {
    match sender.try_send(line.to_vec()) {
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        Err(TrySendError::Full(_)) => tracing::debug!("a line of the console found nobody to read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_that_pauses_does_not_hold_the_writer() {
        let (sender, lines) = sync_channel(2);
        for _ in 0..100 {
            pass(&sender, b"x\n");
        }
        assert_eq!(lines.try_iter().count(), 2);
        drop(lines);
        pass(&sender, b"x\n");
    }
}
