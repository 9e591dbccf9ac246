//! Requests passed on to the run inside the KVM lab.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use guest_kit::lab::{LineAnswer, LineRequest};

use super::{Perform, Request, read_line, refusal};

/// How long the run inside may take for an answer.
const ANSWER: Duration = Duration::from_secs(50);

/// Passes lines to the lab's port, one at a time.
pub(crate) struct Relay {
    port: PathBuf,
    /// Directories that the lab shares for writing.
    shared: Vec<PathBuf>,
    /// The port has one line; whoever holds this speaks.
    turn: Mutex<()>,
    next: AtomicU64,
}

impl Relay {
    /// `port` is the socket of the lab's port, which need not be there yet. A picture is taken only to a place below
    /// `shared`: elsewhere it would be lost with the lab.
    pub(crate) fn new(port: PathBuf, shared: Vec<PathBuf>) -> Self {
        Self { port, shared, turn: Mutex::new(()), next: AtomicU64::new(1) }
    }

    fn pass(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        if let Ok(Request::Screenshot { file, .. }) = serde_json::from_slice(line)
            && !self.shared.iter().any(|directory| Path::new(&file).starts_with(directory))
        {
            return Err(format!("{file} is not below --out, and the KVM lab can write nowhere else"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(relay: &Relay, line: &[u8]) -> String {
        String::from_utf8(relay.perform(line)).unwrap()
    }

    #[test]
    fn picture_that_would_be_lost_with_the_lab_is_refused() {
        let relay = Relay::new("/no/port".into(), vec!["/out".into()]);
        let lost = said(&relay, br#"{"command":"screenshot","file":"/outside/a.png"}"#);
        assert!(lost.contains("/outside/a.png is not below --out"), "{lost}");
        let kept = said(&relay, br#"{"command":"screenshot","file":"/out/a.png"}"#);
        assert!(kept.contains("the KVM lab is not up yet"), "{kept}");
    }

    #[test]
    fn answer_to_an_earlier_request_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let port = dir.path().join("port");
        let listener = std::os::unix::net::UnixListener::bind(&port).unwrap();
        let lab = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_line(&mut BufReader::new(&stream)).unwrap().unwrap();
            let request: LineRequest = serde_json::from_slice(&request).unwrap();
            assert_eq!(request.line, r#"{"command":"status"}"#);
            for (id, line) in [(request.id + 7, "late"), (request.id, "right")] {
                let answer = serde_json::to_string(&LineAnswer { id, line: line.into() }).unwrap();
                stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        });
        let relay = Relay::new(port, Vec::new());
        assert_eq!(said(&relay, br#"{"command":"status"}"#), "right");
        lab.join().unwrap();
    }
}
