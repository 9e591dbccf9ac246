//! One attempt at a job: QEMU from its start to its end, with an eye on the clock.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{ChildStdin, ChildStdout},
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use guest_agent::{
    lab::{LabEvent, LabRequest},
    lines::{LineFault, LineReader, encode},
};

use super::{Lab, LabError, LabJob, LabOutput, ProgramEnd, image::JobImage, qemu::Qemu};

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    Finished { end: ProgramEnd, boot_ms: u64, run_ms: u64 },
    Hung { reason: String },
}

/// How often the caller's stop flag and the clock are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often a lab that has booted is woken, by an empty line on its second serial port.
///
/// A lab was seen whose processor slept, with no timer of QEMU's due, until a byte came here. The probable reason: QEMU changes a
/// processor's pending interrupts without a lock where a nested guest is entered and left (`do_vmexit`), and loses one that another
/// thread has just added. It stays in the local APIC until the next one comes; if it was the timer's, which is set for one shot at a
/// time, and the lab is idle, then there is no next one.
const WAKE: Duration = Duration::from_millis(500);

/// How long the program has after SIGINT.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// How long the lab has to power off after the program.
const POWER_OFF_GRACE: Duration = Duration::from_secs(10);

/// Events on their way to the caller. A lab that prints faster than its caller reads waits.
const EVENTS_IN_FLIGHT: usize = 1024;

/// Lines of the console in an error.
const TAIL_LINES: usize = 12;

pub(super) fn run(
    lab: &Lab,
    job: &LabJob,
    image: &JobImage,
    console_log: &Path,
    output: &mut dyn FnMut(LabOutput),
) -> Result<AttemptEnd, LabError> {
    let (mut qemu, stdin, stdout) = Qemu::start(lab, image, job, console_log)
        .map_err(|source| LabError::Io { action: format!("start {}", lab.qemu.display()), source })?;
    let events = read_events(stdout);
    let now = Instant::now();
    let mut attempt = Attempt { job, stdin, start: now, boot_ms: None, woken: now, stopping: None };
    loop {
        match events.recv_timeout(TICK) {
            Ok(Ok(event)) => {
                if let Some(end) = attempt.take(event, output).map_err(|reason| early(reason, console_log))? {
                    power_off(&mut qemu);
                    return Ok(end);
                }
            }
            Ok(Err(fault)) => tracing::warn!(%fault, "the KVM lab's init"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let complaint = qemu.wait_for_complaint();
                return match last_words(console_log) {
                    Some(reason) => Ok(AttemptEnd::Hung { reason }),
                    None => Err(early(complaint, console_log)),
                };
            }
        }
        if let Some(reason) = attempt.overdue() {
            return Ok(AttemptEnd::Hung { reason });
        }
        attempt.wake();
        attempt.stop_if_asked()?;
    }
}

struct Attempt<'a> {
    job: &'a LabJob,
    stdin: ChildStdin,
    start: Instant,
    boot_ms: Option<u64>,
    /// When the lab was woken last.
    woken: Instant,
    stopping: Option<Instant>,
}

