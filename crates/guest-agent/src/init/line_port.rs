//! Passes lines between a virtio port of the lab and a unix socket of the program in it.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use guest_agent::lab::{LINE_PORT, LineAnswer, LineRequest};
use guest_agent::lines::{LineReader, encode};

/// How long the program may take for an answer.
const ANSWER: Duration = Duration::from_secs(45);
/// Most bytes of an answer.
const ANSWER_MAX: u64 = 16 << 10;
/// How long to wait while nobody is at the other end.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves the port on a thread of its own, to the end of the lab.
///
/// # Errors
/// The lab has no such port.
pub(crate) fn serve(socket: &str) -> io::Result<()> {
    let mut port = OpenOptions::new().read(true).write(true).open(find()?)?;
    let socket = PathBuf::from(socket);
    thread::spawn(move || {
        let mut lines = LineReader::new();
        let mut buffer = [0; 4096];
        loop {
            let Ok(count @ 1..) = port.read(&mut buffer) else {
                thread::sleep(PAUSE);
                continue;
            };
            let mut requests: Vec<LineRequest> = Vec::new();
            // What is no request has nobody who waits for an answer.
            lines.push(buffer.get(..count).unwrap_or_default(), |request| requests.extend(request.ok()));
            for LineRequest { id, line } in requests {
                let line = pass(&socket, &line).unwrap_or_else(|error| {
                    let reason = format!("the program does not answer: {error}");
                    serde_json::json!({ "ok": false, "error": reason }).to_string()
                });
                // Nobody at the other end any more: the next request will tell.
                let _ = port.write_all(&encode(&LineAnswer { id, line }));
            }
        }
    });
    Ok(())
}

fn pass(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).take(ANSWER_MAX).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// The device node of the port by its name.
fn find() -> io::Result<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports")?.flatten();
    let named = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == LINE_PORT)
    };
    let port = ports.into_iter().find(named);
    let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no port {LINE_PORT}")))?;
    Ok(Path::new("/dev").join(port.file_name()))
}
