//! Guest kernels by name: from Debian's package index to an unpacked kernel image and module tree in the cache.
//!
//! The newest package is resolved anew whenever the package index changed; what was used is in [`GuestKernel`], for
//! the report. A machine without apt, or without a package index, uses the newest kernel that is in the cache already; the
//! inside of the KVM lab is such a machine.

use std::{
    fs,
    io::{self, Seek as _},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

mod apt;
mod build_tree;
mod known;
mod remembered;
mod source_package;
mod sources;
mod unpacked;
mod whereabouts;

use self::sources::Sources;
pub use self::{
    build_tree::{BuildTree, build_tree},
    known::{KNOWN_GUESTS, KnownGuest},
    source_package::{SourcePackage, source_package},
    whereabouts::{Whereabouts, look_up},
};

/// A kernel ready to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestKernel {
    /// The name it was asked for by, for example "debian/6.1-cloud".
    pub name: String,
    /// The Debian package that has the kernel image, for example "linux-image-6.1.0-56-cloud-amd64".
    pub package: String,
    /// The package's version, for example "6.1.192-2".
    pub version: String,
    /// SHA-256 of the package file as the index gives it, hex; checked when it was downloaded.
    pub sha256: String,
    /// The kernel release, as `uname -r` prints.
    pub release: String,
    /// The kernel image (bzImage).
    pub image: PathBuf,
    /// The module tree (`lib/modules/RELEASE`).
    pub modules: PathBuf,
    /// The module that drives Hyper-V's synthetic video in this kernel.
    pub video_driver: String,
}

/// What [`fetch`] is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchStep {
    /// Asks the package index for the newest package.
    Resolving,
    /// There is no index to ask: looks for the newest in the cache.
    IndexUnavailable {
        /// Why.
        reason: String,
    },
    /// Downloads the package.
    Downloading {
        /// Its name.
        package: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Compares its SHA-256 with the index.
    Verifying,
    /// Unpacks it.
    Unpacking,
    /// It was in the cache, or is now.
    Ready,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No guest is called that.
    #[error("unknown guest {name:?}, did you mean {nearest:?}? known are: {known}")]
    UnknownGuest {
        /// What was asked for.
        name: String,
        /// The known name most like it.
        nearest: &'static str,
        /// All known names.
        known: String,
    },
    /// The package index has no such package, and the cache neither.
    #[error("no package {pattern} for guest {name:?}: {reason}; {remedy}")]
    NotAvailable {
        /// The guest.
        name: String,
        /// What was looked for.
        pattern: String,
        /// What stood in the way.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// There is no index of a suite's sources.
    #[error(
        "no source of package {package}: {suite}'s index of sources: {reason}; it comes from http://deb.debian.org with \
         apt-get, which must be reachable"
    )]
    NoSources {
        /// Which package.
        package: String,
        /// Which suite.
        suite: &'static str,
        /// What stood in the way.
        reason: String,
    },
    /// A tool is missing or failed.
    #[error("package {package}: {failure}; to see more, run: {command}")]
    Tool {
        /// For which package.
        package: String,
        /// The command line.
        command: String,
        /// What went wrong.
        failure: String,
    },
    /// The downloaded file is not what the index promises.
    #[error(
        "package {package}: downloaded file has SHA-256 {found}, the package index says {expected}; run: apt-get update"
    )]
    Checksum {
        /// Which package.
        package: String,
        /// As the index says.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The package does not have in it what a kernel package has.
    #[error("package {package} has no {missing} in it")]
    Layout {
        /// Which package.
        package: String,
        /// What is missing.
        missing: String,
    },
    /// The cache cannot be used.
    #[error("cache: cannot {action} {path}: {source}; set VMBUS_EMU_CACHE to a directory that can be written", path = path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    unpacked::sha256(&mut fs::File::open(path)?)
}

/// The same of one that is open, from its beginning.
///
/// # Errors
/// It cannot be read.
pub fn sha256_of_open(mut file: &fs::File) -> io::Result<String> {
    file.rewind()?;
    unpacked::sha256(&mut file)
}

