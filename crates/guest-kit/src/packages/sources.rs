//! Which package index a guest is looked up in: the machine's own, or one of a suite that the machine's apt may not follow, or not lately.
//!
//! The latter is kept in the cache, with a configuration of its own; the system's apt is neither asked nor changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    KnownGuest, apt,
    known::{Contents, Suite},
};

/// Where apt keeps the machine's own index. Every update that changes anything renames a file in there, which changes the directory's time.
const SYSTEM_LISTS: &str = "/var/lib/apt/lists";
const ARCHIVES: &str = "http://deb.debian.org";
/// From Debian's package debian-archive-keyring, which apt itself needs.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const SECONDS_A_DAY: u64 = 86_400;

/// A package index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// The private index's directory; none for the machine's own.
    directory: Option<PathBuf>,
}

impl Sources {
    /// The index that has `guest`. One of the cache's is fetched at most once a day; if it cannot be, an older one will do.
    ///
    /// The error is the reason why there is none.
    pub(super) fn of(guest: &KnownGuest, cache: &Path) -> Result<Self, String> {
        guest.suite().map_or(Ok(Self { directory: None }), |suite| Self::in_cache(suite, cache))
    }

    /// The index of `suite` in the cache, as [`Sources::of`] fetches it.
    pub(super) fn in_cache(suite: &Suite, cache: &Path) -> Result<Self, String> {
        let today =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()) / SECONDS_A_DAY;
        let directory = private_index(suite, &cache.join("apt"), today, fetch)?;
        Ok(Self { directory: Some(directory) })
    }

    /// The directory whose time changes when the index does.
    pub(super) fn lists(&self) -> PathBuf {
        self.directory.as_ref().map_or_else(|| SYSTEM_LISTS.into(), |directory| directory.join("lists"))
    }

    /// apt-get or apt-cache, told to use this index.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(directory) = &self.directory {
            let place = |key: &str, name: &str| format!("{key}={}", directory.join(name).display());
            for option in [
                place("Dir::Etc::SourceList", "sources.list"),
                place("Dir::State::Lists", "lists"),
                place("Dir::Cache", "cache"),
                "Dir::Etc::SourceParts=/dev/null".to_owned(),
                // Its own cache of the parsed index would hold paths of where the directory was made.
                "Dir::Cache::pkgcache=".to_owned(),
                "Dir::Cache::srcpkgcache=".to_owned(),
                "Acquire::Languages=none".to_owned(),
                // The user that apt would otherwise change to cannot enter a home directory.
                "APT::Sandbox::User=root".to_owned(),
            ] {
                command.arg("-o").arg(option);
            }
        }
        command
    }
}

/// The directory of today's index of `suite` under `parent`, named by the day, made by `fetch` if it is not there.
///
/// It appears whole, by a rename, so that processes that fetch at the same time do not disturb each other.
fn private_index(
    suite: &Suite,
    parent: &Path,
    today: u64,
    fetch: impl FnOnce(&Suite, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let name = &suite.index_name();
    let place = parent.join(format!("{name}-{today}"));
    if place.is_dir() {
        return Ok(place);
    }
    let older = indices(name, parent);
    let made = || {
        let cannot = |error: io::Error| format!("cannot make a directory in {}: {error}", parent.display());
        fs::create_dir_all(parent).map_err(cannot)?;
        let work = tempfile::Builder::new().prefix(".incomplete-").tempdir_in(parent).map_err(cannot)?;
        let index = work.path().join("index");
        fetch(suite, &index)?;
        if let Err(error) = fs::rename(&index, &place)
            && !place.is_dir()
        {
            return Err(format!("cannot make {}: {error}", place.display()));
        }
        Ok(place.clone())
    };
    match made() {
        Ok(place) => {
            for (_, old) in older {
                // It only takes space; a process that still reads it ends with a clear message and can be started again.
                let _ = fs::remove_dir_all(old);
            }
            Ok(place)
        }
        Err(reason) => {
            let newest = older.into_iter().max().ok_or_else(|| format!("{name}: {reason}"))?;
            tracing::debug!(reason, "using an older index of {name}");
            Ok(newest.1)
        }
    }
}

/// The indices of `suite` that are there, each with its day.
fn indices(suite: &str, parent: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let day = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_prefix(suite)?.strip_prefix('-')?.parse().ok()?, entry.path()))
    };
    entries.filter_map(day).collect()
}

/// Has apt fetch the index of `suite` into a new directory.
fn fetch(suite: &Suite, directory: &Path) -> Result<(), String> {
    let prepare = || {
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        let Suite { name, archive, contents } = suite;
        let kind = match contents {
            Contents::Binaries => "deb [arch=amd64",
            Contents::Sources => "deb-src [",
        };
        let line = format!("{kind} signed-by={KEYRING}] {ARCHIVES}/{archive} {name} main\n");
        fs::write(directory.join("sources.list"), line)
    };
    prepare().map_err(|error| format!("cannot write {}: {error}", directory.display()))?;
    let sources = Sources { directory: Some(directory.to_owned()) };
    let mut update = sources.command("apt-get");
    // Without this a failed download is a warning and a success.
    update.args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
    apt::output(&mut update).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::known;

    const SUITE: Suite = Suite { name: "suite", archive: "debian", contents: Contents::Binaries };

    fn makes(_: &Suite, directory: &Path) -> Result<(), String> {
        fs::create_dir(directory).map_err(|error| error.to_string())
    }

    fn fails(_: &Suite, _: &Path) -> Result<(), String> {
        Err("no network".to_owned())
    }

    #[test]
    fn index_is_fetched_once_a_day_and_older_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = private_index(&SUITE, dir.path(), 7, makes).unwrap();
        assert_eq!(private_index(&SUITE, dir.path(), 7, fails).unwrap(), first);
        let second = private_index(&SUITE, dir.path(), 8, makes).unwrap();
        assert_eq!(indices("suite", dir.path()), [(8, second)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn newest_older_index_stands_in_for_one_that_cannot_be_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let reason = private_index(&SUITE, dir.path(), 7, fails).unwrap_err();
        assert_eq!(reason, "suite: no network");
        for day in [9, 10] {
            fs::create_dir(dir.path().join(format!("suite-{day}"))).unwrap();
        }
        let place = private_index(&SUITE, dir.path(), 11, fails).unwrap();
        assert_eq!(place, dir.path().join("suite-10"));
    }

    #[test]
    fn index_of_sources_is_another_than_that_of_the_same_suites_packages() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Suite { contents: Contents::Sources, ..SUITE };
        let first = private_index(&sources, dir.path(), 7, makes).unwrap();
        let packages = private_index(&SUITE, dir.path(), 8, makes).unwrap();
        assert_eq!(first, dir.path().join("suite-sources-7"));
        assert!(first.is_dir() && packages.is_dir());
    }

    #[test]
    fn machines_own_index_needs_no_option_and_a_private_one_names_nothing_of_the_system() {
        let own = Sources::of(known::find("debian/6.1").unwrap(), Path::new("/none")).unwrap();
        assert_eq!(own.command("apt-cache").get_args().count(), 0);
        assert_eq!(own.lists(), Path::new(SYSTEM_LISTS));
        let private = Sources { directory: Some("/c".into()) };
        let command = private.command("apt-cache");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        for option in
            ["Dir::Etc::SourceList=/c/sources.list", "Dir::State::Lists=/c/lists", "Dir::Cache=/c/cache"]
        {
            assert!(words.iter().any(|word| word == option), "{option} is not in {words:?}");
        }
    }
}
