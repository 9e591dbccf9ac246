//! From edits to a module that the guest's kernel loads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use guest_kit::packages::{self, BuildTree, GuestKernel};

use super::Driver;
use crate::build_step;

/// The driver's one file.
pub(super) const SOURCE: &str = "hyperv_fb.c";
const MODULE: &str = "hyperv_fb.ko";

/// The module, from the cache if it was built before.
///
/// # Errors
/// The packages cannot be had, an edit does not fit, or the build fails.
pub fn build(driver: &Driver, kernel: &GuestKernel, cache: &Path) -> Result<PathBuf> {
    let tree = packages::build_tree(kernel, cache, &mut |_| ())?;
    if tree.sources_version != tree.version {
        println!(
            "note: the archive has no source of {}, the driver is that of {}",
            tree.version, tree.sources_version
        );
    }
    let modules = cache.join("drivers");
    fs::create_dir_all(&modules).with_context(|| modules.display().to_string())?;
    let work = tempfile::Builder::new().prefix(".incomplete-").tempdir_in(&modules)?;
    let source = work.path().join(SOURCE);
    fs::write(&source, driver.edited(SOURCE, fs::read_to_string(tree.sources.join(SOURCE))?)?)?;

    let place =
        modules.join(format!("{}_{}-{}.ko", kernel.release, tree.version, packages::sha256(&source)?));
    if !place.is_file() {
        fs::write(work.path().join("Makefile"), "obj-m := hyperv_fb.o\n")?;
        make(&tree, work.path()).with_context(|| format!("driver {}", driver.name))?;
        fs::rename(work.path().join(MODULE), &place)?;
    }
    Ok(place)
}

/// Has the kernel's build system make the module in `directory`.
fn make(tree: &BuildTree, directory: &Path) -> Result<()> {
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(&tree.headers)
        .arg("-f")
        .arg(tree.common.join("Makefile"))
        .arg(format!("M={}", directory.display()))
        .arg("modules");
    build_step::run(make)
}
