//! The workload that is a program of the user's own.

use std::{
    collections::VecDeque,
    io::{self, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use guest_agent::{protocol::Event, workload::EXEC_PROGRAM};

use super::{Outcome, Size};
use crate::port::Port;

/// How long the program may run at 100 percent.
const LIMIT_MS: u64 = 60_000;
/// How long its output may still come after its end, from children that it left behind.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// How much of the end of its output is passed on.
const TAIL_BYTES: usize = 4096;

/// Runs the program. Its seed and scale are in the environment, as `WORKLOAD_SEED` and `WORKLOAD_SCALE_PERCENT`.
pub(super) fn run(size: Size, port: &mut Port) -> Result<Outcome, String> {
    let limit = Duration::from_millis(size.of(LIMIT_MS)?);
    if !Path::new(EXEC_PROGRAM).exists() {
        return Err(format!("there is no {EXEC_PROGRAM} in the initramfs"));
    }
    let cannot = |error: io::Error| format!("cannot run {EXEC_PROGRAM}: {error}");
    let (mut output, input) = io::pipe().map_err(cannot)?;
    let mut command = Command::new(EXEC_PROGRAM);
    command
        .env_clear()
        .env("FRAMEBUFFER", "/dev/fb0")
        .env("WORKLOAD_SEED", size.seed.to_string())
        .env("WORKLOAD_SCALE_PERCENT", size.scale_percent.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(input.try_clone().map_err(cannot)?)
        .stderr(input);
    let mut child = command.spawn().map_err(cannot)?;
    // It holds the pipe's other end, which would keep the output from ending.
    drop(command);
    let (done, tail) = channel();
    thread::spawn(move || {
        let mut last = VecDeque::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            last.extend(buffer.get(..count).unwrap_or_default());
            last.drain(..last.len().saturating_sub(TAIL_BYTES));
        }
        // Nobody waits any more if something that it left behind kept the pipe open.
        let _ = done.send(Vec::from(last));
    });
    let ended = wait(&mut child, limit);
    match tail.recv_timeout(OUTPUT_WAIT) {
        Ok(text) if text.is_empty() => {}
        Ok(text) => port.send(&Event::Log { text: String::from_utf8_lossy(&text).into_owned() }),
        Err(_) => port.send(&Event::Log { text: format!("{EXEC_PROGRAM} left its output open") }),
    }
    match ended.map_err(cannot)? {
        Some(status) if status.success() => Ok(Outcome::plain(1)),
        Some(status) => Err(format!("{EXEC_PROGRAM} ended with {status}")),
        None => Err(format!("{EXEC_PROGRAM} was killed after {} ms", limit.as_millis())),
    }
}

/// Waits for its end; none if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
