//! Where the guest's console output goes: a bounded tail in memory, a file, a callback.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::MachineError;

/// Bytes of output kept in memory.
pub(super) const TAIL_BYTES: usize = 256 << 10;
/// Bytes that wait for the end of their line before they go to the file and the callback regardless.
const MAX_LINE_BYTES: usize = 4096;

/// Called with each piece of output, a line with its line feed as a rule, on a vCPU thread: be quick.
pub(crate) type ConsoleCallback = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Who gets the console's output beside the tail.
#[derive(Clone, Default)]
pub(crate) struct ConsoleSink {
    /// Written from the start; an existing file is replaced.
    pub(crate) file: Option<PathBuf>,
    /// Called for each line.
    pub(crate) callback: Option<ConsoleCallback>,
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let callback = self.callback.as_ref().map(|_| "..");
        f.debug_struct("ConsoleSink").field("file", &self.file).field("callback", &callback).finish()
    }
}

/// The console log of one machine. Clones share it.
#[derive(Clone)]
pub(crate) struct Console {
    shared: Arc<Mutex<Log>>,
}

struct Log {
    tail: VecDeque<u8>,
    total_bytes: u64,
    line: Vec<u8>,
    file: Option<File>,
    callback: Option<ConsoleCallback>,
}

impl Console {
    pub(super) fn new(sink: &ConsoleSink) -> Result<Self, MachineError> {
        let file = match &sink.file {
            Some(path) => Some(File::create(path).map_err(|source| MachineError::File {
                what: "console log",
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        let callback = sink.callback.clone();
        let log = Log { tail: VecDeque::new(), total_bytes: 0, line: Vec::new(), file, callback };
        Ok(Self { shared: Arc::new(Mutex::new(log)) })
    }

    /// The last [`TAIL_BYTES`] of output as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn tail(&self) -> String {
        let mut log = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(log.tail.make_contiguous()).into_owned()
    }

    /// The last `count` lines of [`Self::tail`], without carriage returns.
    pub(crate) fn tail_lines(&self, count: usize) -> Vec<String> {
        let text = self.tail();
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
        lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect()
    }

    /// Bytes written since the start.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).total_bytes
    }

    /// Passes on an unfinished line; called when the machine has stopped.
    pub(super) fn finish(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).pass_line();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("total_bytes", &self.total_bytes()).finish_non_exhaustive()
    }
}

impl Log {
    fn push(&mut self, byte: u8) {
        if self.tail.len() == TAIL_BYTES {
            self.tail.pop_front();
        }
        self.tail.push_back(byte);
        self.total_bytes += 1;
        self.line.push(byte);
        if byte == b'\n' || self.line.len() >= MAX_LINE_BYTES {
            self.pass_line();
        }
    }

    fn pass_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.line)
        {
            tracing::warn!(%error, "console log file is given up");
            self.file = None;
        }
        if let Some(callback) = &self.callback {
            callback(&self.line);
        }
        self.line.clear();
    }
}

/// The UART writes byte by byte; nothing here fails, so that no output is ever lost to the tail.
impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.iter().for_each(|&byte| log.push(byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_the_newest_bytes_only() {
        let mut console = Console::new(&ConsoleSink::default()).unwrap();
        console.write_all(&vec![b'a'; TAIL_BYTES]).unwrap();
        console.write_all(b"\nend").unwrap();
        assert_eq!(console.tail().len(), TAIL_BYTES);
        assert!(console.tail().ends_with("a\nend"));
        assert_eq!(console.total_bytes(), TAIL_BYTES as u64 + 4);
    }

    #[test]
    fn callback_gets_lines_and_the_rest_at_the_end() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let callback: ConsoleCallback = Arc::new(move |bytes| keep.lock().unwrap().push(bytes.to_vec()));
        let mut console = Console::new(&ConsoleSink { file: None, callback: Some(callback) }).unwrap();
        console.write_all(b"one\r\ntwo").unwrap();
        assert_eq!(*seen.lock().unwrap(), [b"one\r\n".to_vec()]);
        console.finish();
        assert_eq!(seen.lock().unwrap().len(), 2);
        assert_eq!(console.tail_lines(5), ["one", "two"]);
    }

    #[test]
    fn endless_line_is_passed_on_in_pieces() {
        let mut console = Console::new(&ConsoleSink::default()).unwrap();
        console.write_all(&vec![b'x'; 3 * MAX_LINE_BYTES + 1]).unwrap();
        assert_eq!(console.shared.lock().unwrap().line.len(), 1);
    }

    #[test]
    fn log_file_in_a_missing_directory_is_one_clear_error() {
        let sink = ConsoleSink { file: Some("/nonexistent/console.log".into()), callback: None };
        let error = Console::new(&sink).unwrap_err().to_string();
        assert!(error.contains("console log /nonexistent/console.log"), "{error}");
    }
}
