//! Two guests measured in turn, so that a host that gets slower or faster meanwhile does so for both.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meter::measurement::Measurement;

use super::reports;
use crate::cli::{MeasureArgs, Rounds};
use crate::exit::{ExitError, ExitKind};
use crate::output::ResultFiles;
use crate::progress::{Phase, Progress};
use crate::session::stop::StopRequest;

/// Measures A B B A and so on; each run is a process of its own, so that none finds what another left behind.
///
/// # Errors
/// A run without a measurement. A budget that a run breaks is none.
pub(super) fn measure(
    rounds: &Rounds,
    progress: &Progress,
) -> Result<(Vec<Measurement>, Vec<Measurement>), ExitError> {
    let stop = StopRequest::catch_signals()?;
    let kept = Kept::new(rounds.keep.as_deref())?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 1..=rounds.rounds {
        let mut sides = [("a", &rounds.a, &mut a), ("b", &rounds.b, &mut b)];
        if round % 2 == 0 {
            sides.reverse();
        }
        for (name, args, measured) in sides {
            let directory = kept.path().join(format!("{name}-{round:02}"));
            progress.begin(Phase::Round);
            progress.note(&format!("{round} of {}, {}", rounds.rounds, name.to_uppercase()));
            measured.push(one(args, &directory, progress)?);
            progress.done(&format!("{round} of {}, {}", rounds.rounds, name.to_uppercase()));
            if stop.requested() {
                return Err(ExitError::check_failed("stopped by a signal before the comparison was over"));
            }
        }
    }
    Ok((a, b))
}

/// One measurement, in `directory`.
fn one(args: &MeasureArgs, directory: &Path, progress: &Progress) -> Result<Measurement, ExitError> {
    let mut args = args.clone();
    args.run.results = ResultFiles::claim(None, Some(directory.to_owned()))?;
    let failed = |what: &str, error: std::io::Error| ExitError::cannot_run(format!("{what}: {error}"));
    let program = std::env::current_exe().map_err(|error| failed("this program's own file", error))?;
    let output = Command::new(program)
        .args(args.to_arguments()?)
        .arg("--progress=none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| failed("a measurement cannot be started", error))?;
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        // A broken budget is a finding about one guest, not a reason not to compare.
        Some(0 | 1) if directory.join("report.json").is_file() => {
            reports::read_one(&directory.join("report.json"))
        }
        code => {
            progress.suspend(|| eprint!("{told}"));
            Err(ExitError::told(if code == Some(2) { ExitKind::Usage } else { ExitKind::CannotRun }))
        }
    }
}

/// The directory of all measurements, removed at the end unless the user named it.
enum Kept {
    Named(PathBuf),
    Temporary(PathBuf),
}

impl Kept {
    fn new(named: Option<&Path>) -> Result<Self, ExitError> {
        if let Some(named) = named {
            return Ok(Self::Named(named.to_owned()));
        }
        let path = std::env::temp_dir().join(format!("vmbus-emu-compare-{}", std::process::id()));
        std::fs::create_dir(&path)
            .map_err(|error| ExitError::cannot_run(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self::Temporary(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Temporary(path) => path,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self
            && let Err(error) = std::fs::remove_dir_all(&*path)
        {
            tracing::info!("{} stays: {error}", path.display());
        }
    }
}
