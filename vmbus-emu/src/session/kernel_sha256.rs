//! SHA-256 of the kernel that was booted, for the report.

use std::cell::OnceCell;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use guest_kit::packages;

/// SHA-256 of what is booted.
#[derive(Debug)]
pub(crate) enum KernelSha256 {
    /// Of the package, as the package index has it.
    OfPackage(String),
    /// Of a file of the user's.
    OfFile(KernelFile),
}

impl KernelSha256 {
    /// In hexadecimal digits; or why nobody knows.
    pub(crate) fn digits(&self) -> Result<&str, &str> {
        match self {
            Self::OfPackage(digits) => Ok(digits),
            Self::OfFile(file) => file.digits(),
        }
    }
}

/// A kernel file, opened before it is booted. Its checksum takes a tenth of a second or more, which a guest should not wait for: it is worked
/// out for the report, and only if the file is still the one that was booted.
#[derive(Debug)]
pub(crate) struct KernelFile {
    path: PathBuf,
    file: File,
    before: Identity,
    digits: OnceCell<Result<String, String>>,
}

/// What changes when a file is written or replaced: device, inode, size, times of the last write and the last change.
type Identity = (u64, u64, u64, [i64; 4]);

fn identity(of: &Metadata) -> Identity {
    (of.dev(), of.ino(), of.size(), [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()])
}

impl KernelFile {
    /// Opens it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let before = identity(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, before, digits: OnceCell::new() })
    }

    fn digits(&self) -> Result<&str, &str> {
        let digits = self.digits.get_or_init(|| {
            let unknown = |reason: &dyn std::fmt::Display| {
                format!("the SHA-256 of the kernel {} is not known: {reason}", self.path.display())
            };
            let digits = packages::sha256_of_open(&self.file).map_err(|error| unknown(&error))?;
            // By its path, as a reset of the guest opens it again.
            match std::fs::metadata(&self.path) {
                Ok(now) if identity(&now) == self.before => Ok(digits),
                Ok(_) => Err(unknown(&"it was changed while the guest ran")),
                Err(error) => Err(unknown(&error)),
            }
        });
        digits.as_deref().map_err(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn kernel() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bzImage");
        fs::write(&path, "abc").unwrap();
        (directory, path)
    }

    #[test]
    fn file_that_stays_has_its_checksum() {
        let (_directory, path) = kernel();
        assert_eq!(KernelFile::open(&path).unwrap().digits(), Ok(ABC));
    }

    #[test]
    fn file_that_was_written_replaced_or_removed_meanwhile_has_none() {
        let changes: [fn(&Path); 3] = [
            |path| fs::write(path, "abcd").unwrap(),
            |path| {
                fs::write(path.with_extension("new"), "abc").unwrap();
                fs::rename(path.with_extension("new"), path).unwrap();
            },
            |path| fs::remove_file(path).unwrap(),
        ];
        for change in changes {
            let (_directory, path) = kernel();
            let file = KernelFile::open(&path).unwrap();
            change(&path);
            let told = file.digits().unwrap_err();
            assert!(told.contains(&path.display().to_string()) && told.contains("is not known: "), "{told}");
        }
    }
}
