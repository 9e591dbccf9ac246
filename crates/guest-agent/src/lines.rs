//! Lines of JSON from and to a byte stream, with a bound on what an unfinished line may hold.

use serde::{Serialize, de::DeserializeOwned};

/// The longest line either side may send, in bytes. The largest honest one is a `vcs` of 240 by 67 cells.
pub const MAX_LINE_BYTES: usize = 128 * 1024;

/// The other side's mistake.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// No line end came in time; everything up to the next one is dropped.
    #[error("line is longer than the limit of {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The line is not what it should be.
    #[error("line {line:?} does not parse: {source}")]
    Malformed {
        /// Its beginning.
        line: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Collects bytes and hands out whole lines, parsed.
#[derive(Debug, Default)]
pub struct LineReader {
    pending: Vec<u8>,
    dropping: bool,
}

/// How much of a line that does not parse is repeated in the message.
const SHOWN_CHARS: usize = 200;

impl LineReader {
    /// Nothing collected yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they come and calls `each` for every line that they complete. Empty lines are skipped.
    pub fn push<T: DeserializeOwned>(&mut self, bytes: &[u8], mut each: impl FnMut(Result<T, LineFault>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            self.extend(head, &mut each);
            let line = std::mem::take(&mut self.pending);
            if !std::mem::take(&mut self.dropping) && !line.trim_ascii().is_empty() {
                each(parse(&line));
            }
        }
        self.extend(rest, &mut each);
    }

    fn extend<T>(&mut self, bytes: &[u8], each: &mut impl FnMut(Result<T, LineFault>)) {
        if self.dropping {
            return;
        }
        if self.pending.len() + bytes.len() > MAX_LINE_BYTES {
            self.pending = Vec::new();
            self.dropping = true;
            each(Err(LineFault::TooLong));
            return;
        }
        self.pending.extend_from_slice(bytes);
    }
}

/// Parses one line.
///
/// # Errors
/// [`LineFault::Malformed`] if it is not JSON, or not of this type.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, LineFault> {
    serde_json::from_slice(line).map_err(|source| LineFault::Malformed {
        line: String::from_utf8_lossy(line).trim().chars().take(SHOWN_CHARS).collect(),
        source,
    })
}

