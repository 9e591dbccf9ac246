//! Kernels in the cache: `kernels/PACKAGE_VERSION/{kernel.json,root/}`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{GuestKernel, KnownGuest, PackageError, apt::Package};

/// `kernel.json`. Paths are relative to its directory, so that the cache can move.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    package: String,
    version: String,
    sha256: String,
    release: String,
    image: PathBuf,
    modules: PathBuf,
}

const DESCRIPTION: &str = "kernel.json";

/// Writes `kernel.json` into a directory that has the unpacked package as `root`.
pub(super) fn describe(directory: &Path, package: &Package, guest: &KnownGuest) -> Result<(), PackageError> {
    let missing =
        |what: &str| PackageError::Layout { package: package.name.clone(), missing: what.to_owned() };
    let modules = ["root/lib/modules", "root/usr/lib/modules"].iter().find_map(|parent| {
        let entry = fs::read_dir(directory.join(parent)).ok()?.next()?.ok()?;
        Some((Path::new(parent).join(entry.file_name()), entry.file_name().into_string().ok()?))
    });
    let (modules, release) = modules.ok_or_else(|| missing("lib/modules/RELEASE"))?;
    let images = [PathBuf::from(format!("root/boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|path| directory.join(path).is_file());
    let description = Description {
        package: package.name.clone(),
        version: package.version.clone(),
        sha256: package.sha256.clone(),
        image: image.ok_or_else(|| missing(&format!("boot/vmlinuz-{release}")))?,
        release,
        modules,
    };
    tracing::debug!(?description, "unpacked a kernel for {}", guest.name);
    let path = directory.join(DESCRIPTION);
    let write = || {
        let text = serde_json::to_vec_pretty(&description)?;
        fs::write(&path, text)
    };
    write().map_err(|source| PackageError::Cache { action: "write", path: path.clone(), source })
}

/// The kernel in one directory of the cache; none if there is no such directory.
pub(super) fn load(
    kernels: &Path,
    directory: &str,
    guest: &KnownGuest,
) -> Result<Option<GuestKernel>, PackageError> {
    let directory = kernels.join(directory);
    let path = directory.join(DESCRIPTION);
    let read_error = |source| PackageError::Cache { action: "read", path: path.clone(), source };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(read_error)?,
    };
    let description: Description = serde_json::from_slice(&text).map_err(|error| read_error(error.into()))?;
    Ok(Some(GuestKernel {
        name: guest.name.to_owned(),
        package: description.package,
        version: description.version,
        sha256: description.sha256,
        release: description.release,
        image: directory.join(description.image),
        modules: directory.join(description.modules),
        video_driver: guest.video_driver.to_owned(),
    }))
}

/// The newest of a guest's kernels in the cache.
pub(super) fn newest(kernels: &Path, guest: &KnownGuest) -> Result<Option<GuestKernel>, PackageError> {
    let entries = match fs::read_dir(kernels) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| PackageError::Cache {
            action: "read",
            path: kernels.to_owned(),
            source,
        })?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names
        .filter_map(|name| {
            let (package, version) = name.split_once('_')?;
            Some((guest.number(package)?, version.to_owned(), name))
        })
        .max();
    newest.map_or(Ok(None), |(.., name)| load(kernels, &name, guest))
}

/// The SHA-256 of a file, hex.
pub(super) fn sha256(file: &mut impl io::Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::known;

    fn unpack(kernels: &Path, number: u32) {
        let release = format!("6.1.0-{number}-cloud-amd64");
        let package = Package {
            name: format!("linux-image-{release}"),
            version: "6.1.1-1".into(),
            sha256: "00".into(),
            bytes: 1,
            companions: Vec::new(),
        };
        let directory = kernels.join(package.directory_name());
        fs::create_dir_all(directory.join("root/boot")).unwrap();
        fs::create_dir_all(directory.join("root/lib/modules").join(&release)).unwrap();
        fs::write(directory.join("root/boot").join(format!("vmlinuz-{release}")), "image").unwrap();
        describe(&directory, &package, known::find("debian/6.1-cloud").unwrap()).unwrap();
    }

    #[test]
    fn newest_in_the_cache_is_by_number_and_not_by_text() {
        let dir = tempfile::tempdir().unwrap();
        unpack(dir.path(), 9);
        unpack(dir.path(), 56);
        fs::create_dir(dir.path().join(".incomplete-x")).unwrap();
        let kernel = newest(dir.path(), known::find("debian/6.1-cloud").unwrap()).unwrap().unwrap();
        assert_eq!(kernel.release, "6.1.0-56-cloud-amd64");
        assert_eq!(fs::read(&kernel.image).unwrap(), b"image");
        assert!(kernel.modules.is_dir());
        assert_eq!(newest(dir.path(), known::find("debian/6.1").unwrap()).unwrap(), None);
    }

    #[test]
    fn package_without_an_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/lib/modules/6.1.0-1-amd64")).unwrap();
        let package = Package {
            name: "p".into(),
            version: "1".into(),
            sha256: String::new(),
            bytes: 0,
            companions: Vec::new(),
        };
        let error = describe(dir.path(), &package, known::find("debian/6.1").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "package p has no boot/vmlinuz-6.1.0-1-amd64 in it");
    }

    #[test]
    fn sha256_is_the_well_known_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        assert_eq!(
            sha256(&mut fs::File::open(file.path()).unwrap()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
