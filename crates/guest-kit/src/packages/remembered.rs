//! apt's last answer, for as long as its package index is the same: asking takes more than a second.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::{KnownGuest, apt::Package, sources::Sources};

/// A file per guest.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// The index's time, in nanoseconds since 1970.
    index_ns: u128,
    package: Package,
}

/// The newest package of a guest, remembered or asked for. The error is the reason why the index cannot tell.
pub(super) fn newest(
    guest: &KnownGuest,
    kernels: &Path,
    sources: &Sources,
    ask: impl FnOnce(&KnownGuest) -> Result<Package, String>,
) -> Result<Package, String> {
    newest_since(index_ns(&sources.lists()), guest, kernels, ask)
}

fn newest_since(
    index_ns: Option<u128>,
    guest: &KnownGuest,
    kernels: &Path,
    ask: impl FnOnce(&KnownGuest) -> Result<Package, String>,
) -> Result<Package, String> {
    let file = kernels.join(format!("{}.newest.json", guest.name.replace('/', "-")));
    if let Some(known) = recall(&file).filter(|known| Some(known.index_ns) == index_ns) {
        return Ok(known.package);
    }
    let package = ask(guest)?;
    if let Some(index_ns) = index_ns {
        let remembered = Remembered { index_ns, package: package.clone() };
        if let Err(error) = remember(&file, &remembered) {
            tracing::debug!(%error, "cannot write {}", file.display());
        }
    }
    Ok(package)
}

fn index_ns(lists: &Path) -> Option<u128> {
    let time = lists.metadata().ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

/// None too for a file that cannot be read: apt is asked again then.
fn recall(file: &PathBuf) -> Option<Remembered> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn remember(file: &Path, remembered: &Remembered) -> io::Result<()> {
    let directory = file.parent().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(&serde_json::to_vec(remembered)?)?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::known;

    fn package(number: u32) -> Package {
        Package {
            name: format!("p{number}"),
            version: "1".into(),
            sha256: "00".into(),
            bytes: 1,
            companions: Vec::new(),
        }
    }

    #[test]
    fn apt_is_asked_again_only_after_its_index_changed() {
        let dir = tempfile::tempdir().unwrap();
        let guest = known::find("debian/6.1").unwrap();
        let mut asked = Vec::new();
        let mut newest = |index_ns, answer| {
            newest_since(index_ns, guest, dir.path(), |_| {
                asked.push(answer);
                Ok(package(answer))
            })
            .unwrap()
        };
        assert_eq!(newest(Some(1), 1), package(1));
        assert_eq!(newest(Some(1), 2), package(1));
        assert_eq!(newest(Some(5), 3), package(3));
        assert_eq!(newest(None, 4), package(4));
        assert_eq!(asked, [1, 3, 4]);
    }

    #[test]
    fn broken_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("debian-6.1.newest.json"), "{").unwrap();
        let guest = known::find("debian/6.1").unwrap();
        assert_eq!(newest_since(Some(1), guest, dir.path(), |_| Ok(package(7))), Ok(package(7)));
    }
}
