//! The messages that wait for room in the guest's ring: at most one of each kind.

use core::mem::{Discriminant, discriminant};

use zerocopy::IntoBytes;

use super::{Features, VspConfig};
use crate::modes::{Mode, ModeList};
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

/// Variants of [`Outgoing`].
const KINDS: usize = 7;

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

/// First in, first out; a second message of a kind takes the place of the first.
///
/// That bounds the queue by the number of kinds, and keeps the promise never to answer twice: Linux waits for all
/// answers on one completion that it does not clear.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransmitQueue {
    waiting: [Option<Outgoing>; KINDS],
}

impl TransmitQueue {
    pub(super) const fn new() -> Self {
        Self { waiting: [None; KINDS] }
    }

    /// Adds `message`; true if it replaced an older one of its kind.
    pub(super) fn push(&mut self, message: Outgoing) -> bool {
        for slot in &mut self.waiting {
            match slot {
                Some(queued) if discriminant(queued) == discriminant(&message) => {
                    *queued = message;
                    return true;
                }
                Some(_) => {}
                None => {
                    *slot = Some(message);
                    return false;
                }
            }
        }
        // Not reached: there is a slot for every kind.
        false
    }

    pub(super) fn front(&self) -> Option<Outgoing> {
        self.waiting.first().copied().flatten()
    }

    pub(super) fn pop(&mut self) {
        self.remove(0);
    }

    /// Forgets everything; gives the number of messages that were waiting.
    pub(super) fn clear(&mut self) -> u64 {
        let before = core::mem::replace(self, Self::new());
        before.waiting.iter().flatten().fold(0, |count, _| count + 1)
    }

    /// Forgets a VRAM_LOCATION_ACK that was not sent; true if there was one.
    pub(super) fn drop_vram_ack(&mut self) -> bool {
        let ack: Discriminant<Outgoing> = discriminant(&Outgoing::VramLocationAck { user_ctx: 0 });
        let found = self.waiting.iter().position(|slot| slot.as_ref().map(discriminant) == Some(ack));
        found.is_some_and(|at| self.remove(at))
    }

    fn remove(&mut self, at: usize) -> bool {
        let Some(tail) = self.waiting.get_mut(at..) else { return false };
        let Some(first) = tail.first_mut() else { return false };
        let was_some = first.take().is_some();
        tail.rotate_left(1);
        was_some
    }
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

    #[test]
    fn newer_answer_takes_the_place_of_the_older() {
        let mut queue = TransmitQueue::new();
        queue.push(Outgoing::SituationAck { user_ctx: 1 });
        queue.push(Outgoing::BiosInfo);
        queue.push(Outgoing::SituationAck { user_ctx: 2 });
        assert_eq!(queue.front(), Some(Outgoing::SituationAck { user_ctx: 2 }));
        queue.pop();
        assert_eq!(queue.front(), Some(Outgoing::BiosInfo));
    }

    #[test]
    fn dropped_acknowledgement_leaves_the_rest_in_order() {
        let mut queue = TransmitQueue::new();
        queue.push(Outgoing::BiosInfo);
        queue.push(Outgoing::VramLocationAck { user_ctx: 1 });
        queue.push(Outgoing::Capability);
        assert!(queue.drop_vram_ack());
        assert!(!queue.drop_vram_ack());
        queue.pop();
        assert_eq!(queue.front(), Some(Outgoing::Capability));
    }
}
