//! What the oracle knows of each pixel: unchanged, changed since when, or changed and judged already.

use std::ops::Range;

use synthvid::Size;

use crate::screen::Judgement;
use crate::tally::{Run, Tally};

/// In the host's picture as it is in VRAM.
const COVERED: u32 = 0;
/// Changed, not covered, and counted as missed.
const MISSED: u32 = 1;
/// Changed when nobody had to declare it, and not covered.
const EXCUSED: u32 = 2;
/// Changed and not covered since this time, or a later one: the low half of the microseconds when it was seen.
const FIRST_STAMP: u32 = 3;

/// The state of a pixel that changed at `seen_us`. For three microseconds in 71 minutes it is up to three too late.
fn stamp(seen_us: u64) -> u32 {
    low_half(seen_us).max(FIRST_STAMP)
}

#[expect(clippy::cast_possible_truncation, reason = "ages are differences, and these are right modulo 2^32")]
fn low_half(us: u64) -> u32 {
    us as u32
}

/// The pixel changed and its grace time is not known to be over.
fn is_pending(state: u32) -> bool {
    state >= FIRST_STAMP
}

/// Microseconds since `stamp`.
fn age_us(stamp: u32, now_us: u64) -> u32 {
    let age = low_half(now_us).wrapping_sub(stamp);
    // The one stamp that lies in the future is one that was moved behind the special states.
    if age > u32::MAX - FIRST_STAMP { 0 } else { age }
}

/// What is known of one row without looking at its pixels.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Pixels that are not [`COVERED`].
    changed: u32,
    /// No pending pixel of the row is older than this stamp; `None` if there is none.
    oldest: Option<u32>,
}

/// The states of all pixels, row by row.
#[derive(Debug)]
pub(crate) struct RowStates {
    width: u32,
    states: Vec<u32>,
    rows: Vec<Row>,
}

impl RowStates {
    /// All pixels are as the host's picture has them.
    pub(crate) fn new(size: Size) -> Self {
        Self {
            width: size.width,
            states: vec![COVERED; usize::try_from(size.area()).unwrap_or(0)],
            rows: vec![Row::default(); usize::try_from(size.height).unwrap_or(0)],
        }
    }

    /// Pixels changed.
    pub(crate) fn change(&mut self, run: &Run, judgement: &Judgement, tally: &mut Tally) {
        let (wanted, stamp) = (judgement.wanted, stamp(judgement.now_us));
        let Some((row, states)) = self.row_mut(run) else { return };
        for state in states {
            row.changed += u32::from(*state == COVERED);
            *state = match *state {
                pending if is_pending(pending) => pending,
                _ if wanted => stamp,
                MISSED => MISSED,
                _ => EXCUSED,
            };
        }
        if wanted {
            row.oldest.get_or_insert(stamp);
        } else {
            tally.excused(run.px(), judgement.now_us);
        }
    }

    /// Pixels are in the host's picture. Gives how many of them had changed.
    pub(crate) fn cover(
        &mut self,
        run: &Run,
        judgement: &Judgement,
        by_dirt: bool,
        tally: &mut Tally,
    ) -> u64 {
        let Some((row, states)) = self.row_mut(run) else { return 0 };
        if row.changed == 0 {
            return 0;
        }
        let mut changed = 0;
        for (state, columns) in equal_runs(states, run.columns.start) {
            if state == COVERED {
                continue;
            }
            let run = Run { y: run.y, columns };
            changed += run.px();
            if state == MISSED {
                tally.sums.late_px += run.px();
            } else if is_pending(state) {
                let age_us = age_us(state, judgement.now_us);
                if judgement.is_missed(state) && tally.missed(&run, judgement.seen_us(state)) {
                    tally.sums.late_px += run.px();
                }
                if by_dirt {
                    tally.covered(run.px(), age_us);
                }
            }
        }
        states.fill(COVERED);
        row.changed = row.changed.saturating_sub(u32::try_from(changed).unwrap_or(u32::MAX));
        if row.changed == 0 {
            row.oldest = None;
        }
        changed
    }

