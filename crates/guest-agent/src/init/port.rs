//! The second serial port: lines of JSON to the host and back.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use guest_agent::lines::{LineFault, LineReader, encode};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    termios::{ControlModes, OptionalActions, speed, tcdrain, tcgetattr, tcsetattr},
};
use serde::{Serialize, de::DeserializeOwned};

const PATH: &str = "/dev/ttyS1";

/// The port, open and raw.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
}

impl Port {
    /// Opens and sets up the port.
    pub(crate) fn open() -> io::Result<Self> {
        // Not blocking while opening: without a carrier signal a blocking open of a serial port would wait for ever.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(PATH)?;
        let mut settings = tcgetattr(&file)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.set_speed(speed::B115200)?;
        tcsetattr(&file, OptionalActions::Now, &settings)?;
        fcntl_setfl(&file, OFlags::empty())?;
        Ok(Self { file })
    }

    /// A second handle of the same port, for another thread.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Sends one line. A host that is gone is no reason to stop.
    pub(crate) fn send(&mut self, value: &impl Serialize) {
        if let Err(error) = self.file.write_all(&encode(value)) {
            eprintln!("guest-agent: cannot write to {PATH}: {error}");
        }
    }

    /// Waits until everything sent has left the port.
    pub(crate) fn drain(&self) {
        if let Err(error) = tcdrain(&self.file) {
            eprintln!("guest-agent: cannot drain {PATH}: {error}");
        }
    }

    /// Waits for bytes and calls `each` for every line that they complete. False at the end of the stream.
    pub(crate) fn receive<T: DeserializeOwned>(
        &mut self,
        lines: &mut LineReader,
        each: impl FnMut(Result<T, LineFault>),
    ) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match self.file.read(&mut buffer) {
            Ok(count) => {
                lines.push(buffer.get(..count).unwrap_or_default(), each);
                Ok(count != 0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}
