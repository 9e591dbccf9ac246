//! What a video driver for a guest's kernel is built from: the headers of exactly that kernel, and the driver's source. Nothing of it
//! is installed; it is unpacked into the cache, `build/PACKAGE_VERSION/{tree.json,root/,sources/}`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    FetchStep, GuestKernel, PackageError, apt,
    known::{self, KnownGuest},
    sources::Sources,
    unpack,
};

/// The driver's source, as a path in the kernel's.
const DRIVER: &str = "drivers/video/fbdev/hyperv_fb.c";

/// A tree that modules for one kernel are built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTree {
    /// What belongs to this flavour of the kernel: its configuration and the versions of its symbols (`Module.symvers`). The
    /// directory to run `make` in.
    pub headers: PathBuf,
    /// What all flavours have in common. Its `Makefile` is the one to run: that of `headers` looks where the package is not installed.
    pub common: PathBuf,
    /// A directory with `hyperv_fb.c` as that kernel has it.
    pub sources: PathBuf,
    /// Version of the headers, which is that of the kernel.
    pub version: String,
    /// Version of the package that the source is from: another one where the archive no longer has the kernel's.
    pub sources_version: String,
}

/// `tree.json`. Paths are relative to its directory, so that the cache can move.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    headers: PathBuf,
    common: PathBuf,
    version: String,
    sources_version: String,
}

const DESCRIPTION: &str = "tree.json";
const SOURCES: &str = "sources";

/// Finds or downloads what a driver for `kernel` is built from: 150 MB for a kernel that is new here, and nothing after that.
///
/// # Errors
/// Each variant of [`PackageError`] says what to do about it.
pub fn build_tree(
    kernel: &GuestKernel,
    cache: &Path,
    step: &mut dyn FnMut(FetchStep),
) -> Result<BuildTree, PackageError> {
    let trees = cache.join("build");
    let name = format!("linux-headers-{}", kernel.release);
    let place = trees.join(format!("{name}_{}", kernel.version.replace([':', '/'], "%")));
    if let Some(tree) = load(&place)? {
        return Ok(tree);
    }
    step(FetchStep::Resolving);
    let guest = known::find(&kernel.name)?;
    let sources = Sources::of(guest, cache).map_err(|reason| not_available(guest, &name, reason))?;
    let wanted = Wanted::find(&name, kernel, &sources)
        .map_err(|(package, reason)| not_available(guest, &package, reason))?;

    let cache_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PackageError::Cache { action, path, source }
    };
    fs::create_dir_all(&trees).map_err(cache_error("create", &trees))?;
    let work = tempfile::Builder::new()
        .prefix(".incomplete-")
        .tempdir_in(&trees)
        .map_err(cache_error("create a directory in", &trees))?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree).map_err(cache_error("create", &tree))?;
    for package in &wanted.headers {
        unpack(package, &sources, work.path(), &tree.join("root"), step)?;
    }
    // The whole source is ten times as large as one may want in a cache: only the driver stays.
    let whole = work.path().join("source");
    unpack(&wanted.source, &sources, work.path(), &whole, step)?;
    take_driver(&whole, &wanted.source, &tree.join(SOURCES))?;

    let description = wanted.describe(&tree, kernel)?;
    let file = tree.join(DESCRIPTION);
    let text = serde_json::to_vec_pretty(&description)
        .map_err(|error| cache_error("write", &file)(io::Error::from(error)))?;
    fs::write(&file, text).map_err(cache_error("write", &file))?;
    if let Err(error) = fs::rename(&tree, &place) {
        // Another process may have been faster; what it put there is as good.
        tracing::debug!(%error, "{name} is in the cache already");
    }
    step(FetchStep::Ready);
    load(&place)?
        .ok_or_else(|| cache_error("rename the unpacked headers to", &place)(io::ErrorKind::Other.into()))
}

fn not_available(guest: &KnownGuest, package: &str, reason: String) -> PackageError {
    PackageError::NotAvailable {
        name: guest.name.to_owned(),
        pattern: package.to_owned(),
        reason,
        remedy: "the archive keeps the headers of its newest kernels only; run apt-get update, which brings the newest kernel too",
    }
}

fn load(place: &Path) -> Result<Option<BuildTree>, PackageError> {
    let path = place.join(DESCRIPTION);
    let read_error = |source| PackageError::Cache { action: "read", path: path.clone(), source };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(read_error)?,
    };
    let description: Description = serde_json::from_slice(&text).map_err(|error| read_error(error.into()))?;
    Ok(Some(BuildTree {
        headers: place.join(description.headers),
        common: place.join(description.common),
        sources: place.join(SOURCES),
        version: description.version,
        sources_version: description.sources_version,
    }))
}

