//! What a measurement leaves in its directory.

use std::path::{Path, PathBuf};

use device_model::Picture;
use meter::measurement::Measurement;

use crate::exit::ExitError;
use crate::output::write_json;
use crate::session::scenario::write_picture;

/// Most pictures that are kept in memory; each is as large as the screen.
const PICTURES_MAX: usize = 64;

/// The host's picture after each workload, by the workload's name.
#[derive(Debug, Default)]
pub(super) struct Pictures(Vec<(String, Picture)>);

impl Pictures {
    /// Keeps a picture.
    pub(super) fn keep(&mut self, workload: &str, picture: Picture) {
        if self.0.len() < PICTURES_MAX {
            self.0.push((workload.to_owned(), picture));
        }
    }
}

/// Writes everything; each file appears whole or not at all, the report last.
pub(super) fn write(
    directory: &Path,
    measurement: &Measurement,
    pictures: &Pictures,
) -> Result<(), ExitError> {
    for (workload, picture) in &pictures.0 {
        write_picture(&named(directory, "screenshot", workload, ""), picture)?;
    }
    write_json(&directory.join("report.json"), measurement)
}

/// A file for `workload`, whose name may be a path.
fn named(directory: &Path, what: &str, workload: &str, more: &str) -> PathBuf {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let workload: String = workload.chars().map(plain).collect();
    directory.join(format!("{what}-{workload}{more}.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workload_that_is_a_path_stays_in_the_directory() {
        let path = named(Path::new("out"), "heat", "exec:../../bin/x", "-missed");
        assert_eq!(path, Path::new("out/heat-exec-------bin-x-missed.png"));
    }
}
