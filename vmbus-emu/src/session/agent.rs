//! The program inside the guest, as the session speaks with it.

use std::time::{Duration, Instant};

use guest_agent::protocol::{
    Command, Done, Driver, Event, FailedModule, FirmwareScreen, Hello, Request, Vcs,
};
use serde_json::Value;

use crate::machine::AgentPort;

/// How often a wait looks up to see whether the machine still runs.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Lines that are read after the machine, or the user, has stopped: what the guest said before its end counts, but
/// one that goes on talking is not listened to for ever.
const LAST_LINES: u32 = 4096;

/// Why a wait for the agent ended without what was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AgentSilence {
    /// Time is up.
    TimedOut,
    /// The machine, or the user, stopped.
    Stopped(String),
    /// The agent answered, but not with success.
    Refused(String),
}

impl std::fmt::Display for AgentSilence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer from the guest in time"),
            Self::Stopped(reason) => write!(f, "the guest is gone: {reason}"),
            Self::Refused(reason) => write!(f, "the guest could not do it: {reason}"),
        }
    }
}

/// What the agent said at start.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    /// Kernel and command line.
    pub(crate) hello: Option<Hello>,
    /// What the kernel made of the firmware's frame buffer.
    pub(crate) firmware_screen: Option<FirmwareScreen>,
    /// Modules that did not load.
    pub(crate) failed_modules: Vec<FailedModule>,
}

/// A part of the introduction, as soon as it is there.
pub(crate) enum Heard<'a> {
    /// The agent runs.
    Hello(&'a Hello),
    /// It has loaded its modules.
    Modules {
        /// How many.
        loaded: usize,
    },
}

/// The conversation on the guest's second serial port.
pub(crate) struct Agent {
    port: AgentPort,
    next_id: u32,
    vcs: Option<Vcs>,
    /// How many of [`LAST_LINES`] are left.
    last_lines: u32,
}

impl Agent {
    pub(crate) fn new(port: AgentPort) -> Self {
        Self { port, next_id: 1, vcs: None, last_lines: LAST_LINES }
    }

    /// Waits for the agent to say who it is and what it finds to draw on.
    ///
    /// `stopped` is asked now and then whether to give up, and why.
    pub(crate) fn introduction(
        &mut self,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(Introduction, Result<Driver, String>), AgentSilence> {
        let mut introduction = Introduction::default();
        loop {
            match self.event(until, stopped)? {
                Event::Hello(said) => {
                    heard(Heard::Hello(&said));
                    introduction.hello = Some(said);
                }
                Event::FirmwareScreen(screen) => introduction.firmware_screen = Some(screen),
                Event::Modules { loaded, failed } => {
                    heard(Heard::Modules { loaded: loaded.len() });
                    introduction.failed_modules = failed;
                }
                Event::Driver(driver) => return Ok((introduction, Ok(driver))),
                Event::NoDriver { reason } => return Ok((introduction, Err(reason))),
                _ => {}
            }
        }
    }

    /// Asks for something and waits until it is done.
    pub(crate) fn ask(
        &mut self,
        command: Command,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Done, AgentSilence> {
        self.ask_and_hear(command, until, stopped, &mut |_| {})
    }

    /// As [`Agent::ask`]; `heard` gets every event that comes before the answer, but the text console.
    pub(crate) fn ask_and_hear(
        &mut self,
        command: Command,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
        heard: &mut dyn FnMut(Event),
    ) -> Result<Done, AgentSilence> {
        let id = self.tell(command)?;
        loop {
            match self.event(until, stopped)? {
                Event::Done(done) if done.id == id => {
                    return match done.error {
                        None if done.ok => Ok(done),
                        error => Err(AgentSilence::Refused(error.unwrap_or_default())),
                    };
                }
                Event::Vcs(vcs) => self.vcs = Some(vcs),
                other => heard(other),
            }
        }
    }

    /// Asks for something that ends the guest, so that no answer will come.
    pub(crate) fn tell(&mut self, command: Command) -> Result<u32, AgentSilence> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Request { id, command })
            .map_err(|error| AgentSilence::Refused(error.to_string()))?;
        line.push(b'\n');
        self.port.write(&line).map_err(|error| AgentSilence::Stopped(error.to_string()))?;
        Ok(id)
    }

