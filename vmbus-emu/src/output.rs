//! Files that the program leaves behind, tried before the work begins.
//!
//! Reports and pictures replace their files whole, by a rename, so a place for one must not be a device or a pipe:
//! a rename would put a plain file in its stead. The console is written as it comes and may go anywhere.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::exit::ExitError;

/// Where pictures and the report of a run go; every place was tried when this was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResultFiles {
    report: Option<PathBuf>,
    directory: Option<PathBuf>,
}

impl ResultFiles {
    /// Tries the places: makes `directory` if it is missing, and a file next to each result, removed at once.
    ///
    /// # Errors
    /// A place that cannot be written to: a mistake in the command line.
    pub(crate) fn claim(report: Option<PathBuf>, directory: Option<PathBuf>) -> Result<Self, ExitError> {
        if let Some(report) = &report {
            try_place("--report", report, Written::Whole)?;
        }
        if let Some(directory) = &directory {
            fs::create_dir_all(directory).map_err(|error| {
                ExitError::usage(format!("--out: cannot make the directory {}: {error}", directory.display()))
            })?;
        }
        let claimed = Self { report, directory };
        for name in ["graphics.png", "console.png", "report.json", "console.log"] {
            if let Some(path) = claimed.in_directory(name) {
                try_place("--out", &path, Written::Whole)?;
            }
        }
        Ok(claimed)
    }

    /// Where the report goes, if anywhere: the file named for it, else `report.json` in the directory.
    pub(crate) fn report(&self) -> Option<PathBuf> {
        self.report.clone().or_else(|| self.in_directory("report.json"))
    }

    /// Where the picture called `name` goes, if anywhere; `name` is without its ending.
    pub(crate) fn picture(&self, name: &str) -> Option<PathBuf> {
        self.in_directory(&format!("{name}.png"))
    }

    /// The directory for everything, as given.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The file for the report alone, as given.
    pub(crate) fn report_given(&self) -> Option<&Path> {
        self.report.as_deref()
    }

    fn in_directory(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name))
    }
}

/// Writes `value` to `path` as indented JSON, so that a reader sees the earlier file or the whole new one.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), ExitError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| ExitError::cannot_run(format!("cannot encode {}: {error}", path.display())))?;
    json.push(b'\n');
    write_whole(path, &json)
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ExitError> {
    let beside = beside(path);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // It may not exist; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
        ExitError::cannot_run(format!("cannot write {}: {error}", path.display()))
    })
}

/// Where a guest's serial console goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsoleOutput {
    to_stdout: bool,
    given: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl ConsoleOutput {
    /// `asked` is what was typed, `-` for standard output; without a file there, the results' directory takes it.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub(crate) fn claim(asked: Option<PathBuf>, results: &ResultFiles) -> Result<Self, ExitError> {
        let to_stdout = asked.as_deref() == Some(Path::new("-"));
        let given = asked.filter(|_| !to_stdout);
        if let Some(file) = &given {
            try_place("--console", file, Written::AsItComes)?;
        }
        let file = given.clone().or_else(|| results.in_directory("console.log"));
        Ok(Self { to_stdout, given, file })
    }

    /// It is copied to standard output.
    pub(crate) fn to_stdout(&self) -> bool {
        self.to_stdout
    }

    /// It is written to this file as it comes.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The file that was named for it, as typed.
    pub(crate) fn file_given(&self) -> Option<&Path> {
        self.given.as_deref()
    }
}

/// How a file comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// By renaming a finished file over it.
    Whole,
    /// Piece by piece.
    AsItComes,
}

/// Tries to write where `path` is to be, without touching `path`.
fn try_place(option: &str, path: &Path, written: Written) -> Result<(), ExitError> {
    let shown = path.display();
    let refuse = |reason: String| ExitError::usage(format!("{option}: cannot write {shown}: {reason}"));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(refuse("it is a directory".to_owned())),
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(refuse("it is read-only".to_owned()));
        }
        Ok(metadata) if !metadata.is_file() && written == Written::Whole => {
            return Err(refuse("it is a device or a pipe, expected a plain file".to_owned()));
        }
        Ok(metadata) if !metadata.is_file() => {
            let opened = OpenOptions::new().write(true).open(path);
            return opened.map(drop).map_err(|error| refuse(error.to_string()));
        }
        _ => {}
    }
    if path.file_name().is_none() {
        return Err(refuse("it has no file name".to_owned()));
    }
    let parent = parent(path);
    if !parent.is_dir() {
        return Err(refuse(format!("there is no directory {}", parent.display()))
            .with_hint(format!("mkdir -p {}", parent.display())));
    }
    let beside = beside(path);
    File::create(&beside).map_err(|error| refuse(error.to_string()))?;
    fs::remove_file(&beside).map_err(|error| refuse(error.to_string()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A name in the same directory that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".{name}.{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_place_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report.json");
        fs::write(&report, "old").unwrap();
        ResultFiles::claim(Some(report.clone()), None).unwrap();
        assert_eq!(fs::read_to_string(&report).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn report_in_a_missing_directory_is_refused_with_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("no/report.json");
        let error = ResultFiles::claim(Some(report), None).unwrap_err().to_string();
        assert!(error.contains("there is no directory") && error.contains("hint: mkdir -p"), "{error}");
    }

    #[test]
    fn report_on_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = ResultFiles::claim(Some(dir.path().to_owned()), None).unwrap_err().to_string();
        assert!(error.ends_with("it is a directory"), "{error}");
    }

    #[test]
    fn report_over_a_read_only_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report.json");
        fs::write(&report, "kept").unwrap();
        let mut permissions = fs::metadata(&report).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&report, permissions).unwrap();
        let error = ResultFiles::claim(Some(report), None).unwrap_err().to_string();
        assert!(error.ends_with("it is read-only"), "{error}");
    }

    #[test]
    fn out_directory_is_made_and_names_every_result() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let results = ResultFiles::claim(None, Some(out.clone())).unwrap();
        assert_eq!(results.report(), Some(out.join("report.json")));
        assert_eq!(results.picture("graphics"), Some(out.join("graphics.png")));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        let console = ConsoleOutput::claim(None, &results).unwrap();
        assert_eq!(console.file(), Some(out.join("console.log").as_path()));
    }

    #[test]
    fn out_below_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = ResultFiles::claim(None, Some(file.join("out"))).unwrap_err().to_string();
        assert!(error.starts_with("error: --out: cannot make the directory"), "{error}");
    }

    #[test]
    fn named_report_wins_over_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("r.json");
        let results = ResultFiles::claim(Some(report.clone()), Some(dir.path().to_owned())).unwrap();
        assert_eq!(results.report(), Some(report));
    }

    #[test]
    fn dash_is_standard_output_beside_the_log_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let results = ResultFiles::claim(None, Some(dir.path().to_owned())).unwrap();
        let console = ConsoleOutput::claim(Some("-".into()), &results).unwrap();
        assert!(console.to_stdout());
        assert_eq!(console.file(), Some(dir.path().join("console.log").as_path()));
        assert_eq!(console.file_given(), None);
    }

    #[test]
    fn report_over_a_device_is_refused_and_a_console_is_not() {
        let error = ResultFiles::claim(Some("/dev/null".into()), None).unwrap_err().to_string();
        assert!(error.ends_with("it is a device or a pipe, expected a plain file"), "{error}");
        let console = ConsoleOutput::claim(Some("/dev/null".into()), &ResultFiles::default()).unwrap();
        assert_eq!(console.file(), Some(Path::new("/dev/null")));
    }
}
