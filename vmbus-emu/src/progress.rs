//! What the user sees while a command works: one phase at a time, each with its time.
//!
//! On a terminal a phase is a bar or a spinner; anywhere else it is one line when it ends, so that a log stays
//! readable. An instance of this program that runs elsewhere (the KVM lab) writes its phases as lines which
//! [`Progress::relay`] turns into bars here.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle as BarStyle};
use tracing_subscriber::EnvFilter;

use crate::cli::ProgressStyle;

/// The phases of a run, in their order. A command passes through those that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The guest's kernel package, from the archive or the cache.
    Download,
    /// Packing modules and agent.
    Initramfs,
    /// QEMU's emulator, up to a KVM that works.
    LabBoot,
    /// The guest's kernel, up to its init.
    GuestBoot,
    /// The video driver, up to its framebuffer.
    Driver,
    /// The pattern, up to a quiet ring.
    Draw,
    /// A mode set and damage clips through KMS, where the driver has it.
    Kms,
    /// The text console, up to a quiet ring.
    Console,
    /// Keys and pointer movements, up to the guest's report of them.
    Input,
    /// The driver, its device or its kernel goes and comes.
    Lifecycle,
    /// One workload, up to a quiet ring.
    Workload,
    /// One measurement of a comparison.
    Round,
    /// Pictures and report.
    Report,
}

impl Phase {
    const ALL: [Self; 13] = [
        Self::Download,
        Self::Initramfs,
        Self::LabBoot,
        Self::GuestBoot,
        Self::Driver,
        Self::Draw,
        Self::Kms,
        Self::Console,
        Self::Input,
        Self::Lifecycle,
        Self::Workload,
        Self::Round,
        Self::Report,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Initramfs => "build initramfs",
            Self::LabBoot => "lab boot",
            Self::GuestBoot => "guest boot",
            Self::Driver => "driver",
            Self::Draw => "draw",
            Self::Kms => "KMS",
            Self::Console => "console",
            Self::Input => "input",
            Self::Lifecycle => "life cycle",
            Self::Workload => "workload",
            Self::Round => "round",
            Self::Report => "report",
        }
    }
}

/// First word of a relayed line.
const RELAY_PREFIX: &str = "@progress ";

/// Shows the phases of one command. Clones show the same.
#[derive(Clone)]
pub(crate) struct Progress {
    style: ProgressStyle,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Where lines go: standard error, or a buffer in tests.
    lines: Box<dyn Write + Send>,
    current: Option<Current>,
}

struct Current {
    phase: Phase,
    since: Instant,
    bar: ProgressBar,
}

impl Progress {
    /// Shows progress on standard error; `Auto` looks whether that is a terminal.
    pub(crate) fn new(style: ProgressStyle) -> Self {
        let style = match style {
            ProgressStyle::Auto if !io::stderr().is_terminal() => ProgressStyle::Lines,
            style => style,
        };
        Self::with_lines(style, Box::new(io::stderr()))
    }

    fn with_lines(style: ProgressStyle, lines: Box<dyn Write + Send>) -> Self {
        Self { style, state: Arc::new(Mutex::new(State { lines, current: None })) }
    }

    /// A phase begins; the one before it, if any, is done.
    pub(crate) fn begin(&self, phase: Phase) {
        let mut state = self.state();
        self.end(&mut state, Some(""));
        self.tell(&mut state, &format!("begin {}", phase.title()));
        let bar = if self.style == ProgressStyle::Auto { spinner(phase) } else { ProgressBar::hidden() };
        state.current = Some(Current { phase, since: Instant::now(), bar });
    }

    /// The current phase has `done` of `total` bytes behind it.
    pub(crate) fn bytes(&self, done: u64, total: u64) {
        let mut state = self.state();
        if let Some(current) = &state.current
            && self.style == ProgressStyle::Auto
        {
            current.bar.set_style(byte_style());
            current.bar.set_length(total);
            current.bar.set_position(done);
        }
        self.tell(&mut state, &format!("bytes {done} {total}"));
    }

    /// What the current phase is about just now; shown on a terminal only.
    pub(crate) fn note(&self, text: &str) {
        let mut state = self.state();
        if let Some(current) = &state.current {
            current.bar.set_message(text.to_owned());
        }
        self.tell(&mut state, &format!("note {text}"));
    }

    /// The current phase is done; `detail` says with what result, or is empty.
    pub(crate) fn done(&self, detail: &str) {
        self.end(&mut self.state(), Some(detail));
    }

    /// The current phase, if any, did not come to its end.
    pub(crate) fn failed(&self) {
        self.end(&mut self.state(), None);
    }

    /// Lets `write` use standard error or output without a bar in between.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        let bar = self.state().current.as_ref().map(|current| current.bar.clone());
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Follows a line that another instance wrote with [`ProgressStyle::Relay`]; false if it is no such line.
    pub(crate) fn relay(&self, line: &str) -> bool {
        let Some(told) = line.strip_prefix(RELAY_PREFIX) else { return false };
        let (verb, rest) = told.split_once(' ').unwrap_or((told, ""));
        match verb {
            "begin" => {
                if let Some(phase) = Phase::ALL.into_iter().find(|phase| phase.title() == rest) {
                    self.begin(phase);
                }
            }
            "bytes" => {
                let mut numbers = rest.split(' ').filter_map(|word| word.parse().ok());
                if let (Some(done), Some(total)) = (numbers.next(), numbers.next()) {
                    self.bytes(done, total);
                }
            }
            "note" => self.note(rest),
            "done" => self.done(rest),
            "failed" => self.failed(),
            _ => {}
        }
        true
    }

