//! Arguments of `compare`, checked.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser as _;

use super::measure::MeasureArgs;
use super::run::in_range;
use super::{FailOn, files, low};
use crate::exit::ExitError;
use crate::output::ResultFiles;

/// Most rounds.
const ROUNDS_MAX: u32 = 100;

/// What to compare, and what to make of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CompareArgs {
    /// The two sides.
    pub(crate) compared: Compared,
    /// Where the comparison goes.
    pub(crate) results: ResultFiles,
    /// The verdict that is a failure, if one is.
    pub(crate) fail_on: Option<FailOn>,
}

/// Where the measurements come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Compared {
    /// They exist already: files, or directories with files.
    Reports {
        /// What is compared with.
        a: PathBuf,
        /// What is judged.
        b: PathBuf,
    },
    /// They are taken now.
    Rounds(Box<Rounds>),
}

/// Two guests, measured in turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rounds {
    /// What is compared with. Its results go nowhere.
    pub(crate) a: MeasureArgs,
    /// What is judged.
    pub(crate) b: MeasureArgs,
    /// How often each.
    pub(crate) rounds: u32,
    /// Where every measurement is kept.
    pub(crate) keep: Option<PathBuf>,
}

impl TryFrom<low::Compare> for CompareArgs {
    type Error = ExitError;

    fn try_from(compare: low::Compare) -> Result<Self, ExitError> {
        let compared = match <[PathBuf; 2]>::try_from(compare.reports) {
            Ok([a, b]) => {
                for path in [&a, &b] {
                    if !path.exists() {
                        let path = path.display();
                        return Err(ExitError::usage(format!("there is no file or directory {path}")));
                    }
                }
                Compared::Reports { a, b }
            }
            Err(_) => {
                let (a, b) = sides(compare.guest, compare.a, compare.b)?;
                in_range("--rounds", u64::from(compare.rounds), 1, u64::from(ROUNDS_MAX))?;
                let a = side("--a", &a, &compare.both)?;
                let b = side("--b", &b, &compare.both)?;
                if let Some(keep) = &compare.out {
                    files::make_directory("--out", keep)?;
                }
                let (rounds, keep) = (compare.rounds, compare.out);
                Compared::Rounds(Box::new(Rounds { a, b, rounds, keep }))
            }
        };
        let results = ResultFiles::claim(compare.report, None)?;
        Ok(Self { compared, results, fail_on: compare.fail_on })
    }
}

/// The options of each side alone.
fn sides(
    guests: Vec<String>,
    a: Option<String>,
    b: Option<String>,
) -> Result<(Vec<String>, Vec<String>), ExitError> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    match (<[String; 2]>::try_from(guests), a, b) {
        (Ok([a, b]), ..) => Ok((vec![format!("--guest={a}")], vec![format!("--guest={b}")])),
        (Err(guests), Some(a), Some(b)) if guests.is_empty() => Ok((words(a), words(b))),
        (Err(guests), ..) if guests.is_empty() => Err(ExitError::usage("nothing to compare was named")
            .with_hint("name two reports, or two guests with --guest A --guest B")),
        (Err(guests), ..) => {
            let count = guests.len();
            Err(ExitError::usage(format!("--guest: {count} given, a comparison is of 2")))
        }
    }
}

/// One side's `measure`, as if it had been typed.
fn side(option: &str, own: &[String], both: &[String]) -> Result<MeasureArgs, ExitError> {
    let refuse = |reason: String| ExitError::usage(format!("{option}: {reason}"));
    let words = ["vmbus-emu", "measure"].iter().map(OsString::from);
    let words = words.chain(own.iter().chain(both).map(OsString::from));
    let line = low::Line::try_parse_from(words)
        .map_err(|error| refuse(error.to_string().trim_start_matches("error: ").trim_end().to_owned()))?;
    let low::Command::Measure(measure) = line.command else {
        return Err(refuse("it is another command".to_owned()));
    };
    if measure.report.is_some() {
        return Err(refuse("--report is not for one side; --out keeps every measurement".to_owned()));
    }
    MeasureArgs::try_from(measure).map_err(|error| error.about(option))
}
