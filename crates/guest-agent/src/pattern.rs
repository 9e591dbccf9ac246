//! Test pictures that both ends can compute, pixel by pixel, from a size and a seed.
//!
//! A picture that proves something has to notice the usual damage of a display path: a shifted row, a stale rectangle,
//! swapped channels, a wrong pitch. [`Pattern::Coordinates`] therefore gives every pixel of a picture a colour of its own.

use serde::{Deserialize, Serialize};

/// Which picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Red grows with x, green with y, blue holds the low bits of both; the seed turns all three.
    ///
    /// Up to [`MAX_DISTINCT_PX`] a side no two pixels of one picture have the same colour, so that a pixel in the wrong place
    /// is a wrong pixel. Two seeds that differ in their low 24 bits give pictures that differ in every pixel.
    Coordinates,
    /// A hash of seed, x and y: no two rows or columns alike, nothing for a compressor to hold on to.
    Noise,
}

/// The longest side, in pixels, for which [`Pattern::Coordinates`] gives every pixel its own colour.
pub const MAX_DISTINCT_PX: u32 = 4096;

/// A pattern fixed to a size and a seed.
///
/// Shape: `width` x `height` pixels, origin top left; colours are 0x00RRGGBB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    pattern: Pattern,
    width: u32,
    height: u32,
    shift_x: u32,
    shift_y: u32,
    seed: u64,
    turn: u32,
}

/// What [`Picture::compare`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Pixels looked at: width times height.
    pub total_px: u64,
    /// Pixels that are not what the pattern says.
    pub wrong_px: u64,
    /// The first wrong one in reading order.
    pub first: Option<WrongPixel>,
    /// Half-open box (left, top, right, bottom) around all wrong ones.
    pub wrong_box: Option<(u32, u32, u32, u32)>,
}

/// One pixel that is not what the pattern says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WrongPixel {
    /// Column, from the left.
    pub x: u32,
    /// Row, from the top.
    pub y: u32,
    /// What the pattern says, 0x00RRGGBB.
    pub expected: u32,
    /// What the picture has, 0x00RRGGBB.
    pub found: u32,
}

impl Comparison {
    /// Whether every pixel was right.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.wrong_px == 0
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(first) = self.first else {
            return write!(f, "all {} pixels exact", self.total_px);
        };
        write!(
            f,
            "{} of {} pixels wrong, first at ({}, {}): expected 0x{:06x}, found 0x{:06x}",
            self.wrong_px, self.total_px, first.x, first.y, first.expected, first.found
        )?;
        match self.wrong_box {
            Some((left, top, right, bottom)) => write!(f, ", all within ({left}, {top})-({right}, {bottom})"),
            None => Ok(()),
        }
    }
}

/// Bits of a coordinate that fit the colour.
const COORDINATE_BITS: u32 = 12;

/// An odd number: multiplication by it permutes the residues modulo 2^24.
const SEED_STEP: u64 = 0x9e37_79b1;

impl Picture {
    /// Fixes `pattern` to a size and a seed.
    #[must_use]
    pub fn new(pattern: Pattern, width: u32, height: u32, seed: u64) -> Self {
        Self {
            pattern,
            width,
            height,
            shift_x: spread(width),
            shift_y: spread(height),
            seed,
            turn: low_24_bits(seed.wrapping_mul(SEED_STEP)),
        }
    }

    /// The colour at column `x`, row `y`, 0x00RRGGBB.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> u32 {
        match self.pattern {
            Pattern::Coordinates => {
                let (x, y) = ((x << self.shift_x) & 0xfff, (y << self.shift_y) & 0xfff);
                let red = (x >> 4).wrapping_add(self.turn >> 16) & 0xff;
                let green = (y >> 4).wrapping_add(self.turn >> 8) & 0xff;
                let blue = ((x & 0xf) | ((y & 0xf) << 4)).wrapping_add(self.turn) & 0xff;
                red << 16 | green << 8 | blue
            }
            Pattern::Noise => low_24_bits(mix(self.seed ^ mix(u64::from(y) << 32 | u64::from(x)))),
        }
    }

    /// Writes row `y` as XRGB8888 little endian (B, G, R, 0) into `row`, as many whole pixels as fit and the picture has.
    pub fn write_row(&self, y: u32, row: &mut [u8]) {
        for (x, bytes) in (0..self.width).zip(row.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&self.pixel(x, y).to_le_bytes());
        }
    }

    /// Compares a whole picture with the pattern. `pixel` is asked for every (x, y); its top byte is ignored.
    pub fn compare(&self, mut pixel: impl FnMut(u32, u32) -> u32) -> Comparison {
        let mut result =
            Comparison { total_px: u64::from(self.width) * u64::from(self.height), ..Comparison::default() };
        for y in 0..self.height {
            for x in 0..self.width {
                let (expected, found) = (self.pixel(x, y), pixel(x, y) & 0x00ff_ffff);
                if expected == found {
                    continue;
                }
                result.wrong_px += 1;
                result.first.get_or_insert(WrongPixel { x, y, expected, found });
                let (left, top, right, bottom) = result.wrong_box.unwrap_or((x, y, x + 1, y + 1));
                result.wrong_box = Some((left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)));
            }
        }
        result
    }
}

