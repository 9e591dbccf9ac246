//! Takes clients, one thread each, and hands their lines to whoever performs them.

use std::io::{BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{ClaimedSocket, Perform, read_line, refusal};
use crate::exit::ExitError;

/// Clients at a time.
const CLIENTS_MAX: usize = 8;
/// How long a client may say nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const WRITE: Duration = Duration::from_secs(10);
/// How often the stop flag is looked at.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A control socket that is served. Dropping it ends that and removes the socket.
#[derive(Debug)]
pub(crate) struct ControlServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Serves `socket` from now on.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn start(socket: ClaimedSocket, performer: Arc<dyn Perform>) -> Result<Self, ExitError> {
        let failed = |error| ExitError::cannot_run(format!("the control socket cannot be served: {error}"));
        socket.listener().set_nonblocking(true).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
            let clients = Arc::new(AtomicUsize::new(0));
            while !seen.load(Ordering::Acquire) {
                let mut fds = [PollFd::from_borrowed_fd(socket.listener().as_fd(), PollFlags::IN)];
                // Interrupted or over: the flag is looked at either way.
                let _ = poll(&mut fds, Some(&LOOK_UP));
                if let Ok((stream, _)) = socket.listener().accept() {
                    take(stream, &clients, &performer);
                }
            }
        });
        Ok(Self { stop, thread: Some(thread.map_err(failed)?) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control socket's thread panicked");
        }
    }
}

/// Serves a client on a thread of its own, which ends with its connection.
fn take(stream: UnixStream, clients: &Arc<AtomicUsize>, performer: &Arc<dyn Perform>) {
    let (clients, performer) = (Place::in_line(clients), Arc::clone(performer));
    let spawned = std::thread::Builder::new().name("control-client".into()).spawn(move || {
        if let Err(error) = serve(&stream, &clients, &*performer) {
            tracing::debug!("a client of the control socket is gone: {error}");
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("a client of the control socket is turned away: {error}");
    }
}

/// One of the clients that are there.
struct Place {
    count: Arc<AtomicUsize>,
    before: usize,
}

impl Place {
    fn in_line(count: &Arc<AtomicUsize>) -> Self {
        Self { count: Arc::clone(count), before: count.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: &UnixStream, place: &Place, performer: &dyn Perform) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(WRITE))?;
    let mut writer = stream;
    let mut answer = |mut answer: Vec<u8>| {
        answer.push(b'\n');
        writer.write_all(&answer)
    };
    if place.before >= CLIENTS_MAX {
        return answer(refusal(format!("{CLIENTS_MAX} clients are there already")).to_string().into_bytes());
    }
    let mut reader = BufReader::new(stream);
    loop {
        match read_line(&mut reader) {
            Ok(Some(line)) => answer(performer.perform(&line))?,
            Ok(None) => return Ok(()),
            Err(error) => {
                answer(refusal(error.to_string()).to_string().into_bytes())?;
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, Read as _};

    use super::super::LINE_MAX;
    use super::*;

    /// Says what it was asked, backwards.
    struct Backwards;

    impl Perform for Backwards {
        fn perform(&self, line: &[u8]) -> Vec<u8> {
            line.iter().rev().copied().collect()
        }
    }

    fn served() -> (tempfile::TempDir, std::path::PathBuf, ControlServer) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let server = ControlServer::start(ClaimedSocket::at(&path).unwrap(), Arc::new(Backwards)).unwrap();
        (dir, path, server)
    }

    fn line(stream: &UnixStream) -> String {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn clients_are_answered_line_by_line_while_one_of_them_sleeps() {
        let (_dir, path, server) = served();
        let sleeper = UnixStream::connect(&path).unwrap();
        for _ in 0..20 {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"abc\n").unwrap();
            assert_eq!(line(&client), "cba\n");
            client.write_all(b"12\n").unwrap();
            assert_eq!(line(&client), "21\n");
            // Its thread is over when the connection is, and only then is its place free.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        drop(sleeper);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn line_without_end_is_refused_with_the_limit() {
        let (_dir, path, _server) = served();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(&vec![b'x'; LINE_MAX]).unwrap();
        assert!(line(&client).contains(&format!("longer than {LINE_MAX} bytes")));
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let (_dir, path, _server) = served();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS_MAX {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"x\n").unwrap();
            assert_eq!(line(&client), "x\n");
            clients.push(client);
        }
        let over = UnixStream::connect(&path).unwrap();
        assert!(line(&over).contains("8 clients are there already"));
    }
}
