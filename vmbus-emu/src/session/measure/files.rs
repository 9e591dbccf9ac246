//! What a measurement leaves in its directory.

use std::fs;
use std::path::{Path, PathBuf};

use device_model::Picture;
use display::heat::{Which, write_heat_png};
use meter::measurement::Measurement;
use report_page::trace::chrome_json;

use crate::exit::ExitError;
use crate::output::{write_json, write_whole};
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
    let mut last = None;
    for (workload, picture) in &pictures.0 {
        let path = named(directory, "screenshot", workload, "");
        write_picture(&path, picture)?;
        last = Some((path, picture));
    }
    let screen = last.as_ref().map(|(_, picture)| (picture.width, picture.height));
    for workload in &measurement.workloads {
        let Some(heat) = &workload.heat else { continue };
        for which in Which::ALL {
            let path = named(directory, "heat", &workload.name, &format!("-{}", which.word()));
            write_heat_png(&path, heat, which, screen)
                .map_err(|error| ExitError::cannot_run(error.to_string()))?;
        }
    }
    let screenshot = last.and_then(|(path, _)| fs::read(path).ok());
    let pictures = report_page::Pictures { screenshot: screenshot.as_deref() };
    write_whole(&directory.join("report.html"), report_page::html(measurement, &pictures).as_bytes())?;
    write_whole(&directory.join("trace.json"), chrome_json(measurement, &[]).as_bytes())?;
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
