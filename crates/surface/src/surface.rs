//! The host's copy of the guest's screen.

use std::fmt;

use synthvid::{Rect, Situation, Size};

use crate::pixels::{CHUNK_PX, PixelLoops, Scratch};
use crate::vram::{VramBytes, VramError};

/// What one [`Surface::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Pixels copied.
    pub copied_px: u64,
    /// Pixels among them whose colour changed.
    pub changed_px: u64,
}

impl std::ops::AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.copied_px += other.copied_px;
        self.changed_px += other.changed_px;
    }
}

/// Where VRAM and the surface differ: pixels that the guest drew and did not declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Pixels that differ.
    pub px: u64,
    /// A rectangle around them, exact in its rows and to at most 1024 columns; empty if there are none.
    pub bounds: Rect,
}

/// The host's copy of the guest's screen, filled through the rectangles that the guest declared, and by nothing
/// else.
///
/// *Shape*: rows of `u32` without padding, each `0x00RRGGBB`, whatever the depth in VRAM. Black at first, and again
/// whenever its size changes.
///
/// *Size*: the guest's, which has to fit into VRAM: at most twice the bytes of VRAM (16 bits a pixel become 32).
pub struct Surface {
    size: Size,
    pixels: Vec<u32>,
    scratch: Scratch,
    loops: PixelLoops,
}

impl Surface {
    /// A surface without pixels.
    #[must_use]
    pub fn new() -> Self {
        Self { size: Size::new(0, 0), pixels: Vec::new(), scratch: Scratch::new(), loops: PixelLoops::new() }
    }

    /// A black surface of `size`.
    #[must_use]
    pub fn with_size(size: Size) -> Self {
        let mut surface = Self::new();
        surface.resize(size);
        surface
    }

    /// Gives the surface another size; true if it was another. All pixels are black then, and keep their colours
    /// otherwise.
    ///
    /// The caller marks everything damaged when it returns true.
    pub fn resize(&mut self, size: Size) -> bool {
        if size == self.size {
            return false;
        }
        let size = if size.is_empty() { Size::new(0, 0) } else { size };
        self.pixels.clear();
        self.pixels.resize(usize::try_from(size.area()).unwrap_or(0), 0);
        self.size = if self.pixels.is_empty() { Size::new(0, 0) } else { size };
        true
    }

    /// Copies the pixels of `rect` from `vram`, where `situation` says they lie, and counts those that changed.
    ///
    /// The part of `rect` outside of the screen is left out.
    ///
    /// *Errors*: [`VramError::SizeMismatch`] if the surface was not resized to the situation;
    /// [`VramError::OutOfRange`] if the situation leaves `vram`. Rows above the one that failed are copied.
    pub fn apply(
        &mut self,
        vram: &dyn VramBytes,
        situation: &Situation,
        rect: Rect,
    ) -> Result<Applied, VramError> {
        let Self { size, pixels, scratch, loops } = self;
        let mut applied = Applied::default();
        for run in runs(*size, situation, rect)? {
            let Some(target) = pixels.get_mut(run.pixel..run.pixel + run.len) else { continue };
            let source = scratch.load(situation.format, run.len, |buf| vram.read(run.vram_offset, buf))?;
            applied.changed_px += u64::from(loops.copy_changed(target, source));
            applied.copied_px += run.len as u64;
        }
        Ok(applied)
    }

    /// Counts the pixels of `rect` whose colour in `vram` is not the one in the surface. Changes no pixel.
    ///
    /// *Errors*: as [`Self::apply`].
    pub fn compare(
        &mut self,
        vram: &dyn VramBytes,
        situation: &Situation,
        rect: Rect,
    ) -> Result<Difference, VramError> {
        let Self { size, pixels, scratch, loops } = self;
        let mut difference = Difference::default();
        for run in runs(*size, situation, rect)? {
            let Some(target) = pixels.get(run.pixel..run.pixel + run.len) else { continue };
            let source = scratch.load(situation.format, run.len, |buf| vram.read(run.vram_offset, buf))?;
            let px = loops.count_changed(target, source);
            if px != 0 {
                difference.px += u64::from(px);
                difference.bounds = difference.bounds.union(&run.bounds(*size));
            }
        }
        Ok(difference)
    }

    /// Copies `rect` from another surface of the same size, and counts what changed.
    ///
    /// For a sink that keeps its own copy, so that it need not hold a lock while it encodes. Copies nothing if the
    /// sizes differ.
    pub fn copy_from(&mut self, other: &Self, rect: Rect) -> Applied {
        let mut applied = Applied::default();
        if self.size != other.size {
            return applied;
        }
        let Some(rect) = rect.clip(&self.size.rect()) else { return applied };
        for (target, source) in rows_mut(&mut self.pixels, self.size, rect).zip(other.rows(rect)) {
            applied.changed_px += u64::from(self.loops.copy_changed(target, source));
            applied.copied_px += source.len() as u64;
        }
        applied
    }

