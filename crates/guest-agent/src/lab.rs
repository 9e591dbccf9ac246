//! What the host and the lab's init agree on: the job in `/etc/vmbus-emu/job.json`, and what comes back on the second serial port.

use serde::{Deserialize, Serialize};

/// What the lab's init has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The program, an absolute path inside the lab.
    pub program: String,
    /// Its arguments, without the program's name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts, an absolute path inside the lab.
    pub working_directory: String,
    /// Host directories to mount before it starts.
    pub shares: Vec<Share>,
    /// A unix socket of the program's that the host speaks with, line by line, through the port [`LINE_PORT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_socket: Option<String>,
}

/// Name of the virtio port for [`LineRequest`]s.
pub const LINE_PORT: &str = "vmbus-emu.lines";

/// A line for the program's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRequest {
    /// Comes back with the answer.
    pub id: u64,
    /// The line, without its end.
    pub line: String,
}

/// What the program answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineAnswer {
    /// Of the request.
    pub id: u64,
    /// The line, without its end.
    pub line: String,
}

/// A host directory, shared by 9p at its own absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The 9p mount tag.
    pub tag: String,
    /// Where it goes, the same path as on the host.
    pub path: String,
    /// Whether the lab may write.
    pub writable: bool,
}

/// What the lab's init tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LabEvent {
    /// The lab's init runs.
    Hello {
        /// Kernel release.
        release: String,
        /// Milliseconds from kernel start to init.
        boot_ms: u64,
    },
    /// The program starts now.
    Started {
        /// Milliseconds from kernel start.
        at_ms: u64,
    },
    /// A line of the program's standard output, without its line end.
    Stdout {
        /// The line.
        text: String,
    },
    /// A line of the program's standard error, without its line end.
    Stderr {
        /// The line.
        text: String,
    },
    /// The program ended, everything it wrote is in the shares.
    Exited {
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// The signal that killed it, if one did.
        signal: Option<i32>,
        /// Milliseconds it ran.
        run_ms: u64,
    },
    /// The lab could not do the job.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the host tells the lab's init while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum LabRequest {
    /// Sends SIGINT to the program.
    Interrupt,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::{encode, parse};

    #[test]
    fn job_and_events_come_back_as_they_were_sent() {
        let job = Job {
            program: "/usr/bin/p".into(),
            arguments: vec!["a b".into(), "\"".into()],
            environment: vec![("K".into(), "V".into())],
            working_directory: "/".into(),
            shares: vec![Share { tag: "share0".into(), path: "/out".into(), writable: true }],
            line_socket: None,
        };
        assert_eq!(parse::<Job>(&encode(&job)).unwrap(), job);
        let exited = LabEvent::Exited { code: Some(3), signal: None, run_ms: 12 };
        assert_eq!(parse::<LabEvent>(&encode(&exited)).unwrap(), exited);
        assert_eq!(parse::<LabRequest>(b"{\"request\":\"interrupt\"}").unwrap(), LabRequest::Interrupt);
    }
}
