//! Files that arguments name: found and readable before anything else happens.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use crate::exit::ExitError;

/// Checks that `path` is a file that can be read; `option` is how it was named.
pub(super) fn readable_file(option: &str, path: &Path) -> Result<(), ExitError> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ExitError::usage(format!("{option}: there is no file {shown}")),
        _ => ExitError::usage(format!("{option}: cannot read {shown}: {error}")),
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(ExitError::usage(format!("{option}: {shown} is a directory, expected a file")))
        }
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
            Err(ExitError::usage(format!("{option}: {shown} is empty")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(ExitError::usage(format!("{option}: cannot read {shown}: {error}"))),
    }
}

/// Checks that `path` is a directory that can be listed.
pub(super) fn readable_directory(option: &str, path: &Path) -> Result<(), ExitError> {
    let shown = path.display();
    match fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ExitError::usage(format!("{option}: there is no directory {shown}")))
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(ExitError::usage(format!("{option}: {shown} is a file, expected a directory")))
        }
        Err(error) => Err(ExitError::usage(format!("{option}: cannot list {shown}: {error}"))),
    }
}

/// Makes `path` a directory, with those above it, if it is none.
pub(super) fn make_directory(option: &str, path: &Path) -> Result<(), ExitError> {
    fs::create_dir_all(path).map_err(|error| {
        ExitError::usage(format!("{option}: cannot make the directory {}: {error}", path.display()))
    })
}
