//! The guest's pointer as a layer of its own, drawn over a copy of the picture on request.
//!
//! The surface never holds it: it is no part of what the guest draws into VRAM.

use synthvid::pointer::{MAX_POINTER_BYTES, PointerFormat, PointerPosition, PointerShape};
use synthvid::{Rect, Size};

/// Red, green and blue of a pixel.
const RGB_MASK: u32 = 0x00ff_ffff;

/// Shape and place of a pointer. Nothing is drawn before both were given.
///
/// *Size*: at most 96 by 96 pixels, as the protocol has them.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    shape: Option<(PointerShape, Vec<u8>)>,
    position: Option<PointerPosition>,
}

impl Cursor {
    /// A pointer that the guest has said nothing of.
    #[must_use]
    pub const fn new() -> Self {
        Self { shape: None, position: None }
    }

    /// Takes a shape and its pixels, as [`PointerShape`] says that they lie. Pixels that are missing are not drawn.
    pub fn set_shape(&mut self, shape: PointerShape, pixels: &[u8]) {
        let pixels = pixels.get(..shape.bytes().min(MAX_POINTER_BYTES)).unwrap_or(pixels);
        self.shape = Some((shape, pixels.to_vec()));
    }

    /// Takes a place, which is that of the shape's upper left corner whatever its hot spot.
    pub fn set_position(&mut self, position: PointerPosition) {
        self.position = Some(position);
    }

    /// Forgets both.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The pixel of the screen that is pointed at; `None` if no pointer is shown.
    #[must_use]
    pub fn hot_spot(&self) -> Option<(i32, i32)> {
        let (shape, _) = self.shape.as_ref()?;
        let position = self.position.filter(|position| position.visible)?;
        let add = |at: i32, offset: u32| at.saturating_add_unsigned(offset);
        Some((add(position.x, shape.hot_x), add(position.y, shape.hot_y)))
    }

    /// Draws the pointer into `pixels`, a picture of `size`, each pixel `0x00RRGGBB`; what lies outside is left out.
    ///
    /// A pixel with alpha is mixed in proportion (not premultiplied); a monochrome one makes black or white, leaves what
    /// is there, or inverts it. Gives the number of pixels that changed.
    pub fn blend(&self, pixels: &mut [u32], size: Size) -> u64 {
        let (Some((shape, bytes)), Some(at)) = (&self.shape, self.position) else { return 0 };
        if !at.visible {
            return 0;
        }
        let edge = |at: i32, len: u32| at.saturating_add_unsigned(len);
        let whole = Rect::new(at.x, at.y, edge(at.x, shape.size.width), edge(at.y, shape.size.height));
        let Some(shown) = whole.clip(&size.rect()) else { return 0 };
        let mut changed = 0;
        for y in shown.top..shown.bottom {
            for x in shown.left..shown.right {
                let of_shape = (x.abs_diff(at.x), y.abs_diff(at.y));
                let target = pixel_index(x, y, size).and_then(|index| pixels.get_mut(index));
                let (Some(target), Some(ink)) = (target, ink(shape, bytes, of_shape)) else { continue };
                let drawn = ink.over(*target);
                changed += u64::from(drawn != *target);
                *target = drawn;
            }
        }
        changed
    }
}

/// What one pixel of a pointer does to the one below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    /// Takes its place in proportion of the alpha, 255 being all.
    Colour { rgb: u32, alpha: u8 },
    /// Turns it round.
    Invert,
}

impl Ink {
    fn over(self, below: u32) -> u32 {
        match self {
            Self::Invert => !below & RGB_MASK,
            Self::Colour { rgb, alpha } => {
                let alpha = u32::from(alpha);
                let mix = |shift: u32| {
                    let (own, other) = (rgb >> shift & 0xff, below >> shift & 0xff);
                    // Rounded to the nearest; the sum is below 2^16.
                    ((own * alpha + other * (255 - alpha) + 127) / 255) << shift
                };
                mix(16) | mix(8) | mix(0)
            }
        }
    }
}

fn ink(shape: &PointerShape, bytes: &[u8], (x, y): (u32, u32)) -> Option<Ink> {
    let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
    let (width, height) = (usize::try_from(shape.size.width).ok()?, usize::try_from(shape.size.height).ok()?);
    match shape.format {
        PointerFormat::Argb8888 => {
            let at = y.checked_mul(width)?.checked_add(x)?.checked_mul(4)?;
            let [blue, green, red, alpha] = *bytes.get(at..)?.first_chunk()?;
            Some(Ink::Colour { rgb: u32::from_be_bytes([0, red, green, blue]), alpha })
        }
        PointerFormat::Monochrome => {
            let pitch = width.div_ceil(8);
            let at = y.checked_mul(pitch)?.checked_add(x / 8)?;
            let bit = 0x80 >> (x % 8);
            let and = bytes.get(at)? & bit != 0;
            let xor = bytes.get(at.checked_add(pitch.checked_mul(height)?)?)? & bit != 0;
            match (and, xor) {
                (false, white) => Some(Ink::Colour { rgb: if white { RGB_MASK } else { 0 }, alpha: 255 }),
                (true, false) => None,
                (true, true) => Some(Ink::Invert),
            }
        }
    }
}

