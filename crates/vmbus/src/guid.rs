//! GUIDs as VMBus puts them on the wire: the first three groups little endian, the rest in order.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;
use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID in wire form, 16 bytes.
///
/// Shown and parsed as the usual text, which is also the directory name under `/sys/bus/vmbus/devices`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The GUID whose text, without dashes, is this number in hex.
    #[must_use]
    pub const fn from_u128(text: u128) -> Self {
        Self(Uuid::from_u128(text).to_bytes_le())
    }

    /// The GUID with these wire bytes.
    #[must_use]
    pub const fn from_wire(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Wire bytes.
    #[must_use]
    pub const fn wire(&self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Uuid::from_bytes_le(self.0).as_hyphenated())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text is not a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a GUID such as da0a7802-e377-4aac-8e77-0558eb1073f8")]
pub struct ParseGuidError;

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = Uuid::try_parse(text).map_err(|_| ParseGuidError)?;
        Ok(Self(uuid.to_bytes_le()))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn synthetic_video_guid_has_the_bytes_of_its_module_alias() {
        let video = Guid::from_u128(0xda0a_7802_e377_4aac_8e77_0558_eb10_73f8);
        let alias =
            [0x02, 0x78, 0x0a, 0xda, 0x77, 0xe3, 0xac, 0x4a, 0x8e, 0x77, 5, 0x58, 0xeb, 0x10, 0x73, 0xf8];
        assert_eq!(video.wire(), alias);
        assert_eq!(video.to_string(), "da0a7802-e377-4aac-8e77-0558eb1073f8");
        assert_eq!(video.to_string().parse(), Ok(video));
        assert_eq!("da0a7802".parse::<Guid>(), Err(ParseGuidError));
    }
}