    /// Ends the current phase, with a detail if it came to its end.
    fn end(&self, state: &mut State, detail: Option<&str>) {
        let Some(Current { phase, since, bar }) = state.current.take() else { return };
        let line = ended(phase, since.elapsed(), detail);
        match self.style {
            ProgressStyle::Auto => {
                bar.set_style(BarStyle::with_template("{msg}").unwrap_or_else(|_| BarStyle::default_bar()));
                bar.abandon_with_message(line);
            }
            // Standard error may be closed; that must not end the run.
            ProgressStyle::Lines => drop(writeln!(state.lines, "{line}")),
            ProgressStyle::Relay | ProgressStyle::None => {}
        }
        match detail {
            Some(detail) => self.tell(state, &format!("done {detail}")),
            None => self.tell(state, "failed"),
        }
    }

    fn tell(&self, state: &mut State, told: &str) {
        if self.style == ProgressStyle::Relay {
            drop(writeln!(state.lines, "{RELAY_PREFIX}{}", told.trim_end()));
        }
    }

    /// A thread that panicked while it held the lock leaves a state that is still good to show.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended(phase: Phase, took: Duration, detail: Option<&str>) -> String {
    let title = phase.title();
    let seconds = took.as_secs_f64();
    match detail {
        Some("") => format!("{title:<16} {seconds:6.1} s"),
        Some(detail) => format!("{title:<16} {seconds:6.1} s  {detail}"),
        None => format!("{title:<16} {seconds:6.1} s  failed"),
    }
}

fn spinner(phase: Phase) -> ProgressBar {
    let style = BarStyle::with_template("{prefix:<16} {elapsed:>6} {spinner} {msg}")
        .unwrap_or_else(|_| BarStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(phase.title());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn byte_style() -> BarStyle {
    BarStyle::with_template("{prefix:<16} {elapsed:>6} {bar:30} {bytes}/{total_bytes} {msg}")
        .unwrap_or_else(|_| BarStyle::default_bar())
}

/// Sends log lines to standard error, around the bars. `VMBUS_EMU_LOG` names what to log, module by module;
/// without it each `-v` lets one more level pass, from warnings on.
pub(crate) fn log_to(progress: &Progress, verbosity: u8) {
    let level = match verbosity {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("VMBUS_EMU_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let progress = progress.clone();
    let writer = move || LogLines(progress.clone());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
    if let Err(error) = started {
        eprintln!("warning: no log: {error}");
    }
}

/// Writes log lines above the bar instead of through it.
struct LogLines(Progress);

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn progress(style: ProgressStyle) -> (Progress, impl Fn() -> String) {
        let shared = Shared::default();
        let lines = shared.clone();
        let text = move || String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        (Progress::with_lines(style, Box::new(lines)), text)
    }

    fn two_phases(progress: &Progress) {
        progress.begin(Phase::Download);
        progress.bytes(1, 2);
        progress.note("from the cache");
        progress.begin(Phase::GuestBoot);
        progress.done("Debian 6.1");
        progress.done("nothing is left to end");
    }

    #[test]
    fn without_a_terminal_each_phase_is_one_line() {
        let (progress, text) = progress(ProgressStyle::Lines);
        two_phases(&progress);
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("download") && lines[0].ends_with(" s"), "{text}");
        assert!(lines[1].starts_with("guest boot") && lines[1].ends_with(" s  Debian 6.1"), "{text}");
    }

    #[test]
    fn phase_that_breaks_off_says_so() {
        let (progress, text) = progress(ProgressStyle::Lines);
        progress.begin(Phase::Driver);
        progress.failed();
        assert!(text().ends_with("failed\n"), "{}", text());
    }

    #[test]
    fn no_progress_writes_nothing() {
        let (progress, text) = progress(ProgressStyle::None);
        two_phases(&progress);
        assert_eq!(text(), "");
    }

    #[test]
    fn relayed_lines_show_the_same_phases() {
        let (inner, relayed) = progress(ProgressStyle::Relay);
        two_phases(&inner);
        let (outer, shown) = progress(ProgressStyle::Lines);
        for line in relayed().lines() {
            assert!(outer.relay(line), "{line}");
        }
        assert_eq!(shown().lines().count(), 2, "{}", shown());
        assert!(shown().ends_with(" s  Debian 6.1\n"), "{}", shown());
    }

    #[test]
    fn line_of_another_kind_is_left_alone() {
        let (progress, text) = progress(ProgressStyle::Lines);
        assert!(!progress.relay("[    0.000000] Linux version 6.1"));
        assert!(progress.relay("@progress begin what is this"));
        assert!(progress.relay("@progress bytes x"));
        assert_eq!(text(), "");
    }
}
