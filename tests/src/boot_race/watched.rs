//! A monitor as the process that started it sees it: lines with the time at which they were read.

use std::io::Read;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks at what a monitor says. QEMU passes a serial port on byte by byte: a watcher that woke for each of them would take
/// time from it on a machine with one processor. Both times are late by this at most.
const LOOK: Duration = Duration::from_millis(5);
/// Lines that an error shows.
const SHOWN_LINES: usize = 30;

/// Which of a monitor's streams the lines come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A monitor that runs. It is killed when this is dropped.
pub(super) struct Watched {
    child: Child,
    /// Just before the process was made.
    start: Instant,
    deadline: Instant,
    lines: Receiver<(Instant, String)>,
    said: Vec<String>,
}

impl Watched {
    /// Starts `command`, whose other streams go where it says, with `limit` for all waits.
    pub(super) fn start(command: &mut Command, stream: Stream, limit: Duration) -> Result<Self> {
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let pipe: Option<Box<dyn Read + Send>> = match stream {
            Stream::Stdout => child.stdout.take().map(|pipe| Box::new(pipe) as _),
            Stream::Stderr => child.stderr.take().map(|pipe| Box::new(pipe) as _),
        };
        let pipe = pipe.with_context(|| format!("no pipe to {command:?}"))?;
        Ok(Self { child, start, deadline: start + limit, lines: read_lines(pipe), said: Vec::new() })
    }

    /// Milliseconds from the start to the first line, of those not read yet, for which `wanted` holds.
    pub(super) fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<f64> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((read, line)) => {
                    let found = wanted(&line);
                    self.said.push(line);
                    if found {
                        return Ok(read.duration_since(self.start).as_secs_f64() * 1e3);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.deadline.duration_since(self.start).as_secs();
                    bail!("no {what} after {seconds} s; it said:\n{}", self.said());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("no {what} before its end ({status}); it said:\n{}", self.said());
                }
            }
        }
    }

    /// Waits for its end, which must be a success.
    pub(super) fn succeed(mut self) -> Result<()> {
        while let Ok((_, line)) =
            self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now()))
        {
            self.said.push(line);
        }
        while Instant::now() < self.deadline {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("it ended with {status}; it said:\n{}", self.said());
                }
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        bail!("it does not end; it said:\n{}", self.said())
    }

    fn said(&self) -> String {
        self.said.get(self.said.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own, to the end of the stream.
fn read_lines(mut pipe: Box<dyn Read + Send>) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut buffer, mut partial) = ([0; 4096], Vec::new());
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let now = Instant::now();
            for &byte in buffer.get(..count).unwrap_or_default() {
                if byte != b'\n' {
                    partial.push(byte);
                    continue;
                }
                let line = String::from_utf8_lossy(&std::mem::take(&mut partial)).trim_end().to_owned();
                if sender.send((now, line)).is_err() {
                    return;
                }
            }
            thread::sleep(LOOK);
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn shell(script: &str, limit: Duration) -> Watched {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        Watched::start(&mut command, Stream::Stdout, limit).unwrap()
    }

    #[test]
    fn lines_come_in_order_and_the_end_must_be_a_success() {
        let minute = Duration::from_secs(60);
        let mut good = shell("echo one; echo two; echo three", minute);
        let one = good.wait_for("one", |line| line == "one").unwrap();
        let three = good.wait_for("three", |line| line == "three").unwrap();
        assert!(0.0 < one && one <= three, "{one} {three}");
        good.succeed().unwrap();
        let error = shell("echo why; exit 3", minute).succeed().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("why"), "{error}");
    }

    #[test]
    fn line_that_does_not_come_is_told_with_what_came() {
        let error =
            shell("echo other", Duration::from_secs(60)).wait_for("line", |line| line == "x").unwrap_err();
        assert!(
            error.to_string().starts_with("no line before its end") && error.to_string().contains("other")
        );
        let mut slow = shell("exec sleep 60", Duration::from_millis(50));
        let error = slow.wait_for("line", |_| true).unwrap_err().to_string();
        assert!(error.starts_with("no line after 0 s"), "{error}");
    }
}