    /// Finds the pixels whose grace time is over.
    pub(crate) fn expire(&mut self, judgement: &Judgement, tally: &mut Tally) {
        for (y, whole) in self.pending_rows() {
            if !self.rows.get(y).and_then(|row| row.oldest).is_some_and(|oldest| judgement.is_missed(oldest))
            {
                continue;
            }
            let run = Run { y: u32::try_from(y).unwrap_or(u32::MAX), columns: 0..self.width };
            let Some(states) = self.states.get_mut(whole) else { continue };
            let mut oldest: Option<u32> = None;
            for (state, columns) in equal_runs(states, 0).filter(|(state, _)| is_pending(*state)) {
                if judgement.is_missed(state) {
                    tally.missed(&Run { y: run.y, columns }, judgement.seen_us(state));
                } else {
                    let age = |stamp| age_us(stamp, judgement.now_us);
                    oldest = Some(
                        oldest.map_or(state, |oldest| if age(state) > age(oldest) { state } else { oldest }),
                    );
                }
            }
            for state in states.iter_mut().filter(|state| is_pending(**state) && judgement.is_missed(**state))
            {
                *state = MISSED;
            }
            if let Some(row) = self.rows.get_mut(y) {
                row.oldest = oldest;
            }
        }
    }

    /// Nobody has to declare any more what changed so far.
    pub(crate) fn excuse(&mut self, now_us: u64, tally: &mut Tally) {
        self.each_pending(now_us, |px, seen_us| tally.excused(px, seen_us));
        for (y, whole) in self.pending_rows() {
            let Some(states) = self.states.get_mut(whole) else { continue };
            states.iter_mut().filter(|state| is_pending(**state)).for_each(|state| *state = EXCUSED);
            if let Some(row) = self.rows.get_mut(y) {
                row.oldest = None;
            }
        }
    }

    /// Tells of all pending pixels how many there are and when they were seen to change.
    pub(crate) fn each_pending(&self, now_us: u64, mut tell: impl FnMut(u64, u64)) {
        for (_, whole) in self.pending_rows() {
            let states = self.states.get(whole).unwrap_or_default();
            for (state, columns) in equal_runs(states, 0).filter(|(state, _)| is_pending(*state)) {
                let seen_us = now_us.saturating_sub(u64::from(age_us(state, now_us)));
                tell(u64::from(columns.end - columns.start), seen_us);
            }
        }
    }

    /// Numbers of the rows that may have pending pixels, and the places of their states.
    fn pending_rows(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let width = usize::try_from(self.width).unwrap_or(0);
        let pending = self.rows.iter().enumerate().filter(|(_, row)| row.oldest.is_some()).map(|(y, _)| y);
        pending.collect::<Vec<_>>().into_iter().map(move |y| (y, y * width..(y + 1) * width))
    }

    fn row_mut(&mut self, run: &Run) -> Option<(&mut Row, &mut [u32])> {
        let first = u64::from(run.y) * u64::from(self.width);
        let at = |x: u32| usize::try_from(first + u64::from(x)).ok();
        let states = self.states.get_mut(at(run.columns.start)?..at(run.columns.end)?)?;
        Some((self.rows.get_mut(usize::try_from(run.y).ok()?)?, states))
    }
}

impl Judgement {
    /// A change with this stamp is missed by now.
    fn is_missed(&self, stamp: u32) -> bool {
        !self.suspended && age_us(stamp, self.now_us) > self.grace_us
    }

    fn seen_us(&self, stamp: u32) -> u64 {
        self.now_us.saturating_sub(u64::from(age_us(stamp, self.now_us)))
    }
}

/// Runs of equal states, with their columns counted from `first`.
fn equal_runs(states: &[u32], first: u32) -> impl Iterator<Item = (u32, Range<u32>)> + '_ {
    let mut start = first;
    states.chunk_by(|one, next| one == next).filter_map(move |run| {
        let from = start;
        start = start.saturating_add(u32::try_from(run.len()).unwrap_or(u32::MAX));
        run.first().map(|state| (*state, from..start))
    })
}
