//! Workloads that draw through a mapping of the frame buffer, which the driver notices by page faults.

use std::time::Duration;

use guest_agent::pattern::{Pattern, Picture};

use super::{Choices, Outcome, Pace, Size};
use crate::framebuffer::Framebuffer;

/// The side of the boxes that most of them draw, in pixels.
pub(super) const BOX_PX: u32 = 64;
const VIDEO_PX: (u32, u32) = (320, 240);
/// Different pictures of a film.
const VIDEO_FRAMES: u64 = 8;
const PAGE_BYTES: u64 = 4096;
/// Bytes that are drawn on each side of a page boundary.
const STRADDLE_BYTES: u64 = 8 * PIXEL_BYTES;
const PIXEL_BYTES: u64 = 4;

fn dimensions(screen: &Framebuffer) -> (u32, u32) {
    (screen.geometry().width, screen.geometry().height)
}

/// A box anywhere on the screen: origin and size.
pub(super) fn any_box(choices: &mut Choices, screen: &Framebuffer) -> ((u32, u32), (u32, u32)) {
    let (width, height) = dimensions(screen);
    let size = (BOX_PX.min(width), BOX_PX.min(height));
    let origin = (choices.below(width - size.0 + 1), choices.below(height - size.1 + 1));
    (origin, size)
}

/// The whole screen in one colour after the other.
pub(super) fn fill(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(20)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    for _ in 0..count {
        screen.fill((0, 0), dimensions(screen), choices.color())?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// A box that is reflected by the edges, on a black trace.
pub(super) fn moving_box(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(150)?;
    let mut choices = Choices::new(size.seed);
    let mut pace = Pace::every(Duration::from_secs(1) / 30);
    let (start, box_size) = any_box(&mut choices, screen);
    let color = choices.color();
    let (width, height) = dimensions(screen);
    let free = (width - box_size.0, height - box_size.1);
    let mut drawn: Option<(u32, u32)> = None;
    for step in 0..count {
        let origin = (reflected(start.0, step * 7, free.0), reflected(start.1, step * 5, free.1));
        if let Some(old) = drawn.replace(origin) {
            screen.fill(old, box_size, 0)?;
        }
        screen.fill(origin, box_size, color)?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// Where something is that goes `distance` from `start` on, between 0 and `limit`, and turns round at both.
fn reflected(start: u32, distance: u64, limit: u32) -> u32 {
    let limit = u64::from(limit);
    if limit == 0 {
        return 0;
    }
    let place = (u64::from(start) + distance) % (2 * limit);
    u32::try_from(place.min(2 * limit - place)).unwrap_or_default()
}

/// Two pixels in opposite corners, by turns of the two diagonals.
pub(super) fn corners(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(40)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    let (width, height) = dimensions(screen);
    let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
    for step in 0..count {
        let corners = if step % 2 == 0 { [(0, 0), (right, bottom)] } else { [(right, 0), (0, bottom)] };
        let color = choices.color();
        for corner in corners {
            screen.fill(corner, (1, 1), color)?;
        }
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// Rectangles anywhere, every fourth of one pixel.
pub(super) fn random(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(200)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(20));
    let (width, height) = dimensions(screen);
    for step in 0..count {
        let area = if step % 4 == 3 {
            (1, 1)
        } else {
            (choices.below(width / 4) + 1, choices.below(height / 4) + 1)
        };
        let area = (area.0.min(width), area.1.min(height));
        let origin = (choices.below(width - area.0 + 1), choices.below(height - area.1 + 1));
        screen.fill(origin, area, choices.color())?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// Pixels on both sides of a page boundary, wherever they are on the screen.
pub(super) fn straddle(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(50)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    let (width, height) = dimensions(screen);
    let stride = u64::from(screen.geometry().stride);
    let boundaries = u32::try_from((stride * u64::from(height)).saturating_sub(1) / PAGE_BYTES)
        .map_err(|error| error.to_string())?;
    if boundaries == 0 {
        return Err("the frame buffer has no page boundary".into());
    }
    for _ in 0..count {
        let boundary = u64::from(choices.below(boundaries) + 1) * PAGE_BYTES;
        let color = choices.color();
        let bytes = boundary - STRADDLE_BYTES..boundary + STRADDLE_BYTES;
        for byte in bytes.step_by(4) {
            let (Ok(x), Ok(y)) = (u32::try_from(byte % stride / PIXEL_BYTES), u32::try_from(byte / stride))
            else {
                continue;
            };
            if x < width && y < height {
                screen.fill((x, y), (1, 1), color)?;
            }
        }
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// The last row, then the last pixel.
pub(super) fn last_row(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(20)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    let (width, height) = dimensions(screen);
    let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
    for (origin, area) in [((0, bottom), (width, 1)), ((right, bottom), (1, 1))] {
        for _ in 0..count {
            screen.fill(origin, area, choices.color())?;
            pace.wait();
        }
    }
    Ok(Outcome::paced(count * 2, &pace))
}

/// A film of noise in the middle of the screen.
pub(super) fn video(
    size: Size,
    screen: &mut Framebuffer,
    frames: u64,
    hertz: u32,
) -> Result<Outcome, String> {
    let count = size.of(frames)?;
    let (width, height) = dimensions(screen);
    let area = (VIDEO_PX.0.min(width), VIDEO_PX.1.min(height));
    let origin = ((width - area.0) / 2, (height - area.1) / 2);
    // Made beforehand: what is measured is the driver, not the noise.
    let row_bytes = area.0 as usize * 4;
    let film: Vec<Vec<u8>> = (0..VIDEO_FRAMES)
        .map(|frame| {
            let picture =
                Picture::new(Pattern::Noise, area.0, area.1, size.seed.wrapping_mul(VIDEO_FRAMES) ^ frame);
            let mut bytes = vec![0; row_bytes * area.1 as usize];
            for (y, row) in (0..).zip(bytes.chunks_exact_mut(row_bytes.max(1))) {
                picture.write_row(y, row);
            }
            bytes
        })
        .collect();
    let mut pace = Pace::every(Duration::from_secs(1) / hertz);
    for frame in film.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX)) {
        screen.rows(origin, area, |y, row| {
            let start = y as usize * row_bytes;
            if let Some(pixels) = frame.get(start..start + row.len()) {
                row.copy_from_slice(pixels);
            }
        })?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// Boxes, each sent before the next is drawn.
pub(super) fn fsync(size: Size, screen: &mut Framebuffer) -> Result<Outcome, String> {
    let count = size.of(100)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(20));
    for _ in 0..count {
        let (origin, area) = any_box(&mut choices, screen);
        screen.fill(origin, area, choices.color())?;
        screen.flush()?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

#[cfg(test)]
mod tests {
    use super::reflected;

    #[test]
    fn what_reaches_an_edge_turns_round() {
        let places: Vec<u32> = (0..8).map(|distance| reflected(1, distance, 3)).collect();
        assert_eq!(places, [1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(reflected(0, 9, 0), 0);
    }
}
