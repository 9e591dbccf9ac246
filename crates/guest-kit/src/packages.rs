//! Guest kernels by name: from Debian's package index to an unpacked kernel image and module tree in the cache.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A kernel ready to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestKernel {
    /// The name it was asked for by, for example "debian/6.1-cloud".
    pub name: String,
    /// The Debian package, for example "linux-image-6.1.0-56-cloud-amd64".
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
    /// To be filled in.
    #[error("not written yet")]
    Unwritten,
}

/// Finds or downloads the kernel called `name` into `cache`.
///
/// # Errors
/// See [`PackageError`].
pub fn fetch(
    _name: &str,
    _cache: &Path,
    _step: &mut dyn FnMut(FetchStep),
) -> Result<GuestKernel, PackageError> {
    Err(PackageError::Unwritten)
}
