//! Heat maps: refresh traffic over the screen as a PNG file in the screen's own shape.

use std::path::Path;

use meter::measurement::Heat;

use crate::png::{PngError, write_png_pixels};

/// Longest edge of a picture, in pixels.
pub const EDGE_MAX: u32 = 16_384;
/// Most pixels of a picture; four times a screen of 4K.
pub const PIXELS_MAX: u64 = 1 << 25;

/// Colour of a tile without any traffic, near black. No other tile is as dark.
pub const ZERO: u32 = 0x0008_090c;

/// Colours from the least traffic to the most, of evenly rising lightness: the upper part of viridis (van der Walt and
/// Smith, public domain), which people who see no difference between red and green can read.
const RAMP: [u32; 9] = [
    0x0041_4487,
    0x0035_5f8d,
    0x002a_788e,
    0x0021_918c,
    0x0022_a884,
    0x0044_bf70,
    0x007a_d151,
    0x00bd_df26,
    0x00fd_e725,
];

/// Which of a heat map's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Pixels declared.
    Declared,
    /// Pixels changed.
    Changed,
    /// Pixels missed.
    Missed,
}

impl Which {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Declared, Self::Changed, Self::Missed];

    /// The word in a file's name, as in `heat-declared.png`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Changed => "changed",
            Self::Missed => "missed",
        }
    }

    fn values(self, heat: &Heat) -> &[u64] {
        match self {
            Self::Declared => &heat.declared,
            Self::Changed => &heat.changed,
            Self::Missed => &heat.missed,
        }
    }

    /// Lists that share one scale, because they are there to be compared.
    fn scale(self, heat: &Heat) -> impl Iterator<Item = u64> + '_ {
        let lists: [&[u64]; 2] = match self {
            Self::Declared | Self::Changed => [&heat.declared, &heat.changed],
            Self::Missed => [&heat.missed, &[]],
        };
        lists.into_iter().flatten().copied().filter(|value| *value > 0)
    }
}

/// Writes one list of `heat` to `path`, whole or not at all, as [`crate::png::write_png`] does.
///
/// *Shape*: `screen` columns and rows, or all of the tiles if it is not known; a tile is a block of its own size, cut at
/// the screen's edge. *Scale*: logarithmic from the least traffic above zero to the most; `Declared` and `Changed` share
/// one. A tile without traffic is [`ZERO`].
///
/// *Errors*: [`HeatError`].
pub fn write_heat_png(
    path: &Path,
    heat: &Heat,
    which: Which,
    screen: Option<(u32, u32)>,
) -> Result<(), HeatError> {
    let values = which.values(heat);
    let tiles = u64::from(heat.columns) * u64::from(heat.rows);
    if tiles == 0 || heat.tile_px == 0 || values.len() as u64 != tiles {
        return Err(HeatError::Tiles { columns: heat.columns, rows: heat.rows, got: values.len() });
    }
    let of_tiles = || (heat.columns.saturating_mul(heat.tile_px), heat.rows.saturating_mul(heat.tile_px));
    let (width, height) = screen.unwrap_or_else(of_tiles);
    let pixels = u64::from(width) * u64::from(height);
    if width > EDGE_MAX || height > EDGE_MAX || pixels > PIXELS_MAX {
        return Err(HeatError::Screen { width, height });
    }
    let scale = Scale::over(which.scale(heat));
    let colours: Vec<u32> = values.iter().map(|value| scale.colour(*value)).collect();
    let picture: Vec<u32> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| {
            let (column, row) = (x / heat.tile_px, y / heat.tile_px);
            // A screen may be larger than the tiles that were counted; nothing is known to have happened there.
            if column >= heat.columns {
                return ZERO;
            }
            let index = u64::from(row) * u64::from(heat.columns) + u64::from(column);
            usize::try_from(index).ok().and_then(|index| colours.get(index)).copied().unwrap_or(ZERO)
        })
        .collect();
    Ok(write_png_pixels(path, width, height, &picture)?)
}

/// Why a heat map could not be written.
#[derive(Debug, thiserror::Error)]
pub enum HeatError {
    /// The list does not fit the number of tiles, or there are none.
    #[error("{got} values for a heat map of {columns} by {rows} tiles")]
    Tiles {
        /// Tiles in a row.
        columns: u32,
        /// Rows of tiles.
        rows: u32,
        /// Values given.
        got: usize,
    },
    /// The picture would be too large.
    #[error("heat map of {width}x{height}, limit is an edge of {EDGE_MAX} and {PIXELS_MAX} pixels")]
    Screen {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The file could not be written.
    #[error(transparent)]
    Png(#[from] PngError),
}

/// From traffic to colour.
#[derive(Debug)]
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = u64>) -> Self {
        let (least, most) =
            values.fold((u64::MAX, 1), |(least, most), value| (least.min(value), most.max(value)));
        Self { least: least.min(most).max(1) as f64, most: most as f64 }
    }

