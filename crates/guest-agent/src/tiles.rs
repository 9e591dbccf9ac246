//! A picture as a hash a tile, so that two pictures can be compared, and the difference found, without sending one.
//!
//! Tiles are squares, cut from the top left; those at the right and at the bottom hold what is left of the picture.

/// The sides that a tile may have, in pixels.
pub const TILE_PX: std::ops::RangeInclusive<u32> = 8..=4096;

/// The most hashes in one event, so that its line stays below [`crate::lines::MAX_LINE_BYTES`].
pub const MAX_HASHES: usize = 4096;

/// The 64-bit hash of pixels, 0x00RRGGBB each, in reading order; the upper byte is ignored.
///
/// It is FNV-1a with a pixel in the place of an octet: from the offset basis on, xor with the pixel and multiply by the FNV prime,
/// modulo 2^64. Each step can be undone, so two tiles that differ in one pixel never have the same hash.
#[must_use]
pub fn hash(pixels: impl IntoIterator<Item = u32>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    pixels
        .into_iter()
        .fold(OFFSET_BASIS, |hash, pixel| (hash ^ u64::from(pixel & 0x00ff_ffff)).wrapping_mul(PRIME))
}

/// The hash of every tile of a picture, tile row after tile row.
///
/// *Shape*: `pixels` are `width` x `height`, row after row without gaps, 0x00RRGGBB; what is missing at the end counts as nothing. The
/// result has [`count`]`(width, tile_px)` times [`count`]`(height, tile_px)` hashes. A `tile_px` of 0 counts as 1.
#[must_use]
pub fn hashes(width: u32, height: u32, tile_px: u32, pixels: &[u32]) -> Vec<u64> {
    let side = tile_px.max(1) as usize;
    let (width, height) = (width as usize, height as usize);
    let row = |y: usize| pixels.get(y.saturating_mul(width)..).unwrap_or_default();
    let mut all = Vec::new();
    for top in (0..height).step_by(side) {
        let bottom = top.saturating_add(side).min(height);
        for left in (0..width).step_by(side) {
            let columns = side.min(width - left);
            all.push(hash((top..bottom).flat_map(|y| row(y).iter().skip(left).take(columns).copied())));
        }
    }
    all
}

/// How many tiles a side of `length_px` pixels has.
#[must_use]
pub const fn count(length_px: u32, tile_px: u32) -> u32 {
    length_px.div_ceil(if tile_px == 0 { 1 } else { tile_px })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Picture};

    fn noise(width: u32, height: u32) -> Vec<u32> {
        let picture = Picture::new(Pattern::Noise, width, height, 7);
        (0..height).flat_map(|y| (0..width).map(move |x| picture.pixel(x, y))).collect()
    }

    #[test]
    fn hash_is_the_same_for_ever() {
        assert_eq!(hash([]), 0xcbf2_9ce4_8422_2325);
        // FNV-1a of the octet 0x61, from the tables of its authors.
        assert_eq!(hash([0x61]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash([0x66, 0x6f, 0x6f, 0x62, 0x61, 0x72]), 0x8594_4171_f739_67e8);
        assert_ne!(hash([1, 2]), hash([2, 1]));
    }

    #[test]
    fn top_byte_of_a_pixel_is_ignored() {
        assert_eq!(hash([0xff12_3456]), hash([0x0012_3456]));
    }

    #[test]
    fn one_wrong_pixel_is_one_wrong_tile() {
        let right = noise(100, 70);
        let mut wrong = right.clone();
        wrong[69 * 100 + 99] ^= 1;
        let (right, wrong) = (hashes(100, 70, 32, &right), hashes(100, 70, 32, &wrong));
        assert_eq!((right.len(), count(100, 32) * count(70, 32)), (12, 12));
        let differ: Vec<_> =
            right.iter().zip(&wrong).enumerate().filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
        assert_eq!(differ, [11]);
    }

    #[test]
    fn bands_of_tiles_have_the_hashes_of_the_whole() {
        let picture = noise(50, 40);
        let bands: Vec<u64> = picture
            .chunks(50 * 16)
            .flat_map(|band| {
                let height = u32::try_from(band.len() / 50).unwrap();
                hashes(50, height, 16, band)
            })
            .collect();
        assert_eq!(bands, hashes(50, 40, 16, &picture));
    }

    #[test]
    fn picture_cut_short_has_all_its_tiles() {
        assert_eq!(hashes(64, 64, 32, &[1; 10]).len(), 4);
        assert!(hashes(0, 64, 32, &[]).is_empty());
        assert_eq!(hashes(2, 1, 0, &[1, 2]), [hash([1]), hash([2])]);
    }
}