fn pixel_index(x: i32, y: i32, size: Size) -> Option<usize> {
    let (x, y, width) =
        (usize::try_from(x).ok()?, usize::try_from(y).ok()?, usize::try_from(size.width).ok()?);
    y.checked_mul(width)?.checked_add(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: u32 = 0x0080_8080;
    const SCREEN: Size = Size::new(4, 3);

    fn shape(format: PointerFormat, width: u32, height: u32) -> PointerShape {
        PointerShape { format, size: Size::new(width, height), hot_x: width - 1, hot_y: 0 }
    }

    fn at(x: i32, y: i32) -> PointerPosition {
        PointerPosition { visible: true, x, y }
    }

    /// A 2 by 2 pointer: opaque red and green, half transparent blue, nothing.
    fn colours() -> Cursor {
        let mut cursor = Cursor::new();
        let pixels = [0, 0, 255, 255, 0, 255, 0, 255, 255, 0, 0, 128, 9, 9, 9, 0];
        cursor.set_shape(shape(PointerFormat::Argb8888, 2, 2), &pixels);
        cursor
    }

    fn drawn(cursor: &Cursor) -> Vec<u32> {
        let mut pixels = vec![GREY; 12];
        cursor.blend(&mut pixels, SCREEN);
        pixels
    }

    #[test]
    fn colours_are_mixed_by_their_alpha_at_the_corner_that_was_given() {
        let mut cursor = colours();
        cursor.set_position(at(1, 1));
        let mut expected = vec![GREY; 12];
        expected[5] = 0x00ff_0000;
        expected[6] = 0x0000_ff00;
        expected[9] = 0x0040_40c0;
        assert_eq!(drawn(&cursor), expected);
    }

    #[test]
    fn hot_spot_says_what_is_pointed_at_and_moves_nothing() {
        let mut cursor = colours();
        assert_eq!(cursor.hot_spot(), None);
        cursor.set_position(at(1, 1));
        assert_eq!(cursor.hot_spot(), Some((2, 1)));
        assert_eq!(drawn(&cursor)[5], 0x00ff_0000, "the upper left pixel is at the position");
        cursor.set_position(at(i32::MAX, i32::MIN));
        assert_eq!(cursor.hot_spot(), Some((i32::MAX, i32::MIN)));
    }

    #[test]
    fn pointer_over_an_edge_is_cut_there() {
        let mut cursor = colours();
        for (x, y, index, colour) in [
            (-1, -1, None, 0),
            (-1, 0, Some(0), 0x0000_ff00),
            (0, -1, Some(0), 0x0040_40c0),
            (3, 2, Some(11), 0x00ff_0000),
            (4, 0, None, 0),
            (0, 3, None, 0),
            (i32::MIN, i32::MIN, None, 0),
            (i32::MAX, i32::MAX, None, 0),
        ] {
            cursor.set_position(at(x, y));
            let mut pixels = vec![GREY; 12];
            let changed = cursor.blend(&mut pixels, SCREEN);
            let expected: Vec<usize> = index.into_iter().collect();
            let found: Vec<usize> = (0..12).filter(|&index| pixels[index] != GREY).collect();
            assert_eq!((changed, &found), (expected.len() as u64, &expected), "({x},{y})");
            if let Some(index) = index {
                assert_eq!(pixels[index], colour, "({x},{y})");
            }
        }
    }

    #[test]
    fn monochrome_masks_make_black_white_nothing_and_the_opposite() {
        let mut cursor = Cursor::new();
        // AND 0011, XOR 0101.
        cursor.set_shape(shape(PointerFormat::Monochrome, 4, 1), &[0b0011_0000, 0b0101_0000]);
        cursor.set_position(at(0, 2));
        assert_eq!(drawn(&cursor)[8..], [0, 0x00ff_ffff, GREY, 0x007f_7f7f]);
    }

    #[test]
    fn wide_monochrome_rows_are_filled_up_to_a_byte() {
        let mut cursor = Cursor::new();
        // Nine pixels a row: two bytes. Only the last pixel of the second row is ink.
        let and = [0xff, 0xff, 0xff, 0x7f];
        cursor.set_shape(shape(PointerFormat::Monochrome, 9, 2), &[and, [0, 0, 0, 0x80]].concat());
        cursor.set_position(at(-7, 0));
        let expected: Vec<u32> = (0..12).map(|index| if index == 5 { 0x00ff_ffff } else { GREY }).collect();
        assert_eq!(drawn(&cursor), expected);
    }

    #[test]
    fn invisible_or_forgotten_pointer_draws_nothing() {
        let mut cursor = colours();
        assert_eq!(drawn(&cursor), [GREY; 12], "no position");
        cursor.set_position(PointerPosition { visible: false, x: 0, y: 0 });
        assert_eq!((drawn(&cursor), cursor.hot_spot()), (vec![GREY; 12], None));
        cursor.set_position(at(0, 0));
        cursor.reset();
        assert_eq!(drawn(&cursor), [GREY; 12]);
        cursor.set_position(at(0, 0));
        assert_eq!(drawn(&cursor), [GREY; 12], "no shape");
    }

    #[test]
    fn picture_or_shape_with_too_few_pixels_is_drawn_as_far_as_it_goes() {
        let mut cursor = colours();
        cursor.set_position(at(0, 0));
        let mut short = vec![GREY; 1];
        assert_eq!(cursor.blend(&mut short, SCREEN), 1);
        cursor.set_shape(shape(PointerFormat::Argb8888, 2, 2), &[0, 0, 255, 255, 0]);
        assert_eq!(drawn(&cursor)[..2], [0x00ff_0000, GREY]);
        assert_eq!(cursor.blend(&mut [], Size::new(0, 0)), 0);
    }
}
