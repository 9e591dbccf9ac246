//! Files that the program leaves behind: tried before the work, replaced whole after it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
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
            try_place("--report", report)?;
        }
        if let Some(directory) = &directory {
            fs::create_dir_all(directory).map_err(|error| {
                ExitError::usage(format!("--out: cannot make the directory {}: {error}", directory.display()))
            })?;
        }
        let claimed = Self { report, directory };
        for name in ["graphics.png", "console.png", "report.json", "console.log"] {
            if let Some(path) = claimed.in_directory(name) {
                try_place("--out", &path)?;
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
            try_place("--console", file)?;
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

/// Writes `bytes` to `path` so that no one ever sees half of them: a file next to it, then a rename.
///
/// What is not a regular file (a pipe, /dev/stdout) is written directly, as there is nothing to rename over.
///
/// # Errors
/// This host's: a full disk, a directory that went away. The old file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ExitError> {
    let failed =
        |error: io::Error| ExitError::cannot_run(format!("cannot write {}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return file.write_all(bytes).map_err(failed);
    }
    let beside = beside(path);
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // Best effort: the message about the write matters more than a leftover.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Tries to write where `path` is to be, without touching `path`.
fn try_place(option: &str, path: &Path) -> Result<(), ExitError> {
    let shown = path.display();
    let refuse = |reason: String| ExitError::usage(format!("{option}: cannot write {shown}: {reason}"));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(refuse("it is a directory".to_owned())),
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(refuse("it is read-only".to_owned()));
        }
        Ok(metadata) if !metadata.is_file() => {
            return OpenOptions::new()
                .write(true)
                .open(path)
                .map(drop)
                .map_err(|error| refuse(error.to_string()));
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
    fn replaced_file_is_whole_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        fs::write(&path, "something longer").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn failed_replace_leaves_no_half_written_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/report.json");
        let error = replace(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn device_file_is_written_directly() {
        ResultFiles::claim(Some("/dev/null".into()), None).unwrap();
        replace(Path::new("/dev/null"), b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
