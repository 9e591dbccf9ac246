//! The message table: what lies inside the pipe header, to the byte.
//!
//! A message is a [`Header`] and a body. All fields are little endian and packed. The structures here are the
//! bodies; [`MessageType`] says who sends which.
//!
//! | # | name | direction | body |
//! |---|---|---|---|
//! | 1 | VERSION_REQUEST | guest to host | [`VersionRequest`] |
//! | 2 | VERSION_RESPONSE | host to guest | [`VersionResponse`] |
//! | 3 | VRAM_LOCATION | guest to host | [`VramLocation`] |
//! | 4 | VRAM_LOCATION_ACK | host to guest | [`VramLocationAck`] |
//! | 5 | SITUATION_UPDATE | guest to host | [`SituationUpdate`], then one [`SituationOutput`] |
//! | 6 | SITUATION_UPDATE_ACK | host to guest | [`SituationUpdateAck`] |
//! | 7 | POINTER_POSITION | guest to host | [`PointerPosition`] |
//! | 8 | POINTER_SHAPE | guest to host | [`PointerShape`], then pixels |
//! | 9 | FEATURE_CHANGE | host to guest | [`FeatureChange`] |
//! | 10 | DIRT | guest to host | [`Dirt`], then 1 to 255 [`DirtRect`] |
//! | 11 | BIOS_INFO_REQUEST | guest to host | none |
//! | 12 | BIOS_INFO_RESPONSE | host to guest | [`BiosInfoResponse`] |
//! | 13 | RESOLUTION_REQUEST | guest to host | [`ResolutionRequest`] |
//! | 14 | RESOLUTION_RESPONSE | host to guest | [`ResolutionResponse`], then 1 to 64 [`Resolution`] |
//! | 15 | CAPABILITY_REQUEST | guest to host | none |
//! | 16 | CAPABILITY_RESPONSE | host to guest | [`CapabilityResponse`] |

mod body;
mod encode;
mod message_type;

pub use body::*;
pub use encode::encode;
pub use message_type::{Direction, MessageType};

/// Bytes of the video header: type and size.
pub const HEADER_BYTES: usize = size_of::<Header>();

/// Most modes in a RESOLUTION_RESPONSE, and the count that Linux asks for.
pub const MAX_RESOLUTIONS: usize = 64;

/// Longest message that a host sends: a RESOLUTION_RESPONSE with 64 modes.
pub const MAX_HOST_MESSAGE_BYTES: usize =
    HEADER_BYTES + size_of::<ResolutionResponse>() + MAX_RESOLUTIONS * size_of::<Resolution>();

/// Longest message that a guest may send, headers included: 16 KiB (Linux `MAX_VMBUS_PKT_SIZE`), less the
/// pipe header.
pub const MAX_GUEST_MESSAGE_BYTES: usize = 16384 - 8;
