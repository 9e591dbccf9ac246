//! The rectangles of a DIRT message, and what becomes of each.

use core::iter::FusedIterator;

use zerocopy::FromBytes;

use crate::fault::ProtocolFault;
use crate::geometry::Rect;
use crate::wire;

/// The rectangles of one DIRT as the guest wrote them, read from the message without a copy.
///
/// *Shape*: 1 to 255 rectangles, any coordinates. Give each to [`DirtVerdict::of`].
#[derive(Clone, Debug)]
pub struct DirtRects<'a> {
    rects: core::slice::Iter<'a, wire::DirtRect>,
}

impl<'a> DirtRects<'a> {
    /// Parses the body of a DIRT.
    ///
    /// *Errors*: [`ProtocolFault::TooShort`], [`ProtocolFault::UnknownOutput`], [`ProtocolFault::DirtCount`] for a
    /// count of 0 or one that does not match the length.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, ProtocolFault> {
        let kind = wire::MessageType::Dirt;
        let Ok((head, rest)) = wire::Dirt::read_from_prefix(body) else {
            return Err(ProtocolFault::TooShort { kind, len: body.len(), need: size_of::<wire::Dirt>() });
        };
        if head.video_output != 0 {
            return Err(ProtocolFault::UnknownOutput { kind, output: head.video_output });
        }
        let count = usize::from(head.dirt_count);
        match <[wire::DirtRect]>::ref_from_bytes(rest) {
            Ok(rects) if rects.len() == count && count > 0 => Ok(Self { rects: rects.iter() }),
            _ => Err(ProtocolFault::DirtCount { count: head.dirt_count, bytes: rest.len() }),
        }
    }
}

impl Iterator for DirtRects<'_> {
    type Item = Rect;

    fn next(&mut self) -> Option<Rect> {
        let rect = self.rects.next()?;
        Some(Rect::new(rect.x1.get(), rect.y1.get(), rect.x2.get(), rect.y2.get()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rects.size_hint()
    }
}

impl ExactSizeIterator for DirtRects<'_> {}
impl FusedIterator for DirtRects<'_> {}

/// What becomes of one rectangle of a DIRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtVerdict {
    /// Pixels to copy.
    Accepted {
        /// The part on the screen; never empty.
        rect: Rect,
        /// The guest declared more than that.
        clipped: bool,
    },
    /// Nothing to copy.
    Rejected(RejectReason),
}

impl DirtVerdict {
    /// Judges `declared` against the screen `bounds` ([`crate::Situation::bounds`]).
    #[must_use]
    pub fn of(declared: Rect, bounds: Rect) -> Self {
        if declared.is_inverted() {
            return Self::Rejected(RejectReason::Inverted);
        }
        if declared.is_empty() {
            return Self::Rejected(RejectReason::Empty);
        }
        match declared.clip(&bounds) {
            Some(rect) => Self::Accepted { rect, clipped: rect != declared },
            None => Self::Rejected(RejectReason::Outside),
        }
    }

    /// The part to copy, if there is one.
    #[must_use]
    pub fn accepted(self) -> Option<Rect> {
        match self {
            Self::Accepted { rect, .. } => Some(rect),
            Self::Rejected(_) => None,
        }
    }
}

/// Why a rectangle was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// An edge lies on the wrong side of its opposite.
    Inverted,
    /// Edges meet.
    Empty,
    /// No pixel of it is on the screen, or the screen is off.
    Outside,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const SCREEN: Rect = Rect::new(0, 0, 1024, 768);

    fn body(count: u8, rects: &[[i32; 4]]) -> Vec<u8> {
        let mut body = Vec::from([0, count]);
        body.extend(rects.iter().flatten().flat_map(|edge| edge.to_le_bytes()));
        body
    }

    #[test]
    fn rectangles_read_back_in_order() {
        let body = body(2, &[[1, 2, 3, 4], [-1, 0, i32::MAX, i32::MIN]]);
        let rects = DirtRects::parse(&body).unwrap();
        assert_eq!(rects.len(), 2);
        assert_eq!(rects.collect::<Vec<_>>(), [Rect::new(1, 2, 3, 4), Rect::new(-1, 0, i32::MAX, i32::MIN)]);
    }

    #[test]
    fn most_rectangles_that_a_count_can_say_are_read() {
        let body = body(255, &[[0, 0, 1, 1]; 255]);
        assert_eq!(DirtRects::parse(&body).unwrap().count(), 255);
    }

    #[test]
    fn count_that_does_not_match_the_length_is_a_fault() {
        for (count, rects) in [(0, 0), (0, 1), (1, 0), (1, 2), (3, 2)] {
            let body = body(count, &[[0, 0, 1, 1]; 2][..rects]);
            let fault = DirtRects::parse(&body).unwrap_err();
            assert_eq!(fault, ProtocolFault::DirtCount { count, bytes: rects * 16 });
        }
        let mut odd = body(1, &[[0, 0, 1, 1]]);
        odd.push(0);
        assert_eq!(DirtRects::parse(&odd).unwrap_err(), ProtocolFault::DirtCount { count: 1, bytes: 17 });
    }

    #[test]
    fn second_output_is_a_fault() {
        let mut body = body(1, &[[0, 0, 1, 1]]);
        body[0] = 1;
        let kind = wire::MessageType::Dirt;
        assert_eq!(DirtRects::parse(&body).unwrap_err(), ProtocolFault::UnknownOutput { kind, output: 1 });
    }

    #[test]
    fn dirt_outside_situation_is_clipped() {
        let verdict = DirtVerdict::of(Rect::new(-5, 700, 10, 5000), SCREEN);
        assert_eq!(verdict, DirtVerdict::Accepted { rect: Rect::new(0, 700, 10, 768), clipped: true });
    }

    #[test]
    fn whole_screen_is_accepted_unclipped() {
        assert_eq!(DirtVerdict::of(SCREEN, SCREEN), DirtVerdict::Accepted { rect: SCREEN, clipped: false });
    }

    #[test]
    fn inverted_empty_and_outside_rectangles_are_told_apart() {
        let reject = |rect| match DirtVerdict::of(rect, SCREEN) {
            DirtVerdict::Rejected(reason) => Some(reason),
            DirtVerdict::Accepted { .. } => None,
        };
        assert_eq!(reject(Rect::new(9, 0, 3, 5)), Some(RejectReason::Inverted));
        assert_eq!(reject(Rect::new(3, 0, 3, 5)), Some(RejectReason::Empty));
        assert_eq!(reject(Rect::new(1024, 0, 2000, 5)), Some(RejectReason::Outside));
        assert_eq!(reject(Rect::new(0, 0, 1, 1)), None);
    }
}
