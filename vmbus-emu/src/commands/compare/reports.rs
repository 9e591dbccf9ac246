//! Measurements from files.

use std::fs;
use std::path::{Path, PathBuf};

use meter::measurement::{Measurement, SCHEMA};

use crate::exit::ExitError;

/// The file that a measurement leaves in its directory.
const NAME: &str = "report.json";
/// How far below a directory files are looked for.
const DEPTH: u32 = 4;
/// Most files of one side.
const FILES_MAX: usize = 1000;
/// Largest file.
const BYTES_MAX: u64 = 64 << 20;

/// The measurement in the file `path`, or all in the directory `path`, in the order of their names.
///
/// # Errors
/// A file that is no measurement, or a directory without any: mistakes of the command line.
pub(super) fn read(path: &Path) -> Result<Vec<Measurement>, ExitError> {
    if !path.is_dir() {
        return Ok(vec![read_one(path)?]);
    }
    let mut files = Vec::new();
    find(path, DEPTH, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(ExitError::usage(format!("there is no {NAME} in {} or below it", path.display())));
    }
    files.iter().map(|file| read_one(file)).collect()
}

/// One measurement.
pub(super) fn read_one(path: &Path) -> Result<Measurement, ExitError> {
    let refuse = |reason: String| ExitError::usage(format!("{}: {reason}", path.display()));
    let size = fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(refuse(format!("{size} bytes, limit is {BYTES_MAX}")));
    }
    let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| refuse(format!("it is no JSON: {error}")))?;
    match value.get("schema").and_then(|schema| schema.as_str()) {
        Some(SCHEMA) => {}
        Some(other) => return Err(refuse(format!("it is a {other:?}, expected a {SCHEMA:?}"))),
        None => return Err(refuse(format!("it has no schema, expected {SCHEMA:?}"))),
    }
    serde_json::from_value(value).map_err(|error| refuse(format!("it is no whole measurement: {error}")))
}

fn find(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<(), ExitError> {
    let failed =
        |error: std::io::Error| ExitError::usage(format!("cannot list {}: {error}", directory.display()));
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, files)?;
        } else if path.file_name().is_some_and(|name| name == NAME) {
            if files.len() >= FILES_MAX {
                let shown = directory.display();
                return Err(ExitError::usage(format!("more than {FILES_MAX} of {NAME} up to {shown}")));
            }
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_no_measurement_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for (text, word) in [
            ("not json", "it is no JSON"),
            ("{}", "it has no schema"),
            ("{\"schema\": \"vmbus-emu.report/1\"}", "it is a \"vmbus-emu.report/1\", expected a"),
            ("{\"schema\": \"vmbus-emu.measurement/1\"}", "it is no whole measurement"),
        ] {
            let path = dir.path().join("x.json");
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("x.json"), "{error}");
        }
    }

    #[test]
    fn directory_without_reports_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("there is no report.json in"), "{error}");
    }
}
