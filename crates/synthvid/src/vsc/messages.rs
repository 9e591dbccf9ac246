//! The guest's messages, and how Linux writes them.

use zerocopy::IntoBytes;

use crate::geometry::Rect;
use crate::queue::OneOfEach;
use crate::situation::Situation;
use crate::version::Version;
use crate::wire::{self, MAX_RESOLUTIONS, MessageType, POINTER_PART_LAST};

/// Rectangles that a DIRT can hold.
const MAX_DIRT_RECTS: usize = 255;

/// One message to the host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outgoing {
    VersionRequest(Version),
    ResolutionRequest,
    VramLocation {
        gpa: u64,
    },
    /// At the origin, visible: what Linux always says.
    PointerPosition,
    /// One transparent pixel: how Linux hides the host's pointer.
    PointerShape,
    SituationUpdate(Situation),
}

/// A slot for each variant of [`Outgoing`].
pub(super) type GuestQueue = OneOfEach<Outgoing, 6>;

impl Outgoing {
    /// Writes the message; `None` if `buf` is too short.
    pub(super) fn encode(self, buf: &mut [u8]) -> Option<usize> {
        match self {
            Self::VersionRequest(version) => {
                let body = wire::VersionRequest { version: version.0.into() };
                wire::encode(buf, MessageType::VersionRequest, &[body.as_bytes()])
            }
            Self::ResolutionRequest => {
                let body =
                    wire::ResolutionRequest { maximum_resolution_count: u8::try_from(MAX_RESOLUTIONS).ok()? };
                wire::encode(buf, MessageType::ResolutionRequest, &[body.as_bytes()])
            }
            Self::VramLocation { gpa } => {
                let body = wire::VramLocation {
                    user_ctx: gpa.into(),
                    is_vram_gpa_specified: 1,
                    vram_gpa: gpa.into(),
                };
                wire::encode(buf, MessageType::VramLocation, &[body.as_bytes()])
            }
            Self::PointerPosition => {
                let body = wire::PointerPosition {
                    is_visible: 1,
                    video_output: 0,
                    image_x: 0.into(),
                    image_y: 0.into(),
                };
                wire::encode(buf, MessageType::PointerPosition, &[body.as_bytes()])
            }
            Self::PointerShape => {
                let head = wire::PointerShape {
                    part_index: POINTER_PART_LAST,
                    is_argb: 1,
                    width: 1.into(),
                    height: 1.into(),
                    hot_x: 0.into(),
                    hot_y: 0.into(),
                };
                wire::encode(buf, MessageType::PointerShape, &[head.as_bytes(), &[0, 1, 1, 1]])
            }
            Self::SituationUpdate(situation) => {
                let head = wire::SituationUpdate { user_ctx: 0.into(), video_output_count: 1 };
                let output = wire::SituationOutput::from(situation);
                wire::encode(buf, MessageType::SituationUpdate, &[head.as_bytes(), output.as_bytes()])
            }
        }
    }
}

pub(super) fn encode_dirt(rects: &[Rect], buf: &mut [u8]) -> Option<usize> {
    let dirt_count = u8::try_from(rects.len()).ok().filter(|count| *count > 0)?;
    let zero = wire::DirtRect { x1: 0.into(), y1: 0.into(), x2: 0.into(), y2: 0.into() };
    let mut wire_rects = [zero; MAX_DIRT_RECTS];
    for (wire_rect, rect) in wire_rects.iter_mut().zip(rects) {
        *wire_rect = wire::DirtRect {
            x1: rect.left.into(),
            y1: rect.top.into(),
            x2: rect.right.into(),
            y2: rect.bottom.into(),
        };
    }
    let head = wire::Dirt { video_output: 0, dirt_count };
    wire::encode(buf, MessageType::Dirt, &[head.as_bytes(), wire_rects.get(..rects.len())?.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::situation::PixelFormat;

    #[test]
    fn there_is_a_slot_for_every_kind() {
        let situation = Situation {
            active: true,
            vram_offset: 0,
            format: PixelFormat::Xrgb8888,
            width: 1,
            height: 1,
            pitch_bytes: 4,
        };
        let one_of_each = [
            Outgoing::VersionRequest(Version::V3_5),
            Outgoing::ResolutionRequest,
            Outgoing::VramLocation { gpa: 0 },
            Outgoing::PointerPosition,
            Outgoing::PointerShape,
            Outgoing::SituationUpdate(situation),
        ];
        let mut queue = GuestQueue::new();
        for message in one_of_each {
            assert!(!queue.push(message), "{message:?}");
        }
        assert_eq!(queue.clear(), 6);
    }
}
