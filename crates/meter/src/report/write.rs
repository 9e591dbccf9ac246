//! The report's file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Report;

/// Why the report was not written. Nothing, or the earlier file, is at its path then.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The path does not name a file.
    #[error("report path {path:?} does not name a file")]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// The report could not be turned into JSON.
    #[error("cannot encode the report: {0}")]
    Encode(#[source] serde_json::Error),
    /// A file could not be written.
    #[error("cannot write the report to {path:?}: {source}")]
    Write {
        /// The file that was being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Report {
    /// The report as indented JSON with a line end.
    ///
    /// *Errors*: [`ReportError::Encode`].
    pub fn to_json(&self) -> Result<String, ReportError> {
        let mut json = serde_json::to_string_pretty(self).map_err(ReportError::Encode)?;
        json.push('\n');
        Ok(json)
    }

    /// Writes the report to `path` so that a reader sees the earlier file or the whole new one.
    ///
    /// The text goes to a file of its own in the same directory, which is then renamed.
    ///
    /// *Errors*: [`ReportError`]; the file beside it is removed then.
    pub fn write_json_atomically(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            return Err(ReportError::NoFileName { path: path.to_owned() });
        };
        let json = self.to_json()?;
        let mut beside_name = name.to_owned();
        beside_name.push(format!(".{}.tmp", std::process::id()));
        let beside = path.with_file_name(beside_name);
        let written = write_whole(&beside, json.as_bytes()).and_then(|()| fs::rename(&beside, path));
        written.map_err(|source| {
            // It may not exist; the first error is the one to tell.
            let _ = fs::remove_file(&beside);
            ReportError::Write { path: path.to_owned(), source }
        })
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
