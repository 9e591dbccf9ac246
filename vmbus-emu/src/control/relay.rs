//! Requests passed on to the run inside the KVM lab.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use guest_kit::lab::{LineAnswer, LineRequest};

use super::{Perform, read_line, refusal};

/// How long the run inside may take for an answer.
const ANSWER: Duration = Duration::from_secs(50);

/// Passes lines to the lab's port, one at a time.
pub(crate) struct Relay {
    port: PathBuf,
    /// The port has one line; whoever holds this speaks.
    turn: Mutex<()>,
    next: AtomicU64,
}

impl Relay {
    /// `port` is the socket of the lab's port, which need not be there yet.
    pub(crate) fn new(port: PathBuf) -> Self {
        Self { port, turn: Mutex::new(()), next: AtomicU64::new(1) }
    }

    fn pass(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        let line = String::from_utf8(line.to_vec()).map_err(|_| "a request is UTF-8".to_owned())?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let gone = |error: std::io::Error| format!("the KVM lab does not answer: {error}");
        let stream = UnixStream::connect(&self.port).map_err(|_| "the KVM lab is not up yet".to_owned())?;
        stream.set_write_timeout(Some(ANSWER)).map_err(gone)?;
        let mut writer = &stream;
        let mut request = serde_json::to_vec(&LineRequest { id, line }).map_err(|error| error.to_string())?;
        request.push(b'\n');
        writer.write_all(&request).map_err(gone)?;
        let (until, mut reader) = (Instant::now() + ANSWER, BufReader::new(&stream));
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left)).map_err(gone)?;
            let answer = read_line(&mut reader).map_err(gone)?.ok_or("the KVM lab is gone")?;
            // An answer that came too late for the one who asked is still in the line.
            match serde_json::from_slice::<LineAnswer>(&answer) {
                Ok(answer) if answer.id == id => return Ok(answer.line.into_bytes()),
                _ if Instant::now() >= until => return Err("the KVM lab does not answer".into()),
                _ => {}
            }
        }
    }
}

impl Perform for Relay {
    fn perform(&self, line: &[u8]) -> Vec<u8> {
        self.pass(line).unwrap_or_else(|reason| refusal(reason).to_string().into_bytes())
    }
}
