//! The oracle's copy of the screen, and what it knows of each pixel.

use std::sync::Arc;

use surface::pixels::{CHUNK_PX, PixelLoops, RGB_MASK, Scratch};
use surface::{VramBytes, VramError};
use synthvid::{Rect, Situation, Size};

use crate::states::RowStates;
use crate::tally::{Run, Tally};
use crate::write_log::{PAGE_BYTES, WrittenPages};

/// What one look found, beside what the tally was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Pixels of the screen on the pages.
    pub(crate) px: u64,
    /// Those that changed.
    pub(crate) changed_px: u64,
    /// Pages without a pixel of the screen.
    pub(crate) off_screen_pages: u64,
}

/// How a look, or a DIRT, judges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judgement {
    /// Now.
    pub(crate) now_us: u64,
    /// A change that is older is missed.
    pub(crate) grace_us: u32,
    /// The guest was told that dirt is wanted.
    pub(crate) wanted: bool,
    /// The whole screen is about to be repainted, so nothing is missed.
    pub(crate) suspended: bool,
}

/// A screen in VRAM, as it was seen last.
///
/// *Size*: eight bytes for each pixel. The device has checked that the screen lies in VRAM.
pub(crate) struct Screen {
    vram: Arc<dyn VramBytes>,
    situation: Situation,
    /// `0x00RRGGBB`, row by row.
    copy: Vec<u32>,
    rows: RowStates,
    scratch: Scratch,
    loops: PixelLoops,
}

impl Screen {
    /// The screen of `situation` as `vram` has it now; no pixel is changed yet. `None` if it is off.
    ///
    /// *Errors*: VRAM cannot be read.
    pub(crate) fn new(vram: Arc<dyn VramBytes>, situation: Situation) -> Result<Option<Self>, VramError> {
        let size = situation.size();
        situation
            .check_vram(vram.len())
            .map_err(|fault| VramError::Memory { offset: 0, reason: fault.to_string() })?;
        if size.is_empty() {
            return Ok(None);
        }
        let px = usize::try_from(size.area()).unwrap_or(usize::MAX);
        let mut this = Self {
            vram,
            situation,
            copy: vec![0; px],
            rows: RowStates::new(size),
            scratch: Scratch::new(),
            loops: PixelLoops::new(),
        };
        this.copy_all()?;
        Ok(Some(this))
    }

    pub(crate) fn size(&self) -> Size {
        self.situation.size()
    }

    /// Compares the pixels on `pages` with the copy, and brings that up to date.
    ///
    /// *Errors*: VRAM cannot be read; pixels before that place are up to date.
    pub(crate) fn look(
        &mut self,
        pages: &WrittenPages,
        judgement: &Judgement,
        tally: &mut Tally,
    ) -> Result<Look, VramError> {
        let mut look = Look::default();
        for run in pages.runs() {
            let (from, to) = (run.start.saturating_mul(PAGE_BYTES), run.end.saturating_mul(PAGE_BYTES));
            look.off_screen_pages += run.filter(|page| !self.has_pixel(*page)).count() as u64;
            let Some(rows) = self.rows_of(from, to) else { continue };
            for y in rows {
                let columns = self.columns_of(y, from, to);
                look.px += u64::from(columns.end.saturating_sub(columns.start));
                look.changed_px += self.compare(&Run { y, columns }, judgement, tally)?;
            }
        }
        Ok(look)
    }

    /// The pixels of `rect`, which lies on the screen, are in the host's picture. Gives how many of them had changed.
    pub(crate) fn cover(
        &mut self,
        rect: Rect,
        judgement: &Judgement,
        by_dirt: bool,
        tally: &mut Tally,
    ) -> u64 {
        let Some(rect) = rect.clip(&self.situation.bounds()) else { return 0 };
        let columns = rect.left.unsigned_abs()..rect.right.unsigned_abs();
        (rect.top.unsigned_abs()..rect.bottom.unsigned_abs())
            .map(|y| self.rows.cover(&Run { y, columns: columns.clone() }, judgement, by_dirt, tally))
            .sum()
    }

    /// Finds the changes whose grace time is over.
    pub(crate) fn expire(&mut self, judgement: &Judgement, tally: &mut Tally) {
        if !judgement.suspended {
            self.rows.expire(judgement, tally);
        }
    }

    /// Nobody has to declare any more what changed so far.
    pub(crate) fn excuse(&mut self, now_us: u64, tally: &mut Tally) {
        self.rows.excuse(now_us, tally);
    }

    /// Counts the changes whose grace time is not over.
    pub(crate) fn count_undecided(&self, now_us: u64, tally: &mut Tally) {
        self.rows.each_pending(now_us, |px, seen_us| tally.undecided(px, seen_us));
    }