    fn colour(&self, value: u64) -> u32 {
        if value == 0 {
            return ZERO;
        }
        let whole = (self.most / self.least).ln();
        // One value alone is the most that there is.
        let part = if whole > 0.0 { (value as f64 / self.least).ln() / whole } else { 1.0 };
        let steps = (RAMP.len() - 1) as f64;
        let place = part.clamp(0.0, 1.0) * steps;
        let below = place.floor().min(steps - 1.0);
        let mixed = place - below;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the length of the ramp"
        )]
        let below = below as usize;
        let colour = |at: usize| RAMP.get(at).copied().unwrap_or(ZERO).to_be_bytes();
        let (low, high) = (colour(below), colour(below + 1));
        let mut bytes = [0; 4];
        for (byte, (low, high)) in bytes.iter_mut().zip(low.into_iter().zip(high)) {
            let value = f64::from(low) + (f64::from(high) - f64::from(low)) * mixed;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
            {
                *byte = value.round() as u8;
            }
        }
        u32::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::png::read_png;

    fn heat() -> Heat {
        Heat {
            tile_px: 16,
            columns: 3,
            rows: 2,
            declared: vec![0, 1, 10, 100, 1_000, 10_000],
            changed: vec![0, 0, 0, 0, 0, 100],
            missed: vec![0, 0, 7, 0, 0, 0],
        }
    }

    fn luminance(colour: u32) -> f64 {
        let [_, red, green, blue] = colour.to_be_bytes().map(|byte| (f64::from(byte) / 255.0).powf(2.2));
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn picture_has_the_shape_of_the_screen_and_blocks_of_tiles() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("heat-declared.png");
        write_heat_png(&path, &heat(), Which::Declared, Some((40, 30))).unwrap();
        let picture = read_png(&path).unwrap();
        assert_eq!((picture.width, picture.height), (40, 30));
        assert_eq!(picture.pixel(0, 0), Some(ZERO));
        assert_eq!(picture.pixel(15, 15), Some(ZERO));
        assert_eq!(picture.pixel(16, 0), Some(RAMP[0]));
        assert_eq!(picture.pixel(39, 29), Some(RAMP[8]));
        write_heat_png(&path, &heat(), Which::Missed, None).unwrap();
        let picture = read_png(&path).unwrap();
        assert_eq!((picture.width, picture.height), (48, 32));
        assert_eq!(picture.pixel(47, 0), Some(RAMP[8]), "the only value is the most");
    }

    #[test]
    fn lightness_rises_with_traffic_and_zero_is_far_below_it() {
        let scale = Scale::over([1, u64::MAX].into_iter());
        let mut last = luminance(scale.colour(0));
        assert!((luminance(scale.colour(1)) + 0.05) / (last + 0.05) > 1.9, "zero looks like a little");
        for shift in 0..64 {
            let here = luminance(scale.colour(1 << shift));
            assert!(here > last, "2^{shift}");
            last = here;
        }
    }

    #[test]
    fn declared_and_changed_share_their_scale() {
        let of = |which: Which| Scale::over(which.scale(&heat())).colour(100);
        assert_eq!(of(Which::Declared), of(Which::Changed));
        assert_ne!(of(Which::Changed), RAMP[8]);
    }

    #[test]
    fn map_of_the_wrong_length_or_of_no_tiles_is_refused() {
        let path = Path::new("never.png");
        let error = write_heat_png(path, &Heat { columns: 4, ..heat() }, Which::Changed, None).unwrap_err();
        assert_eq!(error.to_string(), "6 values for a heat map of 4 by 2 tiles");
        let error = write_heat_png(path, &Heat::default(), Which::Changed, None).unwrap_err();
        assert!(matches!(error, HeatError::Tiles { got: 0, .. }));
    }

    #[test]
    fn endless_screen_is_refused_before_any_memory_is_taken() {
        let path = Path::new("never.png");
        for screen in [(u32::MAX, u32::MAX), (EDGE_MAX, EDGE_MAX), (EDGE_MAX + 1, 1)] {
            let error = write_heat_png(path, &heat(), Which::Changed, Some(screen)).unwrap_err();
            assert!(matches!(error, HeatError::Screen { .. }), "{error}");
        }
        let vast = Heat { tile_px: u32::MAX, ..heat() };
        assert!(matches!(write_heat_png(path, &vast, Which::Missed, None), Err(HeatError::Screen { .. })));
    }
}