impl Attempt<'_> {
    /// The end, if this event is it; an error if the lab could not do the job.
    fn take(
        &mut self,
        event: LabEvent,
        output: &mut dyn FnMut(LabOutput),
    ) -> Result<Option<AttemptEnd>, String> {
        match event {
            LabEvent::Hello { release, boot_ms: _ } => {
                let ms = milliseconds(self.start);
                self.boot_ms = Some(ms);
                output(LabOutput::Booted { release, ms });
            }
            LabEvent::Started { at_ms: _ } => output(LabOutput::Started),
            LabEvent::Stdout { text } => output(LabOutput::Stdout(text)),
            LabEvent::Stderr { text } => output(LabOutput::Stderr(text)),
            LabEvent::Exited { code, signal, run_ms } => {
                let end = match (code, signal) {
                    (Some(code), _) => ProgramEnd::Code(code),
                    (None, signal) => ProgramEnd::Signal(signal.unwrap_or_default()),
                };
                let boot_ms = self.boot_ms.unwrap_or_default();
                return Ok(Some(AttemptEnd::Finished { end, boot_ms, run_ms }));
            }
            LabEvent::Failed { reason } => return Err(reason),
        }
        Ok(None)
    }

    fn overdue(&self) -> Option<String> {
        let elapsed = self.start.elapsed();
        if self.boot_ms.is_none() && elapsed > self.job.boot_timeout {
            return Some(format!("no init after {} s", self.job.boot_timeout.as_secs()));
        }
        (elapsed > self.job.timeout).then(|| format!("not done after {} s", self.job.timeout.as_secs()))
    }

    /// Interrupts the lab if it is time, which takes care of an interrupt that it has lost. Its init skips empty lines.
    fn wake(&mut self) {
        // Before its init runs nobody has switched the port's interrupt on.
        if self.boot_ms.is_none() || self.woken.elapsed() < WAKE {
            return;
        }
        self.woken = Instant::now();
        // A lab that has ended needs none; that it has is seen by its other pipe.
        let _ = self.stdin.write_all(b"\n").and_then(|()| self.stdin.flush());
    }

    fn stop_if_asked(&mut self) -> Result<(), LabError> {
        if !self.job.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.stopping {
            // Before its init runs there is nothing in the lab that could listen.
            None if self.boot_ms.is_none() => Err(LabError::Stopped),
            None => {
                self.stopping = Some(Instant::now());
                let written = self.stdin.write_all(&encode(&LabRequest::Interrupt));
                written.and_then(|()| self.stdin.flush()).map_err(|_| LabError::Stopped)
            }
            Some(since) if since.elapsed() > STOP_GRACE => Err(LabError::Stopped),
            Some(_) => Ok(()),
        }
    }
}

/// Reads events on a thread of its own, to the end of QEMU.
fn read_events(mut stdout: ChildStdout) -> Receiver<Result<LabEvent, LineFault>> {
    let (sender, receiver) = sync_channel(EVENTS_IN_FLIGHT);
    thread::spawn(move || {
        let mut lines = LineReader::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            let mut caller_is_gone = false;
            lines.push(buffer.get(..count).unwrap_or_default(), |event| {
                caller_is_gone |= sender.send(event).is_err();
            });
            if caller_is_gone {
                return;
            }
        }
    });
    receiver
}

/// Waits a moment for the lab to end by itself, so that its console log is whole; dropping it would kill it.
fn power_off(qemu: &mut Qemu) {
    let start = Instant::now();
    while !qemu.has_ended() && start.elapsed() < POWER_OFF_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
}

fn early(reason: String, console_log: &Path) -> LabError {
    LabError::EndedEarly { reason, console_tail: tail_of(console_log) }
}

/// What the lab's kernel said when it panicked, if it did: that is no fault of the program's, and another attempt may do.
fn last_words(console_log: &Path) -> Option<String> {
    let bytes = fs::read(console_log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let panic = text.lines().find(|line| line.contains("Kernel panic - not syncing"))?;
    Some(format!("the lab's kernel ended: {}", panic.trim()))
}

/// The last lines of a log.
pub(super) fn tail_of(log: &Path) -> Vec<String> {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| (*line).to_owned()).collect()
}

/// Whole milliseconds since `start`.
pub(super) fn milliseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn lab_is_woken_by_empty_lines_as_soon_as_it_listens() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let job = LabJob::new("/bin/true");
        let long_ago = Instant::now().checked_sub(2 * WAKE).unwrap();
        let (stdin, start) = (cat.stdin.take().unwrap(), long_ago);
        let mut attempt = Attempt { job: &job, stdin, start, boot_ms: None, woken: long_ago, stopping: None };
        attempt.wake();
        assert_eq!(attempt.woken, long_ago, "nobody listens yet");
        attempt.boot_ms = Some(1);
        attempt.wake();
        attempt.wake();
        drop(attempt);
        let output = cat.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"\n", "once in {WAKE:?}");
        LineReader::new().push(&output.stdout, |request: Result<LabRequest, _>| panic!("{request:?}"));
    }

    #[test]
    fn panic_of_the_labs_kernel_is_found_among_what_it_said() {
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), "booting\r\n").unwrap();
        assert_eq!(last_words(log.path()), None);
        let text = "[ 27.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [vmbus-emu:87]\r\n\
                    [ 27.2] Kernel panic - not syncing: softlockup: hung tasks\r\n[ 27.3] Call Trace:\r\n";
        fs::write(log.path(), text).unwrap();
        let said = last_words(log.path()).unwrap();
        assert!(said.ends_with("Kernel panic - not syncing: softlockup: hung tasks"), "{said}");
    }
}