/// Takes the driver out of the archive of the kernel's source.
fn take_driver(whole: &Path, package: &apt::Package, sources: &Path) -> Result<(), PackageError> {
    let archive = format!("{}.tar.xz", package.name);
    let path = whole.join("usr/src").join(&archive);
    if !path.is_file() {
        return Err(PackageError::Layout { package: package.name.clone(), missing: archive });
    }
    let write_error = |source| PackageError::Cache { action: "write to", path: sources.to_owned(), source };
    fs::create_dir(sources).map_err(write_error)?;
    let mut tar = std::process::Command::new("tar");
    // The file is somewhere in the middle of a gigabyte: no need to look for a second one.
    tar.args(["--extract", "--xz", "--occurrence=1", "--strip-components=4", "--no-same-owner", "--file"])
        .arg(&path)
        .arg("--directory")
        .arg(sources)
        .arg(format!("{}/{DRIVER}", package.name));
    apt::run(tar, &package.name).map(drop)
}

/// The packages of a build tree.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Of the flavour first, then what it depends on.
    headers: Vec<apt::Package>,
    source: apt::Package,
}

impl Wanted {
    /// Asks the index. The error is the package that it does not have, and why.
    fn find(name: &str, kernel: &GuestKernel, sources: &Sources) -> Result<Self, (String, String)> {
        let records = |name: &str| apt::records(name, sources).map_err(|reason| (name.to_owned(), reason));
        let exact = |name: &str| {
            let found = records(name)?.into_iter().find(|record| record.package.version == kernel.version);
            found.ok_or_else(|| {
                (name.to_owned(), format!("the package index has it in no version {}", kernel.version))
            })
        };
        let flavour = exact(name)?;
        let mut headers = vec![flavour.package.clone()];
        for needed in build_dependencies(&flavour.depends) {
            headers.push(exact(needed)?.package);
        }
        let source = format!("linux-source-{}", series(&kernel.release));
        let found = nearest(records(&source)?, &kernel.version);
        let source = found.ok_or_else(|| (source, "the package index has it in no version".into()))?;
        Ok(Self { headers, source })
    }

    /// Where things are in the unpacked tree.
    fn describe(&self, tree: &Path, kernel: &GuestKernel) -> Result<Description, PackageError> {
        let place = |package: &apt::Package, file: &str| {
            let path = Path::new("root/usr/src").join(&package.name);
            if tree.join(&path).join(file).is_file() {
                return Ok(path);
            }
            let missing = format!("usr/src/{}/{file}", package.name);
            Err(PackageError::Layout { package: package.name.clone(), missing })
        };
        let common = self.headers.iter().find(|package| package.name.ends_with("-common"));
        let (Some(flavour), Some(common)) = (self.headers.first(), common) else {
            let missing = "dependency on headers that all flavours have in common".into();
            return Err(PackageError::Layout { package: kernel.package.clone(), missing });
        };
        Ok(Description {
            headers: place(flavour, "Module.symvers")?,
            common: place(common, "Makefile")?,
            version: kernel.version.clone(),
            sources_version: self.source.version.clone(),
        })
    }
}

/// The packages among the headers' dependencies that have files to build with; the compiler is the machine's.
fn build_dependencies(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.filter(|name| name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-"))
}

/// The first two numbers of a release: the series that a source package is named by.
fn series(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The package of this version or, where the archive has it no more, the first that it names, its newest.
fn nearest(records: Vec<apt::Record>, version: &str) -> Option<apt::Package> {
    let mut packages: Vec<_> = records.into_iter().map(|record| record.package).collect();
    let at = packages.iter().position(|package| package.version == version).unwrap_or_default();
    (at < packages.len()).then(|| packages.swap_remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str) -> apt::Record {
        let package = apt::Package {
            name: "linux-source-6.1".into(),
            version: version.into(),
            sha256: "00".into(),
            bytes: 1,
            companions: Vec::new(),
        };
        apt::Record { package, depends: String::new() }
    }

    #[test]
    fn headers_and_build_programs_are_wanted_and_the_compiler_is_not() {
        let depends = "linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86, libc6";
        let wanted: Vec<_> = build_dependencies(depends).collect();
        assert_eq!(wanted, ["linux-headers-6.1.0-56-common", "linux-kbuild-6.1"]);
        assert_eq!(series("6.1.0-56-cloud-amd64"), "6.1");
        assert_eq!(series("6.12.117+deb12-amd64"), "6.12");
    }

    #[test]
    fn source_is_of_the_kernels_version_or_else_the_newest() {
        let records = || vec![record("6.1.192-2"), record("6.1.190-1"), record("6.1.176-1")];
        assert_eq!(nearest(records(), "6.1.190-1").unwrap().version, "6.1.190-1");
        assert_eq!(nearest(records(), "6.1.180-1").unwrap().version, "6.1.192-2");
        assert_eq!(nearest(Vec::new(), "6.1.180-1"), None);
    }

    #[test]
    fn tree_in_the_cache_is_found_wherever_the_cache_is() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("p_1");
        assert_eq!(load(&place).unwrap(), None);
        fs::create_dir(&place).unwrap();
        let text = r#"{"headers":"root/h","common":"root/c","version":"1","sources_version":"2"}"#;
        fs::write(place.join(DESCRIPTION), text).unwrap();
        let tree = load(&place).unwrap().unwrap();
        assert_eq!((tree.headers, tree.sources), (place.join("root/h"), place.join("sources")));
        fs::write(place.join(DESCRIPTION), "{").unwrap();
        assert!(matches!(load(&place), Err(PackageError::Cache { .. })));
    }
}
