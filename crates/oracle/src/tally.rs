//! Counts of the window at hand.

use std::ops::Range;

use synthvid::{Rect, Size};

use crate::delays::DelayCounts;
use crate::settings::{MIN_TILE_PX, OracleSettings};
use crate::window::{Heat, MissedArea, Slice, Window};

/// Slices of a timeline; a longer window makes each cover more time.
const MAX_SLICES: usize = 4096;
/// Areas, from the newest back, that a run of missed pixels may be part of.
const OPEN_AREAS: usize = 8;

/// Pixels of one row.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The row.
    pub(crate) y: u32,
    /// The columns.
    pub(crate) columns: Range<u32>,
}

impl Run {
    pub(crate) fn px(&self) -> u64 {
        u64::from(self.columns.end.saturating_sub(self.columns.start))
    }

    fn rect(&self) -> Rect {
        let edge = |px: u32| i32::try_from(px).unwrap_or(i32::MAX);
        Rect::new(
            edge(self.columns.start),
            edge(self.y),
            edge(self.columns.end),
            edge(self.y).saturating_add(1),
        )
    }
}

/// Which map of a [`Heat`].
#[derive(Clone, Copy)]
enum Map {
    Declared,
    Changed,
    Missed,
}

/// What is counted between [`crate::Oracle::begin`] and [`crate::Oracle::finish`].
#[derive(Debug)]
pub(crate) struct Tally {
    /// Everything that needs no more than a sum.
    pub(crate) sums: Window,
    delays: DelayCounts,
    /// Changes seen before this microsecond are no part of the window.
    first_us: u64,
    missed_areas: usize,
    tile_px: u32,
}

impl Tally {
    /// An empty window that begins at `now_ns`; changes count that are seen from `first_us` on.
    pub(crate) fn new(settings: &OracleSettings, now_ns: u64, first_us: u64, screen: Option<Size>) -> Self {
        let mut sums = Window { begun_ns: now_ns, ..Window::default() };
        sums.timeline.slice_ns = settings.timeline_slice_ns.max(1_000);
        let mut this = Self {
            sums,
            delays: DelayCounts::default(),
            first_us,
            missed_areas: settings.missed_areas,
            tile_px: settings.tile_px.max(MIN_TILE_PX),
        };
        this.set_screen(screen);
        this
    }

    /// The screen has another size. The maps start over with each screen; they stay when the last one goes.
    pub(crate) fn set_screen(&mut self, screen: Option<Size>) {
        let Some(size) = screen else { return };
        let (columns, rows) = (size.width.div_ceil(self.tile_px), size.height.div_ceil(self.tile_px));
        let fits = |heat: &Heat| heat.columns == columns && heat.rows == rows;
        if self.sums.heat.as_ref().is_some_and(fits) {
            return;
        }
        let tiles = usize::try_from(u64::from(columns) * u64::from(rows)).unwrap_or(0);
        let map = vec![0; tiles];
        self.sums.heat = Some(Heat {
            tile_px: self.tile_px,
            columns,
            rows,
            declared: map.clone(),
            changed: map.clone(),
            missed: map,
        });
    }

    /// Pixels changed, seen at `seen_us`.
    pub(crate) fn changed(&mut self, run: &Run, seen_us: u64) {
        self.sums.changed_px += run.px();
        self.slice(seen_us).changed_px += run.px();
        self.heat(Map::Changed, run.rect());
    }

    /// Pixels that changed at `seen_us` were missed. False if that was before the window.
    pub(crate) fn missed(&mut self, run: &Run, seen_us: u64) -> bool {
        if seen_us < self.first_us {
            return false;
        }
        self.sums.missed_px += run.px();
        self.slice(seen_us).missed_px += run.px();
        self.heat(Map::Missed, run.rect());
        self.missed_area(run, seen_us.saturating_mul(1_000));
        true
    }

    /// Pixels that changed at `seen_us` are neither covered nor missed as the window ends.
    pub(crate) fn undecided(&mut self, px: u64, seen_us: u64) {
        if seen_us >= self.first_us {
            self.sums.undecided_px += px;
        }
    }

    /// Pixels that changed at `seen_us` need not be declared any more.
    pub(crate) fn excused(&mut self, px: u64, seen_us: u64) {
        if seen_us >= self.first_us {
            self.sums.excused_px += px;
        }
    }

    /// Changed pixels were declared after `delay_us`.
    pub(crate) fn covered(&mut self, px: u64, delay_us: u32) {
        self.delays.record(delay_us, px);
    }

    /// A DIRT message came.
    pub(crate) fn message(&mut self, at_us: u64, declared_px: u64) {
        self.sums.dirt_messages += 1;
        self.sums.declared_px += declared_px;
        let slice = self.slice(at_us);
        slice.dirt_messages += 1;
        slice.declared_px += declared_px;
    }

    /// A part of a DIRT message, which no other part of it overlaps.
    pub(crate) fn declared(&mut self, rect: Rect, over_declared_px: u64) {
        self.sums.declared_union_px += rect.area();
        self.sums.over_declared_px += over_declared_px;
        self.heat(Map::Declared, rect);
    }

    /// The window, ended.
    pub(crate) fn finish(mut self, now_ns: u64) -> Window {
        self.sums.finished_ns = now_ns;
        self.sums.write_to_dirt = self.delays.summary();
        self.sums
    }

