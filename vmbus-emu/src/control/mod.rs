//! The control socket: what a person or a test asks of a run while it goes on.
//!
//! A request is a line of JSON, and so is its answer (`docs/control.md`). Each client has a thread of its own, so a slow
//! one holds up neither the guest nor another; what touches a device is a closure on the event thread, as everywhere.

mod claim;
mod client;
mod relay;
mod request;
mod server;
mod session;

pub(crate) use claim::ClaimedSocket;
pub(crate) use client::ask;
pub(crate) use relay::Relay;
pub(crate) use request::{Request, commands_help};
pub(crate) use server::ControlServer;
pub(crate) use session::{SessionControl, SharedEvents};

/// Most bytes of a request or an answer, its line end included.
const LINE_MAX: usize = 16 << 10;

/// Carries out requests.
pub(crate) trait Perform: Send + Sync + 'static {
    /// The answer to one line; neither has a line end. Called on the client's thread, may take a while.
    fn perform(&self, line: &[u8]) -> Vec<u8>;
}

/// The answer that says why not.
fn refusal(reason: impl Into<String>) -> serde_json::Value {
    serde_json::json!({ "ok": false, "error": reason.into() })
}

/// Reads one line of at most [`LINE_MAX`] bytes, without its end; `None` at the end of the stream.
fn read_line(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::{BufRead as _, Read as _};
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() + 1 >= LINE_MAX => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("line is longer than {LINE_MAX} bytes"),
        )),
        // The stream ended in the middle of a line.
        Some(_) => Ok(None),
    }
}