/// Finds or downloads the kernel called `name`. Kernels are kept under `cache` and shared between runs and processes: each
/// appears there whole, by a rename, or not at all.
///
/// # Errors
/// Each variant of [`PackageError`] says what to do about it.
pub fn fetch(name: &str, cache: &Path, step: &mut dyn FnMut(FetchStep)) -> Result<GuestKernel, PackageError> {
    let guest = known::find(name)?;
    let kernels = cache.join("kernels");
    step(FetchStep::Resolving);
    let kernel = match newest(guest, cache, &kernels) {
        Ok(package) => match unpacked::load(&kernels, &package.directory_name(), guest)? {
            Some(kernel) => kernel,
            None => download(&package, guest, cache, &kernels, step)?,
        },
        Err(reason) => {
            step(FetchStep::IndexUnavailable { reason: reason.clone() });
            unpacked::newest(&kernels, guest)?.ok_or_else(|| not_available(guest, reason))?
        }
    };
    step(FetchStep::Ready);
    Ok(kernel)
}

/// The newest package of a guest, as its package index says. The error is the reason why that cannot tell.
fn newest(guest: &KnownGuest, cache: &Path, kernels: &Path) -> Result<apt::Package, String> {
    let sources = Sources::of(guest, cache)?;
    remembered::newest(guest, kernels, &sources, |guest| apt::newest(guest, &sources))
}

fn not_available(guest: &KnownGuest, reason: String) -> PackageError {
    PackageError::NotAvailable {
        name: guest.name.to_owned(),
        pattern: guest.pattern(),
        reason,
        remedy: match guest.suite() {
            None => {
                "add Debian 12 (bookworm) and its security updates to apt's sources and run: apt-get update"
            }
            Some(_) => "its index comes from http://deb.debian.org with apt-get, which must be reachable",
        },
    }
}

fn download(
    package: &apt::Package,
    guest: &KnownGuest,
    cache: &Path,
    kernels: &Path,
    step: &mut dyn FnMut(FetchStep),
) -> Result<GuestKernel, PackageError> {
    let cache_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PackageError::Cache { action, path, source }
    };
    let sources = Sources::of(guest, cache).map_err(|reason| not_available(guest, reason))?;
    fs::create_dir_all(kernels).map_err(cache_error("create", kernels))?;
    // Beside the final place, so that the rename stays within one file system; removed on every way out of here.
    let work = tempfile::Builder::new()
        .prefix(".incomplete-")
        .tempdir_in(kernels)
        .map_err(cache_error("create a directory in", kernels))?;
    let tree = work.path().join("kernel");
    fs::create_dir(&tree).map_err(cache_error("create", &tree))?;

    for part in package.files() {
        unpack(part, &sources, work.path(), &tree.join("root"), step)?;
    }
    unpacked::describe(&tree, package, guest)?;

    let place = kernels.join(package.directory_name());
    if let Err(error) = fs::rename(&tree, &place) {
        // Another process may have been faster; what it put there is as good.
        tracing::debug!(%error, "kernel {} is in the cache already", package.name);
    }
    unpacked::load(kernels, &package.directory_name(), guest)?.ok_or_else(|| PackageError::Cache {
        action: "rename the unpacked kernel to",
        path: place,
        source: io::ErrorKind::Other.into(),
    })
}

/// Downloads one package into `work`, compares its checksum with the index and unpacks it into `root`.
fn unpack(
    package: &apt::Package,
    sources: &Sources,
    work: &Path,
    root: &Path,
    step: &mut dyn FnMut(FetchStep),
) -> Result<(), PackageError> {
    step(FetchStep::Downloading { package: package.name.clone(), bytes: package.bytes });
    let directory = work.join(&package.name);
    let cache_error =
        |action, path: &Path, source| PackageError::Cache { action, path: path.to_owned(), source };
    fs::create_dir(&directory).map_err(|error| cache_error("create", &directory, error))?;
    let file = apt::download(package, sources, &directory)?;
    step(FetchStep::Verifying);
    let found = sha256(&file).map_err(|error| cache_error("read", &file, error))?;
    if found != package.sha256 {
        return Err(PackageError::Checksum {
            package: package.name.clone(),
            expected: package.sha256.clone(),
            found,
        });
    }
    step(FetchStep::Unpacking);
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--extract").arg(&file).arg(root);
    apt::run(dpkg, &package.name).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_guest_is_quoted_with_the_nearest_and_all_known() {
        let cache = tempfile::tempdir().unwrap();
        let error = fetch("debian/6.1-clod", cache.path(), &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown guest \"debian/6.1-clod\", did you mean \"debian/6.1-cloud\"? known are: debian/6.1-cloud, debian/6.1, debian/6.12-cloud, debian/6.12, debian/7.x"
        );
    }
}
