//! One run of `vmbus-emu run` with a real guest, and what it left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use guest_kit::lab::{Lab, LabClock};
use guest_kit::packages::{self, GuestKernel};
use guest_kit::{cache, console_check};
use hv_kvm::guest_probe::{self, GuestProbe};
use kvm_ioctls::Kvm;
use serde_json::Value;
use tempfile::TempDir;

use crate::bare_metal::requirement::skip;
use crate::program::vmbus_emu;

/// The guest of most tests.
pub const GUEST: &str = "debian/6.1-cloud";
/// Lines of the guest's console that a failed test shows.
const SHOWN_LINES: usize = 40;

/// Where `--kvm auto` runs a guest on this machine, as the report calls it: on the `host`'s KVM, or in the `lab`.
///
/// `None` if neither will do or no guest kernel is there; the reason is printed.
///
/// # Panics
/// When the missing thing is one that must be there; see [`skip`].
#[must_use]
pub fn place() -> Option<&'static str> {
    static PLACE: OnceLock<Result<&'static str, (&str, String)>> = OnceLock::new();
    let found = PLACE.get_or_init(|| {
        let host = Kvm::new().ok().and_then(|kvm| guest_probe::run(&kvm).ok());
        let place = if host == Some(GuestProbe::Runs) {
            "host"
        } else {
            Lab::prepare(&cache::directory(), LabClock::Host, &mut |_| ())
                .map_err(|error| ("lab", error.to_string()))?;
            "lab"
        };
        let kernel = packages::fetch(GUEST, &cache::directory(), &mut |_| ());
        kernel.map(|_| place).map_err(|error| ("kernels", error.to_string()))
    });
    match found {
        Ok(place) => Some(place),
        Err((what, reason)) => {
            skip(what, reason);
            None
        }
    }
}

/// The kernel of [`GUEST`], which is in the cache once [`place`] has found it.
///
/// # Errors
/// It is not.
pub fn kernel() -> anyhow::Result<GuestKernel> {
    Ok(packages::fetch(GUEST, &cache::directory(), &mut |_| ())?)
}

/// What a run left behind. A test that fails keeps its directory and says where it is.
#[derive(Debug)]
pub struct GuestRun {
    directory: Option<TempDir>,
    path: PathBuf,
    /// Its exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// Both of its output streams.
    pub said: String,
    /// The report; null if there is none.
    pub report: Value,
    /// From start to end, without the wait for a free processor.
    pub took: Duration,
}

impl GuestRun {
    /// Runs `vmbus-emu run --out DIRECTORY` with these words, and waits until it ends. As many runs go on at once as the
    /// machine has processors for.
    ///
    /// # Errors
    /// The program cannot be started, or there is no directory for its results.
    pub fn with(words: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("guest-run-").tempdir()?;
        let path = directory.path().to_owned();
        let program = vmbus_emu();
        let turn = Turn::wait();
        let started = Instant::now();
        let output = Command::new(program).arg("run").args(words).arg("--out").arg(&path).output()?;
        let took = started.elapsed();
        drop(turn);
        let report = fs::read(path.join("report.json")).ok();
        let said = [output.stdout, output.stderr].concat();
        let run = Self {
            directory: Some(directory),
            path,
            status: output.status.code(),
            said: String::from_utf8_lossy(&said).into_owned(),
            report: report.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default(),
            took,
        };
        println!("{words:?}: status {:?} after {:.1} s", run.status, took.as_secs_f64());
        Ok(run)
    }

    /// The file called `name` among the results.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The report's value at `pointer`, such as `/device/vram/kind`; null if it is not there.
    #[must_use]
    pub fn value(&self, pointer: &str) -> &Value {
        self.report.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The count at `pointer`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn count(&self, pointer: &str) -> u64 {
        self.value(pointer).as_u64().unwrap_or_else(|| panic!("{pointer} is {}", self.value(pointer)))
    }

    /// The text at `pointer`; empty if there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value(pointer).as_str().unwrap_or_default()
    }

    /// The checks of the report by name, in order, each with its outcome.
    #[must_use]
    pub fn checks(&self) -> Vec<(&str, bool)> {
        let checks = self.value("/checks").as_array().into_iter().flatten();
        let outcome = |check: &Value| check.get("passed").and_then(Value::as_bool) == Some(true);
        checks.filter_map(|check| Some((check.get("name")?.as_str()?, outcome(check)))).collect()
    }

    /// Pixels of a picture among the results.
    ///
    /// # Errors
    /// There is none, or it is no PNG.
    pub fn picture(&self, name: &str) -> anyhow::Result<display::png::Picture> {
        Ok(display::png::read_png(&self.file(name))?)
    }
}

impl Drop for GuestRun {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let path = self.directory.take().map_or_else(|| self.path.clone(), TempDir::keep);
        println!("report: {}", path.join("report.json").display());
        println!("the program said:\n{}", self.said);
        for log in ["console.log", "lab-console.log"] {
            println!("last lines of {}:\n{}", path.join(log).display(), tail(&path.join(log)));
        }
    }
}

/// The text that the demo leaves on a screen of `width` by `height` pixels, worked out without asking the guest: `count` lines
/// were printed, so the last ones stand above an empty line.
#[must_use]
pub fn demo_console(width: u32, height: u32, count: u32) -> console_check::ConsoleText {
    let (columns, rows) = (width / console_check::CELL_WIDTH_PX, height / console_check::CELL_HEIGHT_PX);
    let first = count.saturating_sub(rows.saturating_sub(1)) + 1;
    let line = |number| guest_kit::guest_agent::protocol::console_line(number, count);
    console_check::ConsoleText { columns, rows, text: (first..=count).map(line).collect() }
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
}

/// A place among the runs that go on at once.
struct Turn;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        // A lab has one processor.
        let limit = std::thread::available_parallelism().map_or(1, usize::from);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |running: &mut usize| *running >= limit;
        *ENDED.wait_while(running, full).unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
