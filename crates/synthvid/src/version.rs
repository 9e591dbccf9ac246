//! Protocol versions and the set of them that a host accepts.

use core::fmt;

/// A version of the protocol as the wire carries it: major number in the lower half, minor in the upper.
///
/// Source: Linux `hyperv_fb.c`, `SYNTHVID_VERSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u32);

impl Version {
    /// Windows 7.
    pub const V3_0: Self = Self::new(3, 0);
    /// Windows 8; the last without an exchange of resolutions.
    pub const V3_2: Self = Self::new(3, 2);
    /// Windows 8.1.
    pub const V3_3: Self = Self::new(3, 3);
    /// Windows 8.1, with capabilities.
    pub const V3_4: Self = Self::new(3, 4);
    /// Windows 10; the one that current Linux asks for first.
    pub const V3_5: Self = Self::new(3, 5);

    /// This major and minor number.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self((minor as u32) << 16 | major as u32)
    }

    /// Major number.
    #[must_use]
    pub const fn major(self) -> u16 {
        let [low, high, _, _] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Minor number.
    #[must_use]
    pub const fn minor(self) -> u16 {
        let [_, _, low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

/// The versions that a host accepts; all of them have major number 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionSet {
    minors: u8,
}

impl VersionSet {
    /// No version: every request is refused.
    pub const NONE: Self = Self { minors: 0 };
    /// 3.0 and 3.2 to 3.5: all that are known to have shipped.
    pub const ALL: Self = Self::NONE
        .with(Version::V3_0)
        .with(Version::V3_2)
        .with(Version::V3_3)
        .with(Version::V3_4)
        .with(Version::V3_5);

    /// This set and `version`; unchanged unless `version` is 3.0 to 3.7.
    #[must_use]
    pub const fn with(self, version: Version) -> Self {
        Self { minors: self.minors | Self::bit(version) }
    }

    /// This set less `version`.
    #[must_use]
    pub const fn without(self, version: Version) -> Self {
        Self { minors: self.minors & !Self::bit(version) }
    }

    /// `version` is accepted.
    #[must_use]
    pub const fn contains(self, version: Version) -> bool {
        self.minors & Self::bit(version) != 0
    }

    const fn bit(version: Version) -> u8 {
        if version.major() == 3 && version.minor() < 8 { 1 << version.minor() } else { 0 }
    }
}

impl Default for VersionSet {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_5_has_the_number_that_linux_sends() {
        assert_eq!(Version::V3_5.0, 0x0005_0003);
        assert_eq!(Version::V3_2.0, 0x0002_0003);
        assert_eq!((Version(0x0005_0003).major(), Version(0x0005_0003).minor()), (3, 5));
    }

    #[test]
    fn default_set_accepts_what_shipped_and_nothing_else() {
        let set = VersionSet::default();
        for minor in [0, 2, 3, 4, 5] {
            assert!(set.contains(Version::new(3, minor)), "3.{minor}");
        }
        for version in [(3, 1), (3, 6), (3, 8), (3, 0xffff), (2, 5), (4, 0), (0, 3)] {
            assert!(!set.contains(Version::new(version.0, version.1)), "{version:?}");
        }
    }

    #[test]
    fn version_taken_out_is_refused() {
        let set = VersionSet::ALL.without(Version::V3_5);
        assert!(!set.contains(Version::V3_5));
        assert!(set.contains(Version::V3_2));
    }
}
