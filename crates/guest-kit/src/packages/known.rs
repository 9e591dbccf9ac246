//! The guests that have a name.

use super::PackageError;

/// A guest that can be asked for by name.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownGuest {
    /// The name.
    pub name: &'static str,
    /// One line for a list of guests.
    pub summary: &'static str,
    /// What its packages' names start with; a number follows.
    prefix: &'static str,
    /// What follows the number.
    suffix: &'static str,
    /// The module that drives synthetic video in it.
    pub video_driver: &'static str,
}

/// All of them.
pub const KNOWN_GUESTS: &[KnownGuest] = &[
    KnownGuest {
        name: "debian/6.1-cloud",
        summary: "Debian 12's kernel for clouds, with hyperv_fb",
        prefix: "linux-image-6.1.0-",
        suffix: "-cloud-amd64",
        video_driver: "hyperv_fb",
    },
    KnownGuest {
        name: "debian/6.1",
        summary: "Debian 12's generic kernel, with hyperv_drm",
        prefix: "linux-image-6.1.0-",
        suffix: "-amd64",
        video_driver: "hyperv_drm",
    },
    KnownGuest {
        name: "debian/6.12-cloud",
        summary: "Debian 12's newer kernel for clouds, with hyperv_fb",
        prefix: "linux-image-6.12.",
        suffix: "+deb12-cloud-amd64",
        video_driver: "hyperv_fb",
    },
    KnownGuest {
        name: "debian/6.12",
        summary: "Debian 12's newer generic kernel, with hyperv_drm",
        prefix: "linux-image-6.12.",
        suffix: "+deb12-amd64",
        video_driver: "hyperv_drm",
    },
];

impl KnownGuest {
    /// The names of its packages, for a reader.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("{}N{}", self.prefix, self.suffix)
    }

    pub(super) const fn prefix(&self) -> &str {
        self.prefix
    }

    /// The number in a package's name, if it is one of this guest's.
    pub(super) fn number(&self, package: &str) -> Option<u32> {
        package.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?.parse().ok()
    }
}

pub(super) fn find(name: &str) -> Result<&'static KnownGuest, PackageError> {
    if let Some(guest) = KNOWN_GUESTS.iter().find(|guest| guest.name == name) {
        return Ok(guest);
    }
    let names = KNOWN_GUESTS.iter().map(|guest| guest.name);
    Err(PackageError::UnknownGuest {
        name: name.to_owned(),
        nearest: names.clone().min_by_key(|known| edits(name, known)).unwrap_or_default(),
        known: names.collect::<Vec<_>>().join(", "),
    })
}

/// Insertions, removals and replacements that turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (done, character) in from.chars().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(character != other);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_taken_only_from_names_of_this_flavour() {
        let cloud = find("debian/6.1-cloud").unwrap();
        let generic = find("debian/6.1").unwrap();
        assert_eq!(cloud.number("linux-image-6.1.0-56-cloud-amd64"), Some(56));
        assert_eq!(generic.number("linux-image-6.1.0-9-amd64"), Some(9));
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
        assert_eq!(cloud.number("linux-image-6.12.117+deb12-cloud-amd64"), Some(117));
        assert_eq!(generic.number("linux-image-6.12.117+deb12-amd64"), Some(117));
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
    fn edits_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("abc", "axcd", 2), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), count, "{from:?} to {to:?}");
            assert_eq!(edits(to, from), count, "{to:?} to {from:?}");
        }
    }
}