/// Writes `value` as one line, line end included. A value that cannot be written becomes an empty line, which readers skip.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pattern::Pattern,
        protocol::{
            Command, Done, DrawnTiles, Driver, Event, FailedModule, FirmwareScreen, Hello, Request, Vcs,
            WorkloadDone,
        },
        tiles,
        workload::Workload,
    };

    fn read<T: DeserializeOwned>(reader: &mut LineReader, bytes: &[u8]) -> Vec<Result<T, LineFault>> {
        let mut all = Vec::new();
        reader.push(bytes, |item| all.push(item));
        all
    }

    #[test]
    fn every_request_comes_back_as_it_was_sent() {
        let commands = [
            Command::Draw { pattern: Pattern::Coordinates, seed: u64::MAX },
            Command::Fill { color: 0x12_3456 },
            Command::Poke { x: 1, y: 2, width: 3, height: 4, color: 5 },
            Command::Flush,
            Command::KmsMode { width: 800, height: 600, pattern: Pattern::Noise, seed: 1 },
            Command::KmsTiles { pattern: Pattern::Coordinates, seed: 2, columns: 4, rows: 3 },
            Command::KmsRelease,
            Command::Console { lines: 200 },
            Command::Vcs,
            Command::Idle { ms: 500 },
            Command::Info,
            Command::Workload { workload: Workload::Video60, seed: u64::MAX, scale_percent: 100 },
            Command::DrawnTiles { tile_px: 64 },
            Command::PowerOff,
            Command::Reboot,
            Command::Crash,
        ];
        for (id, command) in (0..).zip(commands) {
            let request = Request { id, command };
            let back = read::<Request>(&mut LineReader::new(), &encode(&request));
            assert_eq!(back.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [request]);
        }
    }

    #[test]
    fn every_event_comes_back_as_it_was_sent() {
        let events = [
            Event::Hello(Hello { release: "6.1.0".into(), cmdline: "quiet".into(), boot_ms: 7 }),
            Event::Modules {
                loaded: vec!["hv_vmbus".into()],
                failed: vec![FailedModule { name: "hyperv_fb".into(), error: "no such device".into() }],
            },
            Event::Driver(Driver {
                name: "hyperv_fb".into(),
                driver: Some("hyperv_fb".into()),
                width: 1024,
                height: 768,
                bits_per_pixel: 32,
                stride: 4096,
                iomem: vec![],
            }),
            Event::FirmwareScreen(FirmwareScreen { device: "efi-framebuffer.0".into(), driver: None }),
            Event::NoDriver { reason: "no /dev/fb0".into() },
            Event::Done(Done { id: 1, ok: false, error: Some("\"quoted\"\n".into()), ms: 3 }),
            Event::Vcs(Vcs {
                columns: 128,
                rows: 48,
                text: vec!["line \u{2592}".into()],
                attribute: Some(7),
            }),
            Event::WorkloadDone(WorkloadDone { operations: 150, cpu_ms: Some(10), note: None }),
            Event::DrawnTiles(DrawnTiles {
                tile_px: 64,
                columns: 2,
                first_row: 1,
                hashes: vec![u64::MAX, 0],
            }),
            Event::Log { text: "hello".into() },
        ];
        let bytes: Vec<u8> = events.iter().flat_map(encode).collect();
        let back: Vec<Event> = read(&mut LineReader::new(), &bytes).into_iter().map(Result::unwrap).collect();
        assert_eq!(back, events);
    }

    #[test]
    fn longest_event_of_drawn_tiles_fits_a_line() {
        let longest = Event::DrawnTiles(DrawnTiles {
            tile_px: u32::MAX,
            columns: u32::MAX,
            first_row: u32::MAX,
            hashes: vec![u64::MAX; tiles::MAX_HASHES],
        });
        assert!(encode(&longest).len() <= MAX_LINE_BYTES, "{}", encode(&longest).len());
    }

    #[test]
    fn request_on_the_wire_is_as_documented() {
        let request = Request { id: 3, command: Command::Draw { pattern: Pattern::Coordinates, seed: 42 } };
        let line = encode(&request);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"id\":3,\"command\":{\"draw\":{\"pattern\":\"coordinates\",\"seed\":42}}}\n"
        );
    }

    #[test]
    fn bytes_one_by_one_give_the_same_lines() {
        let bytes = encode(&Event::Log { text: "a".into() });
        let mut reader = LineReader::new();
        let events: Vec<Event> =
            bytes.iter().flat_map(|byte| read(&mut reader, &[*byte])).map(Result::unwrap).collect();
        assert_eq!(events, [Event::Log { text: "a".into() }]);
    }

    #[test]
    fn line_over_the_limit_is_one_fault_and_the_next_line_is_read() {
        let mut reader = LineReader::new();
        let mut faults = 0;
        for _ in 0..5 {
            faults += read::<Event>(&mut reader, &vec![b'x'; MAX_LINE_BYTES / 2 + 1]).len();
        }
        assert_eq!(faults, 1);
        assert!(reader.pending.capacity() <= MAX_LINE_BYTES, "{}", reader.pending.capacity());
        let after: Vec<Event> = read(&mut reader, b"x\n{\"event\":\"log\",\"text\":\"b\"}\n")
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(after, [Event::Log { text: "b".into() }]);
    }

    #[test]
    fn line_that_is_not_json_is_quoted_in_the_fault() {
        let faults = read::<Event>(&mut LineReader::new(), b"hello there\n\n");
        assert_eq!(faults.len(), 1);
        let text = faults[0].as_ref().unwrap_err().to_string();
        assert!(text.contains("hello there"), "{text}");
    }
}
