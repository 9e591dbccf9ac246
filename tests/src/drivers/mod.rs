//! Deliberately wrong guest drivers: a check that has never failed proves nothing.
//!
//! `tests/drivers/NAME.toml` holds what is wrong with one, as edits of Debian's own `hyperv_fb.c`, and the checks that must catch it. The
//! driver is built for the guest's kernel from Debian's packages, with the machine's compiler. Modules are kept in the cache,
//! by the hash of their source.

mod build;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

pub use self::build::build;
use crate::edit::Edit;

/// A driver as a file describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The file's name, without its extension.
    #[serde(skip)]
    pub name: String,
    /// What it does.
    pub description: String,
    /// What in the history of the real driver it stands for.
    pub history: String,
    /// In what it differs from that.
    pub differs: Option<String>,
    /// The checks that must fail, by name; all others must pass.
    pub fails: Vec<String>,
    /// Checks that may fail beside them.
    #[serde(default)]
    pub may_fail: Vec<String>,
    /// Runs in which it must be caught at least once, where a slow machine may hide what is wrong with it.
    #[serde(default = "once")]
    pub tries: u32,
    /// What is changed in the source.
    #[serde(default, rename = "edit")]
    pub edits: Vec<Edit>,
}

const fn once() -> u32 {
    1
}

impl Driver {
    /// The one that `tests/drivers/NAME.toml` describes.
    ///
    /// # Errors
    /// There is no such file, or it is wrong.
    pub fn named(name: &str) -> Result<Self> {
        let path = directory().join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let driver: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self { name: name.to_owned(), ..driver })
    }

    /// The source file `file`, whose contents are `text`, with this driver's edits.
    ///
    /// # Errors
    /// A text to find that is not there exactly once.
    pub fn edited(&self, file: &str, text: String) -> Result<String> {
        let edits = self.edits.iter().filter(|edit| edit.file == file);
        edits.zip(1..).try_fold(text, |text, (edit, number)| {
            edit.apply(&text).with_context(|| format!("tests/drivers/{}.toml, edit {number}", self.name))
        })
    }
}

/// The names of all of them, in order.
///
/// # Errors
/// The directory cannot be read.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_description_is_read_and_all_but_one_change_something() {
        let names = names().unwrap();
        assert!(names.len() >= 8, "{names:?}");
        for name in names {
            let driver = Driver::named(&name).unwrap();
            assert_eq!(driver.edits.is_empty(), name == "unmodified", "{name}");
            assert_eq!(driver.fails.is_empty(), name == "unmodified", "{name}");
            assert!(driver.edits.iter().all(|edit| edit.file == build::SOURCE), "{name}");
            assert!(!driver.description.is_empty() && !driver.history.is_empty(), "{name}");
        }
    }

    #[test]
    fn failed_edit_is_named_with_its_file() {
        let driver = Driver::named("last-row-missing").unwrap();
        let error = driver.edited("hyperv_fb.c", "nothing of the kind".into()).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.starts_with("tests/drivers/last-row-missing.toml, edit 1: "), "{told}");
        assert!(told.contains("hyperv_fb.c has 0 times what it should have once"), "{told}");
    }
}
