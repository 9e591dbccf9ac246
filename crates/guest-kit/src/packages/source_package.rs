//! A source package of Debian's, for what is built from one with a change. Nothing of it is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{PackageError, apt, known::BOOKWORM_SOURCES, sources::Sources};

/// The unpacked source of a package, with Debian's patches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePackage {
    /// The package's version, for example "1:7.2+dfsg-7+deb12u18".
    pub version: String,
    /// Its directory.
    pub tree: PathBuf,
}

/// Downloads the source of `name` that Debian 12 has (suite bookworm) into the directory `work`, and unpacks it there. apt holds the files to the
/// checksums of its signed index.
///
/// # Errors
/// The archive cannot be reached, or dpkg-source is missing or fails; the message has the command.
pub fn source_package(name: &str, cache: &Path, work: &Path) -> Result<SourcePackage, PackageError> {
    let failed = |command: &str, failure: String| PackageError::Tool {
        package: name.to_owned(),
        command: command.to_owned(),
        failure,
    };
    let sources = Sources::in_cache(&BOOKWORM_SOURCES, cache).map_err(|reason| PackageError::NoSources {
        package: name.to_owned(),
        suite: BOOKWORM_SOURCES.name,
        reason,
    })?;
    let mut download = sources.command("apt-get");
    download.args(["source", "-q", "--download-only", name]).current_dir(work);
    let command = apt::run(download, name)?;
    let description = fs::read_dir(work).ok().and_then(|mut entries| {
        entries.find_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "dsc").then_some(path)
        })
    });
    let description =
        description.ok_or_else(|| failed(&command, "apt-get succeeded but left no .dsc file".into()))?;
    let text = fs::read_to_string(&description).map_err(|error| failed(&command, error.to_string()))?;
    let version = version(&text).ok_or_else(|| PackageError::Layout {
        package: name.to_owned(),
        missing: format!("version in {}", description.display()),
    })?;
    let tree = work.join("source");
    let mut unpack = Command::new("dpkg-source");
    unpack.arg("--extract").arg(&description).arg(&tree);
    apt::run(unpack, name)?;
    Ok(SourcePackage { version, tree })
}

/// The version in a `.dsc` file, which is mostly signed and has the line outside any list.
fn version(description: &str) -> Option<String> {
    description.lines().find_map(|line| Some(line.strip_prefix("Version:")?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_line_of_that_name() {
        let text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 3.0 (quilt)\nSource: qemu\n\
            Version: 1:7.2+dfsg-7\nStandards-Version: 4.6.1\n";
        assert_eq!(version(text).unwrap(), "1:7.2+dfsg-7");
        assert_eq!(version("Standards-Version: 4.6.1\n"), None);
    }
}