    /// The slice of a moment. One before the window counts as its beginning.
    fn slice(&mut self, at_us: u64) -> &mut Slice {
        let since_ns = at_us.saturating_mul(1_000).saturating_sub(self.sums.begun_ns);
        let timeline = &mut self.sums.timeline;
        while since_ns / timeline.slice_ns >= MAX_SLICES as u64 {
            timeline.slice_ns = timeline.slice_ns.saturating_mul(2);
            timeline.slices = timeline.slices.chunks(2).map(|pair| pair.iter().copied().sum()).collect();
        }
        let index = usize::try_from(since_ns / timeline.slice_ns).unwrap_or(MAX_SLICES - 1);
        if timeline.slices.len() <= index {
            timeline.slices.resize(index + 1, Slice::default());
        }
        // Resized to hold it just now.
        &mut timeline.slices[index]
    }

    /// Adds the pixels of `rect` to the tiles that they lie in.
    fn heat(&mut self, map: Map, rect: Rect) {
        let tile_px = self.tile_px;
        let Some(heat) = &mut self.sums.heat else { return };
        let counts = match map {
            Map::Declared => &mut heat.declared,
            Map::Changed => &mut heat.changed,
            Map::Missed => &mut heat.missed,
        };
        for (row, rows_px) in tiles(rect.top.unsigned_abs()..rect.bottom.unsigned_abs(), tile_px) {
            let first = u64::from(row) * u64::from(heat.columns);
            for (column, columns_px) in tiles(rect.left.unsigned_abs()..rect.right.unsigned_abs(), tile_px) {
                let tile = usize::try_from(first + u64::from(column)).unwrap_or(usize::MAX);
                if let Some(count) = counts.get_mut(tile) {
                    *count += rows_px * columns_px;
                }
            }
        }
    }

    fn missed_area(&mut self, run: &Run, seen_ns: u64) {
        let bounds = run.rect();
        let near = |area: &&mut MissedArea| {
            let grown = Rect::new(
                area.bounds.left - 1,
                area.bounds.top - 1,
                area.bounds.right.saturating_add(1),
                area.bounds.bottom.saturating_add(1),
            );
            area.seen_ns == seen_ns && grown.clip(&bounds).is_some()
        };
        let areas = &mut self.sums.missed;
        if let Some(area) = areas.iter_mut().rev().take(OPEN_AREAS).find(near) {
            area.bounds = area.bounds.union(&bounds);
            area.px += run.px();
        } else if areas.len() < self.missed_areas {
            areas.push(MissedArea { seen_ns, bounds, px: run.px() });
        } else {
            self.sums.missed_elsewhere_px += run.px();
        }
    }
}

/// The tiles that a range of pixels lies in, each with the number of pixels in it.
fn tiles(px: Range<u32>, tile_px: u32) -> impl Iterator<Item = (u32, u64)> {
    let mut at = px.start;
    std::iter::from_fn(move || {
        if at >= px.end {
            return None;
        }
        let (tile, start) = (at / tile_px, at);
        at = (tile + 1).saturating_mul(tile_px).min(px.end);
        Some((tile, u64::from(at - start)))
    })
}

impl std::iter::Sum for Slice {
    fn sum<I: Iterator<Item = Self>>(slices: I) -> Self {
        slices.fold(Self::default(), |sum, slice| Self {
            dirt_messages: sum.dirt_messages + slice.dirt_messages,
            declared_px: sum.declared_px + slice.declared_px,
            changed_px: sum.changed_px + slice.changed_px,
            missed_px: sum.missed_px + slice.missed_px,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let settings = OracleSettings { tile_px: 8, missed_areas: 2, ..OracleSettings::default() };
        Tally::new(&settings, 1_000_000, 0, Some(Size::new(20, 10)))
    }

    #[test]
    fn run_is_spread_over_its_tiles() {
        let mut tally = tally();
        tally.changed(&Run { y: 9, columns: 6..20 }, 1_000);
        let heat = tally.finish(0).heat.unwrap();
        assert_eq!((heat.columns, heat.rows), (3, 2));
        assert_eq!(heat.changed, [0, 0, 0, 2, 8, 4]);
    }

    #[test]
    fn timeline_of_a_day_stays_bounded_and_complete() {
        let mut tally = tally();
        for second in 0..86_400u64 {
            tally.message(1_000 + second * 1_000_000, 3);
        }
        let timeline = tally.finish(0).timeline;
        assert!(timeline.slices.len() <= MAX_SLICES, "{}", timeline.slices.len());
        assert_eq!(timeline.slices.iter().map(|slice| slice.dirt_messages).sum::<u64>(), 86_400);
        assert_eq!(timeline.slices.first().map(|slice| slice.declared_px % 3), Some(0));
        assert!(timeline.slice_ns > 10_000_000_000 && timeline.slice_ns < 60_000_000_000);
    }

    #[test]
    fn rows_of_one_change_become_one_area_and_strangers_do_not() {
        let mut tally = tally();
        for y in 2..5 {
            tally.missed(&Run { y, columns: 3..5 }, 7);
        }
        tally.missed(&Run { y: 3, columns: 9..10 }, 7);
        tally.missed(&Run { y: 5, columns: 3..5 }, 8);
        let window = tally.finish(0);
        let area = |bounds, px| MissedArea { seen_ns: 7_000, bounds, px };
        assert_eq!(window.missed, [area(Rect::new(3, 2, 5, 5), 6), area(Rect::new(9, 3, 10, 4), 1)]);
        assert_eq!((window.missed_px, window.missed_elsewhere_px), (9, 2));
    }

    #[test]
    fn change_from_before_the_window_is_not_missed_in_it() {
        let mut tally = Tally::new(&OracleSettings::default(), 5_000, 6, None);
        assert!(!tally.missed(&Run { y: 0, columns: 0..1 }, 5));
        assert!(tally.missed(&Run { y: 0, columns: 0..1 }, 6));
        assert_eq!(tally.finish(0).missed_px, 1);
    }
}
