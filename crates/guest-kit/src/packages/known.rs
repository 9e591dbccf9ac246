//! The guests that have a name.

use super::PackageError;

/// A guest that can be asked for by name.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownGuest {
    /// The name.
    pub name: &'static str,
    /// One line for a list of guests.
    pub summary: &'static str,
    /// Which packages have it.
    source: Source,
    /// The module that drives synthetic video in it.
    pub video_driver: &'static str,
}

/// The packages of a guest, which differ in a version number within their names.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    /// What comes before the number, in the package that has the kernel image.
    prefix: &'static str,
    /// What follows the number.
    suffix: &'static str,
    /// Packages of the same number and version that have the rest, by what comes before the number.
    companions: &'static [&'static str],
    /// The suite of Debian's archive that has them, where the machine's own index cannot be relied on.
    suite: Option<&'static Suite>,
}

/// A suite of Debian's archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    /// The part of the archive that it is in.
    pub(super) archive: &'static str,
    /// What is wanted of it.
    pub(super) contents: Contents,
}

/// Which packages of a suite an index has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Binaries,
    Sources,
}

impl Suite {
    const fn binaries(name: &'static str, archive: &'static str) -> Self {
        Self { name, archive, contents: Contents::Binaries }
    }

    /// What its directories in the cache are called, before the day.
    pub(super) fn index_name(&self) -> String {
        match self.contents {
            Contents::Binaries => self.name.to_owned(),
            Contents::Sources => format!("{}-sources", self.name),
        }
    }
}

const TRIXIE_BACKPORTS: Suite = Suite::binaries("trixie-backports", "debian");
/// A Debian 12 follows it, but 6.12 came to it late: an index of some months ago, as images of that age bring along, has none.
const BOOKWORM_SECURITY: Suite = Suite::binaries("bookworm-security", "debian-security");
/// Debian 12 as sources, which a machine's own index mostly lacks.
pub(super) const BOOKWORM_SOURCES: Suite =
    Suite { name: "bookworm", archive: "debian", contents: Contents::Sources };

impl Source {
    /// A package that has everything, in a suite of Debian 12.
    const fn whole(prefix: &'static str, suffix: &'static str) -> Self {
        Self { prefix, suffix, companions: &[], suite: None }
    }

    const fn from(self, suite: &'static Suite) -> Self {
        Self { suite: Some(suite), ..self }
    }
}

/// All of them.
pub const KNOWN_GUESTS: &[KnownGuest] = &[
    KnownGuest {
        name: "debian/6.1-cloud",
        summary: "Debian 12's kernel for clouds, with hyperv_fb",
        source: Source::whole("linux-image-6.1.0-", "-cloud-amd64"),
        video_driver: "hyperv_fb",
    },
    KnownGuest {
        name: "debian/6.1",
        summary: "Debian 12's generic kernel, with hyperv_drm",
        source: Source::whole("linux-image-6.1.0-", "-amd64"),
        video_driver: "hyperv_drm",
    },
    KnownGuest {
        name: "debian/6.12-cloud",
        summary: "Debian 12's newer kernel for clouds, with hyperv_fb",
        source: Source::whole("linux-image-6.12.", "+deb12-cloud-amd64").from(&BOOKWORM_SECURITY),
        video_driver: "hyperv_fb",
    },
    KnownGuest {
        name: "debian/6.12",
        summary: "Debian 12's newer generic kernel, with hyperv_drm",
        source: Source::whole("linux-image-6.12.", "+deb12-amd64").from(&BOOKWORM_SECURITY),
        video_driver: "hyperv_drm",
    },
    KnownGuest {
        name: "debian/7.x",
        summary: "Debian 13's newest generic kernel, from its backports, with hyperv_drm",
        source: Source {
            prefix: "linux-binary-7.",
            suffix: "+deb13-amd64",
            companions: &["linux-modules-7.", "linux-base-7."],
            suite: Some(&TRIXIE_BACKPORTS),
        },
        video_driver: "hyperv_drm",
    },
];

