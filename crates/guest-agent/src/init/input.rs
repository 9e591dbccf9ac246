//! What the guest's input devices on VMBus report, read from `/dev/input`.

use std::{
    fs::{self, File},
    io::Read,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use guest_agent::protocol::{Input, InputEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the devices may take to come up.
const DEVICE_WAIT: Duration = Duration::from_secs(5);
/// Events that are told; of the rest only the number.
const EVENTS_MAX: usize = 512;
/// Bytes of `struct input_event` where time has 64 bits: seconds, microseconds, then what counts.
const EVENT_BYTES: usize = 24;
/// hid-hyperv's device, which has no place of its own below VMBus.
const MOUSE: &str = "Microsoft Vmbus HID-compliant Mouse";
/// `O_NONBLOCK` (Linux `asm-generic/fcntl.h`).
const NONBLOCK: i32 = 0o4000;
/// `EV_KEY`, `EV_REL` and `EV_ABS` (Linux `input-event-codes.h`); the others only say where a report ends.
const KINDS: std::ops::RangeInclusive<u16> = 1..=3;

/// The open devices; the kernel keeps what they report from now on.
#[derive(Debug)]
pub(crate) struct InputDevices {
    open: Vec<(String, File)>,
}

impl InputDevices {
    /// Waits for `count` input devices on VMBus and opens all that are there.
    ///
    /// # Errors
    /// There are fewer, or one cannot be opened.
    pub(crate) fn open(count: u32) -> Result<Self, String> {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let deadline = Instant::now() + DEVICE_WAIT;
        let mut found = devices();
        while found.len() < wanted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            found = devices();
        }
        if found.len() < wanted {
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "{} input devices on VMBus after {} s, {count} wanted: {}",
                found.len(),
                DEVICE_WAIT.as_secs(),
                names.join(", ")
            ));
        }
        let open = |(name, path): (String, PathBuf)| {
            let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path);
            file.map(|file| (name, file)).map_err(|error| format!("cannot open {}: {error}", path.display()))
        };
        Ok(Self { open: found.into_iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.open.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Reads for `ms` milliseconds.
    ///
    /// # Errors
    /// A device cannot be read any more.
    pub(crate) fn read(mut self, ms: u32) -> Result<Input, String> {
        let deadline = Instant::now() + Duration::from_millis(ms.into());
        let mut input = Input { events: Vec::new(), more: 0 };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(input);
            }
            let mut fds: Vec<_> = self
                .open
                .iter()
                .map(|(_, file)| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
                .collect();
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            poll(&mut fds, Some(&timeout)).map_err(|error| format!("cannot wait for input: {error}"))?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            for ((name, file), _) in self.open.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
                take(name, file, &mut input)?;
            }
        }
    }
}

/// Takes what one device has.
fn take(name: &str, file: &mut File, input: &mut Input) -> Result<(), String> {
    let mut buffer = [0; 64 * EVENT_BYTES];
    let len = match file.read(&mut buffer) {
        Ok(len) => len,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(format!("cannot read {name}: {error}")),
    };
    for event in buffer.get(..len).unwrap_or_default().chunks_exact(EVENT_BYTES) {
        let Some(event) = parse(name, event).filter(|event| KINDS.contains(&event.kind)) else { continue };
        if input.events.len() < EVENTS_MAX {
            input.events.push(event);
        } else {
            input.more += 1;
        }
    }
    Ok(())
}

fn parse(device: &str, event: &[u8]) -> Option<InputEvent> {
    let (_, fields) = event.split_at_checked(16)?;
    let [k0, k1, c0, c1, v @ ..] = *fields.first_chunk::<8>()?;
    Some(InputEvent {
        device: device.to_owned(),
        kind: u16::from_le_bytes([k0, k1]),
        code: u16::from_le_bytes([c0, c1]),
        value: i32::from_le_bytes(v),
    })
}

/// Name and device node of every input device that is on VMBus, by the number of its node.
fn devices() -> Vec<(String, PathBuf)> {
    let nodes = fs::read_dir("/sys/class/input").into_iter().flatten().flatten();
    let mut found: Vec<_> = nodes
        .filter_map(|entry| {
            let node = entry.file_name().into_string().ok()?;
            let number: u32 = node.strip_prefix("event")?.parse().ok()?;
            let device = fs::canonicalize(entry.path()).ok()?;
            let name = fs::read_to_string(device.join("device/name")).ok()?.trim().to_owned();
            let path = Path::new("/dev/input").join(node);
            let ours = name == MOUSE || is_on_vmbus(&device);
            (ours && path.exists()).then_some((number, name, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}

/// Whether a device, or one above it, belongs to VMBus.
fn is_on_vmbus(device: &Path) -> bool {
    device.ancestors().any(|above| {
        let bus = fs::read_link(above.join("subsystem"));
        bus.is_ok_and(|bus| bus.file_name().is_some_and(|name| name == "vmbus"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_read_behind_its_time() {
        let mut bytes = [0xff; 24];
        bytes[16..].copy_from_slice(&[1, 0, 30, 0, 0xff, 0xff, 0xff, 0xff]);
        let event = InputEvent { device: "d".into(), kind: 1, code: 30, value: -1 };
        assert_eq!(parse("d", &bytes), Some(event));
        assert_eq!(parse("d", &bytes[..23]), None);
    }

    #[test]
    fn directory_without_a_bus_is_not_on_vmbus() {
        assert!(!is_on_vmbus(Path::new("/sys/class")));
        assert!(!is_on_vmbus(Path::new("/")));
    }
}
