//! The other end: one request, one answer.

use std::io::{BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Request, read_line};
use crate::exit::ExitError;

/// How long an answer may take; a guest has some seconds to change its mode.
const ANSWER: Duration = Duration::from_secs(60);

/// Asks the run behind `socket`.
///
/// # Errors
/// Status 4 if nobody answers; status 1 if the answer is that it was not done.
pub(crate) fn ask(socket: &Path, request: &Request) -> Result<Value, ExitError> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::NotFound => "there is no such socket".to_owned(),
            ErrorKind::ConnectionRefused => "nobody listens there any more".to_owned(),
            _ => error.to_string(),
        };
        ExitError::cannot_run(format!("control socket {shown}: {what}"))
            .with_hint("vmbus-emu run --control PATH makes one for as long as it runs")
    })?;
    let answer = exchange(&stream, request)
        .map_err(|error| ExitError::cannot_run(format!("control socket {shown} gives no answer: {error}")))?;
    match answer.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(answer),
        Some(false) => {
            let reason = answer.get("error").and_then(Value::as_str).unwrap_or("no reason is given");
            Err(ExitError::check_failed(reason))
        }
        None => Err(ExitError::cannot_run(format!("control socket {shown} answers what is no answer"))),
    }
}

fn exchange(stream: &UnixStream, request: &Request) -> std::io::Result<Value> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut writer = stream;
    writer.write_all(&line)?;
    let answer = read_line(&mut BufReader::new(stream))?;
    let answer = answer.ok_or_else(|| std::io::Error::new(ErrorKind::UnexpectedEof, "the run is over"))?;
    Ok(serde_json::from_slice(&answer)?)
}