    /// The text console as the guest's kernel holds it.
    pub(crate) fn text_console(
        &mut self,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Vcs, AgentSilence> {
        self.vcs = None;
        self.ask(Command::Vcs, until, stopped)?;
        self.vcs.take().ok_or_else(|| AgentSilence::Refused("no text came with the answer".into()))
    }

    fn event(
        &mut self,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Event, AgentSilence> {
        loop {
            // Looked at before each line, because a guest may send one after the other without end.
            let stop = stopped();
            if Instant::now() >= until {
                return Err(stop.map_or(AgentSilence::TimedOut, AgentSilence::Stopped));
            }
            let line = match stop {
                None => self.port.line(LOOK_UP),
                Some(reason) => {
                    let last = self.port.line(Duration::ZERO).filter(|_| self.last_lines > 0);
                    self.last_lines = self.last_lines.saturating_sub(1);
                    Some(last.ok_or(AgentSilence::Stopped(reason))?)
                }
            };
            let Some(line) = line else { continue };
            match parse(&line) {
                Ok(Event::Log { text }) => tracing::info!("guest: {text}"),
                Ok(event) => return Ok(event),
                // The kernel may write a line of its own to this port; it is the guest's, so never an error.
                Err(error) => tracing::debug!("line that is no event ({error}): {line:?}"),
            }
        }
    }
}

/// The event in a line. Its texts are shown on the user's terminal, so control characters are taken out of them; not out
/// of the text console's cells, which are only compared.
fn parse(line: &str) -> serde_json::Result<Event> {
    let mut value: Value = serde_json::from_str(line)?;
    if value.get("event").is_none_or(|event| event != "vcs") {
        make_printable(&mut value);
    }
    serde_json::from_value(value)
}

fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(fields) => fields.values_mut().for_each(make_printable),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// How a wait for a guest that never ceases to send `line` ends.
    fn wait_for_talker(line: &'static [u8], until: Duration, stop: Option<&str>) -> AgentSilence {
        let port = AgentPort::new();
        let done = Arc::new(AtomicBool::new(false));
        let (mut guest, ended) = (port.clone(), Arc::clone(&done));
        let talker = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                guest.write_all(line).unwrap();
                thread::sleep(Duration::from_micros(10));
            }
        });
        let stop = stop.map(str::to_owned);
        let (sender, answer) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let mut agent = Agent::new(port);
            let ended = agent.introduction(Instant::now() + until, &mut || stop.clone(), &mut |_| {});
            // The test may have given up on the answer.
            let _ = sender.send(ended.unwrap_err());
        });
        let ended = answer.recv_timeout(Duration::from_secs(10));
        done.store(true, Ordering::Release);
        talker.join().unwrap();
        waiter.join().unwrap();
        ended.expect("the wait does not end")
    }

    #[test]
    fn guest_that_never_ceases_to_talk_does_not_outlast_the_time_limit() {
        for line in [&b"[    1.0] tick\n"[..], b"{\"event\":\"log\",\"text\":\"tick\"}\n"] {
            assert_eq!(wait_for_talker(line, Duration::from_millis(300), None), AgentSilence::TimedOut);
        }
        let hello = b"{\"event\":\"hello\",\"release\":\"6\",\"cmdline\":\"\",\"boot_ms\":1}\n";
        assert_eq!(wait_for_talker(hello, Duration::from_millis(300), None), AgentSilence::TimedOut);
    }

    #[test]
    fn guest_that_never_ceases_to_talk_does_not_outlast_a_stop() {
        let ended = wait_for_talker(b"tick\n", Duration::from_secs(60), Some("a signal"));
        assert_eq!(ended, AgentSilence::Stopped("a signal".into()));
    }

    #[test]
    fn what_the_guest_said_before_its_end_is_heard() {
        let port = AgentPort::new();
        port.clone().write_all(b"noise\n{\"event\":\"no_driver\",\"reason\":\"none\"}\n").unwrap();
        let mut agent = Agent::new(port);
        let until = Instant::now() + Duration::from_secs(60);
        let (_, driver) = agent.introduction(until, &mut || Some("gone".into()), &mut |_| {}).unwrap();
        assert_eq!(driver, Err("none".into()));
    }

    #[test]
    fn guest_cannot_write_control_characters_to_the_terminal() {
        let line = r#"{"event":"no_driver","reason":"a\u001b[2Jb\nok   pattern"}"#;
        let reason = "a\u{fffd}[2Jb\u{fffd}ok   pattern".to_owned();
        assert_eq!(parse(line).unwrap(), Event::NoDriver { reason });
    }
}
