//! The program inside the guest, as the session speaks with it.

use std::time::{Duration, Instant};

use guest_agent::protocol::{Command, Done, Driver, Event, FailedModule, Hello, Request, Vcs};

use crate::machine::AgentPort;

/// How often a wait looks up to see whether the machine still runs.
const LOOK_UP: Duration = Duration::from_millis(100);

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
    /// Modules that did not load.
    pub(crate) failed_modules: Vec<FailedModule>,
}

/// The conversation on the guest's second serial port.
pub(crate) struct Agent {
    port: AgentPort,
    next_id: u32,
    vcs: Option<Vcs>,
}

impl Agent {
    pub(crate) fn new(port: AgentPort) -> Self {
        Self { port, next_id: 1, vcs: None }
    }

    /// Waits for the agent to say who it is and what it finds to draw on.
    ///
    /// `stopped` is asked now and then whether to give up, and why.
    pub(crate) fn introduction(
        &mut self,
        until: Instant,
        stopped: &mut dyn FnMut() -> Option<String>,
        hello: &mut dyn FnMut(&Hello),
    ) -> Result<(Introduction, Result<Driver, String>), AgentSilence> {
        let mut introduction = Introduction::default();
        loop {
            match self.event(until, stopped)? {
                Event::Hello(said) => {
                    hello(&said);
                    introduction.hello = Some(said);
                }
                Event::Modules { failed, .. } => introduction.failed_modules = failed,
                Event::Driver(driver) => return Ok((introduction, Ok(driver))),
                Event::NoDriver { reason } => return Ok((introduction, Err(reason))),
                Event::Done(_) | Event::Vcs(_) | Event::Log { .. } => {}
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
                _ => {}
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
            if let Some(line) = self.port.line(LOOK_UP) {
                match serde_json::from_str(&line) {
                    Ok(Event::Log { text }) => tracing::info!("guest: {text}"),
                    Ok(event) => return Ok(event),
                    // The kernel may write a line of its own to this port; it is the guest's, so never an error.
                    Err(error) => tracing::debug!("line that is no event ({error}): {line}"),
                }
                continue;
            }
            if let Some(reason) = stopped() {
                return Err(AgentSilence::Stopped(reason));
            }
            if Instant::now() >= until {
                return Err(AgentSilence::TimedOut);
            }
        }
    }
}
