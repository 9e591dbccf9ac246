//! A QEMU for the KVM lab whose clock goes by instructions: Debian's source with one edit.
//!
//! `tests/lab-qemu.toml` has the edit, why it is needed, and what is built. The program is kept in the cache, with what it was made of
//! beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use guest_kit::lab::LabClock;
use guest_kit::{packages, probe};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::build_step;
use crate::edit::Edit;

/// The name of [`LabQemu::devices`] as a configuration of QEMU's.
const DEVICES: &str = "lab";
/// How the directory of a build that goes on begins.
const INCOMPLETE: &str = ".incomplete-";

/// What `tests/lab-qemu.toml` describes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabQemu {
    /// What it is.
    pub description: String,
    /// What goes wrong without the edit.
    pub symptom: String,
    /// Debian's source package.
    pub package: String,
    /// Lines of QEMU's device configuration.
    pub devices: Vec<String>,
    /// Arguments of its `configure`.
    pub configure: Vec<String>,
    /// What is changed in the source.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

/// What a built QEMU was made of, kept beside it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MadeOf {
    /// SHA-256 of the description.
    description_sha256: String,
    /// Version of Debian's source package.
    version: String,
}

impl LabQemu {
    /// The description.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn read() -> Result<Self> {
        let path = description();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Changes the source in `tree`.
    fn apply_edits(&self, tree: &Path) -> Result<()> {
        for edit in &self.edits {
            let path = tree.join(&edit.file);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            fs::write(&path, edit.apply(&text).context("tests/lab-qemu.toml")?)?;
        }
        Ok(())
    }
}

/// The program, which is built first if there is none of this description in the cache: some minutes. Of several processes one builds, and
/// the others wait for it.
///
/// # Errors
/// The source cannot be had, the edit does not fit it, or a step of the build fails.
pub fn build(cache: &Path) -> Result<PathBuf> {
    let cache = std::path::absolute(cache).with_context(|| cache.display().to_string())?;
    let place = LabClock::built_qemu(&cache);
    let directory = place.parent().context("the cache is the root directory")?;
    let named = |path: &Path| path.display().to_string();
    // QEMU's configure cannot be told a path with these in it.
    ensure!(
        !named(directory).contains([' ', ':']),
        "{}: QEMU cannot be built below a directory with a space or a colon in its name; set {} to another",
        named(directory),
        guest_kit::cache::VARIABLE
    );
    fs::create_dir_all(directory).with_context(|| named(directory))?;
    let lock = directory.join(".lock");
    let held = File::create(&lock).with_context(|| named(&lock))?;
    rustix::fs::flock(&held, FlockOperation::LockExclusive).with_context(|| named(&lock))?;
    let made_of = directory.join("made-of.json");
    let description_sha256 = packages::sha256(&description()).with_context(|| named(&description()))?;
    if place.is_file() && is_made_of(&made_of, &description_sha256) {
        return Ok(place);
    }
    remove_remains(directory)?;
    let work = tempfile::Builder::new()
        .prefix(INCOMPLETE)
        .tempdir_in(directory)
        .with_context(|| named(directory))?;
    let qemu = LabQemu::read()?;
    eprintln!("fetching the source of {}", qemu.package);
    let source = packages::source_package(&qemu.package, &cache, work.path())?;
    qemu.apply_edits(&source.tree)?;
    let devices = source.tree.join("configs/devices/x86_64-softmmu").join(format!("{DEVICES}.mak"));
    fs::write(&devices, qemu.devices.join("\n") + "\n").with_context(|| named(&devices))?;

    let tree = work.path().join("build");
    fs::create_dir(&tree).with_context(|| named(&tree))?;
    eprintln!("building {}, {}: some three minutes on two cores", qemu.package, source.version);
    let mut configure = Command::new(source.tree.join("configure"));
    configure
        .args(&qemu.configure)
        .arg(format!("--with-devices-x86_64={DEVICES}"))
        .arg(format!("--with-pkgversion=Debian {}, changed by vmbus-emu", source.version))
        .current_dir(&tree);
    build_step::run(configure)?;
    let mut ninja = Command::new("ninja");
    ninja.arg(probe::QEMU).current_dir(&tree);
    build_step::run(ninja)?;

    fs::rename(tree.join(probe::QEMU), &place).with_context(|| named(&place))?;
    // Last: a program without it is built anew.
    let made = MadeOf { description_sha256, version: source.version };
    fs::write(&made_of, serde_json::to_vec_pretty(&made)?).with_context(|| named(&made_of))?;
    drop(held);
    Ok(place)
}

/// Removes what a build that was killed has left. The caller holds the lock, so none goes on.
fn remove_remains(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(INCOMPLETE)) {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn description() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab-qemu.toml")
}

fn is_made_of(made_of: &Path, description_sha256: &str) -> bool {
    let text = fs::read(made_of).unwrap_or_default();
    serde_json::from_slice::<MadeOf>(&text).is_ok_and(|made| made.description_sha256 == description_sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_is_read_and_its_edit_is_one_assignment() {
        let qemu = LabQemu::read().unwrap();
        assert!(!qemu.description.is_empty() && !qemu.symptom.is_empty());
        let [edit] = &qemu.edits[..] else { panic!("{:?}", qemu.edits) };
        let added: Vec<&str> = edit.replace.lines().filter(|line| !edit.find.contains(line)).collect();
        assert_eq!(added, ["            cs->exception_index = -1;"]);
    }

    #[test]
    fn revision_goes_with_the_description() {
        const DESCRIPTION: &str = "afc4f24fd798ebfaf03367958fceb5a15da8d5592cd4c99a349a36d02aeaf6c4";
        let digits = packages::sha256(&description()).unwrap();
        assert_eq!(
            (guest_kit::lab::BUILT_QEMU_REVISION, digits.as_str()),
            (1, DESCRIPTION),
            "tests/lab-qemu.toml was changed: raise guest_kit::lab::BUILT_QEMU_REVISION, and put both here"
        );
    }

    #[test]
    fn remains_of_a_killed_build_go_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(".incomplete-x/source")).unwrap();
        fs::write(directory.path().join("made-of.json"), "{}").unwrap();
        remove_remains(directory.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["made-of.json"]);
    }

    #[test]
    fn directory_that_qemu_cannot_be_built_below_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("a b");
        let told = build(&cache).unwrap_err().to_string();
        assert!(told.contains("/a b/lab-qemu") && told.contains("VMBUS_EMU_CACHE"), "{told}");
        assert!(!cache.exists());
    }

    #[test]
    fn source_that_the_edit_does_not_fit_is_named_with_it() {
        let tree = tempfile::tempdir().unwrap();
        let qemu = LabQemu::read().unwrap();
        let file = tree.path().join(&qemu.edits[0].file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "int main(void);\n").unwrap();
        let told = format!("{:#}", qemu.apply_edits(tree.path()).unwrap_err());
        assert!(told.contains("tests/lab-qemu.toml") && told.contains("svm_helper.c has 0 times"), "{told}");
    }

    #[test]
    fn program_without_what_it_was_made_of_or_of_another_description_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let made_of = dir.path().join("made-of.json");
        assert!(!is_made_of(&made_of, "aa"));
        fs::write(&made_of, r#"{"description_sha256":"aa","version":"1"}"#).unwrap();
        assert!(is_made_of(&made_of, "aa") && !is_made_of(&made_of, "bb"));
    }
}
