//! Where a guest's kernel would come from, found out without fetching anything.

use std::path::Path;

use super::{GuestKernel, KnownGuest, PackageError, apt, known, newest, not_available, unpacked};

/// Where a guest's kernel would come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is in the cache, and the package index knows no newer one.
    Cached(GuestKernel),
    /// It would be downloaded.
    Archive {
        /// The Debian package.
        package: String,
        /// Its version.
        version: String,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// What [`super::fetch`] would boot as `name`. Downloads and unpacks no package.
///
/// # Errors
/// As [`super::fetch`], but for what only a download can show.
pub fn look_up(name: &str, cache: &Path) -> Result<Whereabouts, PackageError> {
    let guest = known::find(name)?;
    look_up_in(guest, &cache.join("kernels"), |guest, kernels| newest(guest, cache, kernels))
}

fn look_up_in(
    guest: &KnownGuest,
    kernels: &Path,
    newest: impl FnOnce(&KnownGuest, &Path) -> Result<apt::Package, String>,
) -> Result<Whereabouts, PackageError> {
    let kernel = match newest(guest, kernels) {
        Ok(package) => match unpacked::load(kernels, &package.directory_name(), guest)? {
            Some(kernel) => kernel,
            None => {
                let bytes = package.total_bytes();
                let apt::Package { name, version, .. } = package;
                return Ok(Whereabouts::Archive { package: name, version, bytes });
            }
        },
        Err(reason) => unpacked::newest(kernels, guest)?.ok_or_else(|| not_available(guest, reason))?,
    };
    Ok(Whereabouts::Cached(kernel))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn package() -> apt::Package {
        apt::Package {
            name: "linux-image-6.1.0-56-cloud-amd64".into(),
            version: "6.1.192-2".into(),
            sha256: "00".into(),
            bytes: 26_713_492,
            companions: Vec::new(),
        }
    }

    fn unpack(kernels: &Path, guest: &KnownGuest) {
        let directory = kernels.join(package().directory_name());
        fs::create_dir_all(directory.join("root/boot")).unwrap();
        fs::create_dir_all(directory.join("root/lib/modules/6.1.0-56-cloud-amd64")).unwrap();
        fs::write(directory.join("root/boot/vmlinuz-6.1.0-56-cloud-amd64"), "").unwrap();
        unpacked::describe(&directory, &package(), guest).unwrap();
    }

    #[test]
    fn kernel_is_in_the_archive_until_it_is_unpacked() {
        let cache = tempfile::tempdir().unwrap();
        let guest = known::find("debian/6.1-cloud").unwrap();
        let in_archive = look_up_in(guest, cache.path(), |_, _| Ok(package())).unwrap();
        assert!(matches!(in_archive, Whereabouts::Archive { bytes: 26_713_492, .. }), "{in_archive:?}");
        unpack(cache.path(), guest);
        let cached = look_up_in(guest, cache.path(), |_, _| Ok(package())).unwrap();
        assert!(
            matches!(&cached, Whereabouts::Cached(kernel) if kernel.version == "6.1.192-2"),
            "{cached:?}"
        );
    }

    #[test]
    fn without_an_index_the_cache_decides() {
        let cache = tempfile::tempdir().unwrap();
        let guest = known::find("debian/6.1-cloud").unwrap();
        let no_index = |_: &KnownGuest, _: &Path| Err("cannot run apt-cache".to_owned());
        let error = look_up_in(guest, cache.path(), no_index).unwrap_err();
        assert!(matches!(error, PackageError::NotAvailable { .. }), "{error}");
        unpack(cache.path(), guest);
        assert!(matches!(look_up_in(guest, cache.path(), no_index), Ok(Whereabouts::Cached(_))));
    }
}