/// How far to shift a coordinate left, so that a side of `length_px` pixels uses the whole range of a channel.
fn spread(length_px: u32) -> u32 {
    let used = u32::BITS - length_px.saturating_sub(1).leading_zeros();
    COORDINATE_BITS.saturating_sub(used)
}

/// The low 24 bits, as a colour.
fn low_24_bits(value: u64) -> u32 {
    let [red, green, blue, ..] = value.to_le_bytes();
    u32::from_le_bytes([red, green, blue, 0])
}

/// The finalizer of SplitMix64: every input bit reaches every output bit.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn coordinates_gives_every_pixel_its_own_colour() {
        for (width, height) in [(1, 1), (7, 3), (640, 480), (1024, 768), (1152, 864), (1366, 768)] {
            let picture = Picture::new(Pattern::Coordinates, width, height, 42);
            let mut seen = HashSet::new();
            for y in 0..height {
                for x in 0..width {
                    assert!(
                        seen.insert(picture.pixel(x, y)),
                        "({x}, {y}) of {width}x{height} repeats a colour"
                    );
                }
            }
        }
    }

    #[test]
    fn coordinates_of_another_seed_differs_everywhere() {
        let (one, other) = (
            Picture::new(Pattern::Coordinates, 320, 200, 1),
            Picture::new(Pattern::Coordinates, 320, 200, 2),
        );
        assert_eq!(one.compare(|x, y| other.pixel(x, y)).wrong_px, 320 * 200);
    }

    #[test]
    fn noise_has_no_two_rows_or_columns_alike() {
        let picture = Picture::new(Pattern::Noise, 256, 192, 7);
        let rows: HashSet<Vec<u32>> =
            (0..192).map(|y| (0..256).map(|x| picture.pixel(x, y)).collect()).collect();
        let columns: HashSet<Vec<u32>> =
            (0..256).map(|x| (0..192).map(|y| picture.pixel(x, y)).collect()).collect();
        assert_eq!((rows.len(), columns.len()), (192, 256));
    }

    #[test]
    fn shift_by_one_pixel_is_wrong_everywhere() {
        for pattern in [Pattern::Coordinates, Pattern::Noise] {
            let picture = Picture::new(pattern, 64, 48, 3);
            assert_eq!(
                picture.compare(|x, y| picture.pixel((x + 1) % 64, y)).wrong_px,
                64 * 48,
                "{pattern:?}"
            );
            assert_eq!(
                picture.compare(|x, y| picture.pixel(x, (y + 1) % 48)).wrong_px,
                64 * 48,
                "{pattern:?}"
            );
        }
    }

    #[test]
    fn mirrored_and_turned_pictures_are_wrong() {
        for pattern in [Pattern::Coordinates, Pattern::Noise] {
            let picture = Picture::new(pattern, 48, 48, 3);
            assert!(picture.compare(|x, y| picture.pixel(47 - x, y)).wrong_px > 48 * 47, "{pattern:?}");
            assert!(picture.compare(|x, y| picture.pixel(x, 47 - y)).wrong_px > 48 * 47, "{pattern:?}");
            assert!(picture.compare(|x, y| picture.pixel(y, x)).wrong_px > 48 * 46, "{pattern:?}");
        }
    }

    #[test]
    fn one_wrong_pixel_is_located() {
        let picture = Picture::new(Pattern::Coordinates, 64, 48, 9);
        let found = picture.compare(|x, y| picture.pixel(x, y) ^ u32::from((x, y) == (13, 21)));
        assert_eq!((found.wrong_px, found.wrong_box), (1, Some((13, 21, 14, 22))));
        assert!(found.to_string().contains("first at (13, 21)"), "{found}");
    }

    #[test]
    fn top_byte_of_a_pixel_is_ignored() {
        let picture = Picture::new(Pattern::Noise, 16, 16, 9);
        assert!(picture.compare(|x, y| picture.pixel(x, y) | 0xff00_0000).is_exact());
    }

    #[test]
    fn row_is_little_endian_xrgb() {
        let picture = Picture::new(Pattern::Coordinates, 3, 2, 5);
        let mut row = [0xaa; 14];
        picture.write_row(1, &mut row);
        let expected: Vec<u8> = (0..3).flat_map(|x| picture.pixel(x, 1).to_le_bytes()).collect();
        assert_eq!((&row[..12], &row[12..]), (&expected[..], &[0xaa, 0xaa][..]));
    }

    #[test]
    fn picture_is_the_same_for_ever() {
        let coordinates = Picture::new(Pattern::Coordinates, 1024, 768, 1);
        let noise = Picture::new(Pattern::Noise, 1024, 768, 1);
        assert_eq!(
            [
                coordinates.pixel(0, 0),
                coordinates.pixel(1023, 767),
                noise.pixel(0, 0),
                noise.pixel(1023, 767)
            ],
            [0x37_79b1, 0x36_387d, 0x92_b50e, 0xbe_c3a8],
        );
    }
}
