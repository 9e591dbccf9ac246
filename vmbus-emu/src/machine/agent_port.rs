//! The host's end of COM2: lines from the program inside the guest, bytes to it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a line; a longer one is cut in pieces of this size.
pub(super) const MAX_LINE_BYTES: usize = guest_agent::lines::MAX_LINE_BYTES;
/// Lines that wait for the host. The guest never waits: what comes after them is dropped and counted.
pub(super) const MAX_LINES: usize = 4096;
/// Bytes of waiting lines in total, for a guest that sends long ones.
pub(super) const MAX_WAITING_BYTES: usize = 4 << 20;
/// Bytes on their way into the guest.
pub(super) const MAX_INPUT_BYTES: usize = 64 << 10;

/// The guest does not read what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes do not fit behind the {waiting} that wait for the guest, limit is {MAX_INPUT_BYTES}")]
pub(crate) struct AgentPortFull {
    /// Bytes to be sent.
    pub(crate) wanted: usize,
    /// Bytes that the guest has not read yet.
    pub(crate) waiting: usize,
}

/// Both directions of the link. Clones share it.
///
/// Lines outlive the machine: what the guest sent before it powered off can still be read.
#[derive(Clone)]
pub(crate) struct AgentPort {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    /// Rung by [`AgentPort::write`]: makes the UART fetch input when the guest is not reading at the moment.
    on_input: Mutex<Option<Box<dyn Fn() + Send>>>,
}

#[derive(Default)]
struct State {
    partial: Vec<u8>,
    lines: VecDeque<String>,
    waiting_bytes: usize,
    dropped_bytes: u64,
    input: VecDeque<u8>,
}

impl AgentPort {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// The next line that the guest sent, without its line end, waiting for it up to `timeout`.
    pub(crate) fn line(&self, timeout: Duration) -> Option<String> {
        let deadline = Instant::now() + timeout;
        let mut state = self.locked();
        loop {
            if let Some(line) = state.pop() {
                return Some(line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends bytes to the guest; it reads them from `/dev/ttyS1`. Never waits.
    ///
    /// # Errors
    /// [`AgentPortFull`] when the guest has not read enough of what it was sent before; nothing is sent then.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), AgentPortFull> {
        let mut state = self.locked();
        let waiting = state.input.len();
        if waiting + bytes.len() > MAX_INPUT_BYTES {
            return Err(AgentPortFull { wanted: bytes.len(), waiting });
        }
        state.input.extend(bytes);
        drop(state);
        // The state's lock is free here: the UART locks itself first and the state second.
        if let Some(on_input) = &*self.shared.on_input.lock().unwrap_or_else(PoisonError::into_inner) {
            on_input();
        }
        Ok(())
    }

    /// Bytes from the guest that found the queue full.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a report that says why lines are missing"))]
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.locked().dropped_bytes
    }

    /// Takes up to `limit` bytes that wait for the guest.
    pub(super) fn take_input(&self, limit: usize) -> Vec<u8> {
        let mut state = self.locked();
        let count = limit.min(state.input.len());
        state.input.drain(..count).collect()
    }

    /// Whether bytes wait for the guest.
    pub(super) fn has_input(&self) -> bool {
        !self.locked().input.is_empty()
    }

    pub(super) fn set_on_input(&self, on_input: Option<Box<dyn Fn() + Send>>) {
        *self.shared.on_input.lock().unwrap_or_else(PoisonError::into_inner) = on_input;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AgentPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentPort").field("lines", &self.locked().lines.len()).finish_non_exhaustive()
    }
}

impl State {
    fn pop(&mut self) -> Option<String> {
        let line = self.lines.pop_front()?;
        self.waiting_bytes -= line.len();
        Some(line)
    }

    /// True when a line became complete.
    fn push(&mut self, byte: u8) -> bool {
        if byte != b'\n' {
            self.partial.push(byte);
            if self.partial.len() < MAX_LINE_BYTES {
                return false;
            }
        }
        let mut bytes = std::mem::take(&mut self.partial);
        while bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let line = String::from_utf8_lossy(&bytes).into_owned();
        if self.lines.len() >= MAX_LINES || self.waiting_bytes + line.len() > MAX_WAITING_BYTES {
            self.dropped_bytes += bytes.len() as u64 + 1;
            return false;
        }
        self.waiting_bytes += line.len();
        self.lines.push_back(line);
        true
    }
}

/// Output of the guest. Never fails and never waits.
impl Write for AgentPort {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.locked();
        let mut complete = false;
        for &byte in bytes {
            complete |= state.push(byte);
        }
        drop(state);
        if complete {
            self.shared.arrived.notify_all();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(port: &AgentPort, bytes: &[u8]) {
        Write::write_all(&mut port.clone(), bytes).unwrap();
    }

    #[test]
    fn lines_come_out_whole_without_their_ends() {
        let port = AgentPort::new();
        send(&port, b"hel");
        assert_eq!(port.line(Duration::ZERO), None);
        send(&port, b"lo\r\nworld\n");
        assert_eq!(port.line(Duration::ZERO).as_deref(), Some("hello"));
        assert_eq!(port.line(Duration::ZERO).as_deref(), Some("world"));
        assert_eq!(port.line(Duration::from_millis(1)), None);
    }

    #[test]
    fn flood_of_lines_is_bounded_and_counted() {
        let port = AgentPort::new();
        for _ in 0..MAX_LINES + 3 {
            send(&port, b"x\n");
        }
        assert_eq!(port.dropped_bytes(), 6);
        assert_eq!(port.locked().lines.len(), MAX_LINES);
    }

    #[test]
    fn flood_without_line_ends_is_bounded() {
        let port = AgentPort::new();
        for _ in 0..2 * MAX_WAITING_BYTES / MAX_LINE_BYTES {
            send(&port, &[b'y'; MAX_LINE_BYTES]);
        }
        assert!(port.locked().waiting_bytes <= MAX_WAITING_BYTES);
        assert!(port.dropped_bytes() > 0);
        assert!(port.locked().partial.len() < MAX_LINE_BYTES);
    }

    #[test]
    fn input_that_the_guest_does_not_read_is_refused_at_the_limit() {
        let port = AgentPort::new();
        AgentPort::write(&port, &vec![0; MAX_INPUT_BYTES]).unwrap();
        let error = AgentPort::write(&port, b"z").unwrap_err();
        assert_eq!(error, AgentPortFull { wanted: 1, waiting: MAX_INPUT_BYTES });
        assert_eq!(port.take_input(10).len(), 10);
        assert!(port.has_input());
    }

    #[test]
    fn reading_a_line_makes_room_for_another() {
        let port = AgentPort::new();
        (0..MAX_LINES).for_each(|_| send(&port, b"x\n"));
        assert!(port.line(Duration::ZERO).is_some());
        send(&port, b"last\n");
        assert_eq!(port.dropped_bytes(), 0);
        assert_eq!(port.locked().lines.back().map(String::as_str), Some("last"));
    }
}
