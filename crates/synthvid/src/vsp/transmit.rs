//! The host's messages, and how they are written.

use zerocopy::IntoBytes;

use super::{Features, VspConfig};
use crate::modes::{Mode, ModeList};
use crate::queue::OneOfEach;
use crate::version::Version;
use crate::wire::{self, MAX_RESOLUTIONS, MessageType};

/// One message to the guest. Small, and encoded only when there is room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    VersionResponse { version: Version, accepted: bool },
    VramLocationAck { user_ctx: u64 },
    SituationAck { user_ctx: u64 },
    FeatureChange(Features),
    BiosInfo,
    Resolutions { max: u8 },
    Capability,
}

/// What waits for room in the guest's ring: a slot for each variant of [`Outgoing`].
pub(super) type TransmitQueue = OneOfEach<Outgoing, 7>;

impl Outgoing {
    /// Writes the message; `None` if `buf` is too short.
    pub(super) fn encode(self, config: &VspConfig, buf: &mut [u8]) -> Option<usize> {
        match self {
            Self::VersionResponse { version, accepted } => {
                let body = wire::VersionResponse {
                    version: version.0.into(),
                    is_accepted: accepted.into(),
                    max_video_outputs: 1,
                };
                wire::encode(buf, MessageType::VersionResponse, &[body.as_bytes()])
            }
            Self::VramLocationAck { user_ctx } => {
                let body = wire::VramLocationAck { user_ctx: user_ctx.into() };
                wire::encode(buf, MessageType::VramLocationAck, &[body.as_bytes()])
            }
            Self::SituationAck { user_ctx } => {
                let body = wire::SituationUpdateAck { user_ctx: user_ctx.into() };
                wire::encode(buf, MessageType::SituationUpdateAck, &[body.as_bytes()])
            }
            Self::FeatureChange(features) => {
                let body = wire::FeatureChange {
                    is_dirt_needed: features.dirt.into(),
                    is_pointer_position_needed: features.pointer_position.into(),
                    is_pointer_shape_needed: features.pointer_shape.into(),
                    is_situation_needed: features.situation.into(),
                };
                wire::encode(buf, MessageType::FeatureChange, &[body.as_bytes()])
            }
            Self::BiosInfo => {
                // The guest may close the channel and open it again.
                let body = wire::BiosInfoResponse { stop_device_supported: 1.into(), reserved: [0; 12] };
                wire::encode(buf, MessageType::BiosInfoResponse, &[body.as_bytes()])
            }
            Self::Resolutions { max } => {
                encode_resolutions(config, config.modes.at_most(max.into()).as_ref(), buf)
            }
            Self::Capability => {
                let body = wire::CapabilityResponse { lock_on_disconnect: 0.into(), reserved: [0; 60] };
                wire::encode(buf, MessageType::CapabilityResponse, &[body.as_bytes()])
            }
        }
    }
}

/// A guest that can take no mode at all gets a count of 0, which sends Linux to its fallback.
fn encode_resolutions(config: &VspConfig, modes: Option<&ModeList>, buf: &mut [u8]) -> Option<usize> {
    let offered = modes.map_or(&[][..], ModeList::as_slice);
    let head = wire::ResolutionResponse {
        edid: *config.edid.as_bytes(),
        resolution_count: u8::try_from(offered.len()).ok()?,
        default_resolution_index: u8::try_from(modes.map_or(0, ModeList::default_index)).ok()?,
        is_standard: 0,
    };
    let mut table = [wire::Resolution { width: 0.into(), height: 0.into() }; MAX_RESOLUTIONS];
    for (entry, Mode { width, height }) in table.iter_mut().zip(offered) {
        *entry = wire::Resolution { width: (*width).into(), height: (*height).into() };
    }
    let entries = table.get(..offered.len())?;
    wire::encode(buf, MessageType::ResolutionResponse, &[head.as_bytes(), entries.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_slot_for_every_kind() {
        let version = Version::V3_5;
        let one_of_each = [
            Outgoing::VersionResponse { version, accepted: true },
            Outgoing::VramLocationAck { user_ctx: 1 },
            Outgoing::SituationAck { user_ctx: 2 },
            Outgoing::FeatureChange(Features::DIRT),
            Outgoing::BiosInfo,
            Outgoing::Resolutions { max: 64 },
            Outgoing::Capability,
        ];
        let mut queue = TransmitQueue::new();
        for message in one_of_each {
            assert!(!queue.push(message), "{message:?}");
        }
        for message in one_of_each {
            assert!(queue.push(message), "{message:?} has replaced itself");
        }
        for message in one_of_each {
            assert_eq!(queue.front(), Some(message));
            queue.pop();
        }
        assert_eq!(queue.front(), None);
    }
}