impl KnownGuest {
    /// The names of its packages, for a reader.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("{}N{}", self.source.prefix, self.source.suffix)
    }

    pub(super) const fn prefix(&self) -> &str {
        self.source.prefix
    }

    /// The suite to look it up in, if that is not the machine's own index.
    pub(super) const fn suite(&self) -> Option<&'static Suite> {
        self.source.suite
    }

    /// The number in a package's name, if it is one of this guest's: one part, or more with dots between. In the order of time.
    pub(super) fn number(&self, package: &str) -> Option<Vec<u32>> {
        let number = package.strip_prefix(self.source.prefix)?.strip_suffix(self.source.suffix)?;
        number.split('.').map(|part| part.parse().ok()).collect()
    }

    /// The packages that have what the one called `package` has not.
    pub(super) fn companions(&self, package: &str) -> Vec<String> {
        let rest = package.strip_prefix(self.source.prefix).unwrap_or_default();
        self.source.companions.iter().map(|prefix| format!("{prefix}{rest}")).collect()
    }
}

pub(super) fn find(name: &str) -> Result<&'static KnownGuest, PackageError> {
    if let Some(guest) = KNOWN_GUESTS.iter().find(|guest| guest.name == name) {
        return Ok(guest);
    }
    let names = KNOWN_GUESTS.iter().map(|guest| guest.name);
    Err(PackageError::UnknownGuest {
        name: name.to_owned(),
        nearest: names.clone().min_by_key(|known| strsim::osa_distance(name, known)).unwrap_or_default(),
        known: names.collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_taken_only_from_names_of_this_flavour() {
        let cloud = find("debian/6.1-cloud").unwrap();
        let generic = find("debian/6.1").unwrap();
        assert_eq!(cloud.number("linux-image-6.1.0-56-cloud-amd64"), Some(vec![56]));
        assert_eq!(generic.number("linux-image-6.1.0-9-amd64"), Some(vec![9]));
        for other in [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-amd64-unsigned",
            "linux-image-6.1.0-56-rt-amd64",
            "linux-image-6.1.0-56-amd64-dbg",
        ] {
            assert_eq!(generic.number(other), None, "{other}");
        }
    }

    #[test]
    fn number_of_a_stable_update_is_its_last_part() {
        let cloud = find("debian/6.12-cloud").unwrap();
        let generic = find("debian/6.12").unwrap();
        assert_eq!(cloud.number("linux-image-6.12.117+deb12-cloud-amd64"), Some(vec![117]));
        assert_eq!(generic.number("linux-image-6.12.117+deb12-amd64"), Some(vec![117]));
        for other in [
            "linux-image-6.12-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-rt-amd64",
            "linux-image-6.12.117+deb12-amd64-unsigned",
            "linux-image-6.12.117+deb12-amd64-dbg",
            "linux-image-6.12.117+deb13-amd64",
        ] {
            assert_eq!(generic.number(other), None, "{other}");
        }
    }

    #[test]
    fn split_kernel_has_companions_of_its_number_and_the_newest_is_by_both_parts() {
        let guest = find("debian/7.x").unwrap();
        assert_eq!(
            guest.companions("linux-binary-7.3.4+deb13-amd64"),
            ["linux-modules-7.3.4+deb13-amd64", "linux-base-7.3.4+deb13-amd64"]
        );
        assert!(
            guest.number("linux-binary-7.10.2+deb13-amd64") > guest.number("linux-binary-7.9.12+deb13-amd64")
        );
        for other in ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-binary-unsigned-7.3.4+deb13-amd64"] {
            assert_eq!(guest.number(other), None, "{other}");
        }
        assert_eq!(find("debian/6.12").unwrap().companions("linux-image-6.12.1+deb12-amd64"), [""; 0]);
    }
}