    fn copy_all(&mut self) -> Result<(), VramError> {
        let Size { width, height } = self.size();
        for y in 0..height {
            for run in chunks(&Run { y, columns: 0..width }) {
                let Self { vram, situation, copy, scratch, loops, .. } = self;
                let Some((offset, at)) = place(situation, &run) else { continue };
                let Some(target) = copy.get_mut(at) else { continue };
                let source = scratch.load(situation.format, target.len(), |buf| vram.read(offset, buf))?;
                loops.copy_changed(target, source);
            }
        }
        Ok(())
    }

    /// Compares one row, or a part of it, and gives the number of changed pixels.
    fn compare(&mut self, run: &Run, judgement: &Judgement, tally: &mut Tally) -> Result<u64, VramError> {
        let mut changed_px = 0;
        for run in chunks(run) {
            let Self { vram, situation, copy, rows, scratch, loops } = self;
            let Some((offset, at)) = place(situation, &run) else { continue };
            let Some(target) = copy.get_mut(at) else { continue };
            let source = scratch.load(situation.format, target.len(), |buf| vram.read(offset, buf))?;
            if loops.count_changed(target, source) == 0 {
                continue;
            }
            for columns in changed_columns(target, source, run.columns.start) {
                let run = Run { y: run.y, columns };
                changed_px += run.px();
                tally.changed(&run, judgement.now_us);
                rows.change(&run, judgement, tally);
            }
            loops.copy_changed(target, source);
        }
        Ok(changed_px)
    }

    fn row_start(&self, y: u32) -> u64 {
        u64::from(self.situation.vram_offset) + u64::from(y) * u64::from(self.situation.pitch_bytes)
    }

    /// The rows that may have bytes in `from..to`.
    fn rows_of(&self, from: u64, to: u64) -> Option<std::ops::Range<u32>> {
        let base = u64::from(self.situation.vram_offset);
        let row = |byte: u64| byte.saturating_sub(base) / u64::from(self.situation.pitch_bytes.max(1));
        let height = u64::from(self.size().height);
        let last = to.checked_sub(1).filter(|last| *last >= base)?;
        let (first, end) = (row(from).min(height), (row(last) + 1).min(height));
        Some(u32::try_from(first).ok()?..u32::try_from(end).ok()?)
    }

    /// The columns of row `y` with a byte in `from..to`; an empty range if there is none.
    fn columns_of(&self, y: u32, from: u64, to: u64) -> std::ops::Range<u32> {
        let (start, width) = (self.row_start(y), self.size().width);
        let bytes = u64::from(self.situation.format.bytes());
        let column = |column: u64| u32::try_from(column).unwrap_or(width).min(width);
        let first = column(from.saturating_sub(start) / bytes);
        first..column(to.saturating_sub(start).div_ceil(bytes)).max(first)
    }

    fn has_pixel(&self, page: u64) -> bool {
        let (from, to) = (page.saturating_mul(PAGE_BYTES), page.saturating_add(1).saturating_mul(PAGE_BYTES));
        self.rows_of(from, to).is_some_and(|rows| {
            // The first may lie in the padding; the second begins on the page then, or there is none.
            rows.take(2).any(|y| !self.columns_of(y, from, to).is_empty())
        })
    }
}

/// Where the pixels of `run` are: byte of VRAM, and range of the copy.
fn place(situation: &Situation, run: &Run) -> Option<(u64, std::ops::Range<usize>)> {
    let offset = situation.vram_offset_of(run.columns.start, run.y)?;
    let index = |x: u32| usize::try_from(u64::from(run.y) * u64::from(situation.width) + u64::from(x)).ok();
    Some((offset, index(run.columns.start)?..index(run.columns.end)?))
}

/// Cuts a run into pieces that fit a chunk.
fn chunks(run: &Run) -> impl Iterator<Item = Run> + use<> {
    let Run { y, columns } = run.clone();
    columns.clone().step_by(CHUNK_PX).map(move |start| {
        let end = start.saturating_add(u32::try_from(CHUNK_PX).unwrap_or(u32::MAX)).min(columns.end);
        Run { y, columns: start..end }
    })
}

/// The runs of pixels that differ, in columns counted from `first`.
fn changed_columns<'a>(
    old: &'a [u32],
    new: &'a [u32],
    first: u32,
) -> impl Iterator<Item = std::ops::Range<u32>> + 'a {
    let mut differ = old.iter().zip(new).map(|(old, new)| (old ^ new) & RGB_MASK != 0).zip(first..);
    std::iter::from_fn(move || {
        let (_, start) = differ.by_ref().find(|(differs, _)| *differs)?;
        let end = differ.by_ref().find(|(differs, _)| !differs).map(|(_, end)| end);
        let last = first.saturating_add(u32::try_from(old.len().min(new.len())).unwrap_or(u32::MAX));
        Some(start..end.unwrap_or(last))
    })
}
