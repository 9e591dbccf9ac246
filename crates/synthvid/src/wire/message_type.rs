//! Message numbers and who sends them.

use core::fmt;

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The VSC sends it, the VSP receives it.
    GuestToHost,
    /// The VSP sends it, the VSC receives it.
    HostToGuest,
}

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $direction:ident;)*) => {
        /// Number of a message, in the video header.
        ///
        /// Source: Linux `hyperv_fb.c`, `enum synthvid_msg_type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum MessageType {
            $($(#[$doc])* $variant = $number,)*
        }

        impl MessageType {
            /// Every message, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The message with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name that the drivers use, without their prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Who sends it.
            #[must_use]
            pub const fn direction(self) -> Direction {
                match self {
                    $(Self::$variant => Direction::$direction,)*
                }
            }
        }
    };
}

message_types! {
    /// The guest asks for a protocol version.
    VersionRequest = 1, "VERSION_REQUEST", GuestToHost;
    /// The host accepts or refuses it.
    VersionResponse = 2, "VERSION_RESPONSE", HostToGuest;
    /// The guest says where its VRAM lies.
    VramLocation = 3, "VRAM_LOCATION", GuestToHost;
    /// The host says that the VRAM is backed.
    VramLocationAck = 4, "VRAM_LOCATION_ACK", HostToGuest;
    /// The guest says how the screen lies in VRAM.
    SituationUpdate = 5, "SITUATION_UPDATE", GuestToHost;
    /// The host has taken the situation over.
    SituationUpdateAck = 6, "SITUATION_UPDATE_ACK", HostToGuest;
    /// The guest moves or hides its pointer.
    PointerPosition = 7, "POINTER_POSITION", GuestToHost;
    /// The guest gives its pointer a shape.
    PointerShape = 8, "POINTER_SHAPE", GuestToHost;
    /// The host says which messages it wants.
    FeatureChange = 9, "FEATURE_CHANGE", HostToGuest;
    /// The guest declares what it drew.
    Dirt = 10, "DIRT", GuestToHost;
    /// The guest asks what the firmware knows.
    BiosInfoRequest = 11, "BIOS_INFO_REQUEST", GuestToHost;
    /// The host's answer.
    BiosInfoResponse = 12, "BIOS_INFO_RESPONSE", HostToGuest;
    /// The guest asks for the modes.
    ResolutionRequest = 13, "RESOLUTION_REQUEST", GuestToHost;
    /// The host's modes and EDID.
    ResolutionResponse = 14, "RESOLUTION_RESPONSE", HostToGuest;
    /// The guest asks for capabilities.
    CapabilityRequest = 15, "CAPABILITY_REQUEST", GuestToHost;
    /// The host's answer.
    CapabilityResponse = 16, "CAPABILITY_RESPONSE", HostToGuest;
}

impl MessageType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_16_and_read_back() {
        assert_eq!(MessageType::ALL.len(), 16);
        for (number, kind) in (1u32..).zip(MessageType::ALL) {
            assert_eq!(kind.number(), number, "{kind}");
            assert_eq!(MessageType::from_number(number), Some(*kind));
        }
        assert_eq!(MessageType::from_number(0), None);
        assert_eq!(MessageType::from_number(17), None);
    }

    #[test]
    fn host_sends_exactly_seven_of_them() {
        let from_host = MessageType::ALL.iter().filter(|kind| kind.direction() == Direction::HostToGuest);
        assert_eq!(
            from_host.map(|kind| kind.number()).collect::<std::vec::Vec<_>>(),
            [2, 4, 6, 9, 12, 14, 16]
        );
    }
}
