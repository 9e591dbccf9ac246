//! VMBus protocol versions, in order.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// A protocol version that Linux may ask for.
///
/// *Shape*: on the wire major << 16 | minor. *Source*: `drivers/hv/connection.c:vmbus_versions`, which tries
/// them from the last to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Version {
    /// Windows 8, Server 2012.
    V2_4 = 0x0002_0004,
    /// Windows 8.1, Server 2012 R2: the first with UNLOAD.
    V3_0 = 0x0003_0000,
    /// Windows 10.
    V4_0 = 0x0004_0000,
    /// Windows 10 RS3: the first with MODIFYCHANNEL.
    V4_1 = 0x0004_0001,
    /// Windows 10 RS4: messages move to connection 4 and to a SINT of the guest's choice.
    V5_0 = 0x0005_0000,
    /// Windows 10 RS5.
    V5_1 = 0x0005_0001,
    /// Server 2019.
    V5_2 = 0x0005_0002,
    /// Server 2022: MODIFYCHANNEL is answered.
    V5_3 = 0x0005_0003,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 8] =
        [Self::V2_4, Self::V3_0, Self::V4_0, Self::V4_1, Self::V5_0, Self::V5_1, Self::V5_2, Self::V5_3];
    /// The newest version.
    pub const LATEST: Self = Self::V5_3;

    /// The version with this wire value, if it is one of [`Self::ALL`].
    #[must_use]
    pub fn from_wire(wire: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.wire() == wire)
    }

    /// Major << 16 | minor.
    #[must_use]
    pub const fn wire(self) -> u32 {
        self as u32
    }

    /// The connection to which the guest posts INITIATE_CONTACT for this version.
    #[must_use]
    pub const fn message_connection(self) -> crate::ConnectionId {
        message_connection(self.wire())
    }
}

/// As [`Version::message_connection`], also for versions that nobody knows yet.
pub(crate) const fn message_connection(wire: u32) -> crate::ConnectionId {
    if has_message_sint(wire) { crate::ConnectionId::MESSAGE } else { crate::ConnectionId::MESSAGE_LEGACY }
}

/// Whether INITIATE_CONTACT of this version carries a message SINT where the interrupt page used to be.
pub(crate) const fn has_message_sint(wire: u32) -> bool {
    wire >= Version::V5_0.wire()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wire() >> 16, self.wire() & 0xffff)
    }
}

/// Why a text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a VMBus version; known are 2.4, 3.0, 4.0, 4.1, 5.0, 5.1, 5.2, 5.3")]
pub struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = text.split_once('.').ok_or(ParseVersionError)?;
        let major: u16 = major.parse().map_err(|_| ParseVersionError)?;
        let minor: u16 = minor.parse().map_err(|_| ParseVersionError)?;
        Self::from_wire(u32::from(major) << 16 | u32::from(minor)).ok_or(ParseVersionError)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn versions_are_listed_in_wire_order_and_read_back_from_text() {
        assert!(Version::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].wire() < pair[1].wire()));
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
            assert_eq!(Version::from_wire(version.wire()), Some(version));
        }
        assert_eq!("5.4".parse::<Version>(), Err(ParseVersionError));
        assert_eq!("5".parse::<Version>(), Err(ParseVersionError));
        assert_eq!(Version::from_wire(0x0001_0001), None);
    }
}