    /// Width and height.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// All pixels, row by row, each `0x00RRGGBB`.
    #[must_use]
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The colour of a pixel, `0x00RRGGBB`; `None` outside of the surface.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        self.row(y)?.get(usize::try_from(x).ok()?).copied()
    }

    /// Row `y`, or `None` outside of the surface.
    #[must_use]
    pub fn row(&self, y: u32) -> Option<&[u32]> {
        if y >= self.size.height {
            return None;
        }
        let width = usize::try_from(self.size.width).ok()?;
        let start = usize::try_from(y).ok()?.checked_mul(width)?;
        self.pixels.get(start..start.checked_add(width)?)
    }

    /// The rows of the part of `rect` that lies on the surface, each cut to its columns.
    pub fn rows(&self, rect: Rect) -> impl Iterator<Item = &[u32]> {
        let rect = rect.clip(&self.size.rect()).unwrap_or_default();
        let span = RowSpan::of(rect, self.size);
        self.pixels
            .chunks_exact(span.stride)
            .skip(span.top)
            .take(span.count)
            .filter_map(move |row| row.get(span.columns()))
    }
}

impl Default for Surface {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Surface {
    fn clone(&self) -> Self {
        Self { size: self.size, pixels: self.pixels.clone(), scratch: Scratch::new(), loops: self.loops }
    }
}

impl fmt::Debug for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surface").field("size", &self.size).finish_non_exhaustive()
    }
}

fn rows_mut(pixels: &mut [u32], size: Size, rect: Rect) -> impl Iterator<Item = &mut [u32]> {
    let span = RowSpan::of(rect, size);
    pixels
        .chunks_exact_mut(span.stride)
        .skip(span.top)
        .take(span.count)
        .filter_map(move |row| row.get_mut(span.columns()))
}

/// A clipped rectangle in the units of a slice of rows.
#[derive(Clone, Copy)]
struct RowSpan {
    stride: usize,
    top: usize,
    count: usize,
    left: usize,
    right: usize,
}

impl RowSpan {
    fn of(rect: Rect, size: Size) -> Self {
        let index = |value: i32| usize::try_from(value).unwrap_or(0);
        Self {
            stride: usize::try_from(size.width).unwrap_or(0).max(1),
            top: index(rect.top),
            count: index(rect.bottom).saturating_sub(index(rect.top)),
            left: index(rect.left),
            right: index(rect.right),
        }
    }

    fn columns(&self) -> std::ops::Range<usize> {
        self.left..self.right
    }
}

/// Pixels that follow each other in VRAM and in the surface.
#[derive(Clone, Copy)]
struct Run {
    vram_offset: u64,
    /// Index of the first in the surface.
    pixel: usize,
    /// At most [`CHUNK_PX`].
    len: usize,
}

impl Run {
    fn bounds(&self, size: Size) -> Rect {
        let index = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let width = usize::try_from(size.width).unwrap_or(0).max(1);
        let (first, last) = (self.pixel, self.pixel + self.len.saturating_sub(1));
        let (top, bottom) = (first / width, last / width);
        if top == bottom {
            Rect::new(index(first % width), index(top), index(last % width + 1), index(bottom + 1))
        } else {
            Rect::new(0, index(top), index(width), index(bottom + 1))
        }
    }
}

/// Cuts `rect` into runs.
///
/// Whole rows without padding between them are one line of pixels, and go in full chunks however narrow they are.
fn runs(
    surface: Size,
    situation: &Situation,
    rect: Rect,
) -> Result<impl Iterator<Item = Run> + use<>, VramError> {
    if surface != situation.size() {
        return Err(VramError::SizeMismatch { surface, situation: situation.size() });
    }
    let span = RowSpan::of(rect.clip(&surface.rect()).unwrap_or_default(), surface);
    let px_bytes = u64::from(situation.format.bytes());
    let pitch_bytes = u64::from(situation.pitch_bytes);
    let vram_offset = u64::from(situation.vram_offset);

    let columns = span.right.saturating_sub(span.left);
    let is_line = columns == span.stride && pitch_bytes == columns as u64 * px_bytes;
    let (lines, line_px) = if is_line { (1, span.count * columns) } else { (span.count, columns) };
    let runs = (0..lines).flat_map(move |line| {
        let row = span.top + line;
        let pixel = row * span.stride + span.left;
        let start = vram_offset + row as u64 * pitch_bytes + span.left as u64 * px_bytes;
        (0..line_px).step_by(CHUNK_PX).map(move |done| Run {
            vram_offset: start + done as u64 * px_bytes,
            pixel: pixel + done,
            len: CHUNK_PX.min(line_px - done),
        })
    });
    Ok(runs)
}

#[cfg(test)]
mod tests;
