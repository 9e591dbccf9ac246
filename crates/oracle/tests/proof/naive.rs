//! The truth, pixel by pixel, from a model that shares nothing with the oracle: it is told of each write, and asks each
//! pixel of the screen whenever there is something to ask.

use std::collections::{BTreeMap, HashMap};

use oracle::Window;
use synthvid::{Rect, Situation};

use crate::rig::{PAGE, PAGES};

type Pixel = (u32, u32);

/// Sums of one window, by the names of [`Window`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) written_pages: u64,
    pub(crate) off_screen_pages: u64,
    pub(crate) changed_px: u64,
    pub(crate) rewritten_px: u64,
    pub(crate) dirt_messages: u64,
    pub(crate) declared_px: u64,
    pub(crate) declared_union_px: u64,
    pub(crate) over_declared_px: u64,
    pub(crate) missed_px: u64,
    pub(crate) late_px: u64,
    pub(crate) excused_px: u64,
    pub(crate) undecided_px: u64,
    pub(crate) covered_px: u64,
}

impl From<&Window> for Truth {
    fn from(window: &Window) -> Self {
        Self {
            written_pages: window.written_pages,
            off_screen_pages: window.off_screen_pages,
            changed_px: window.changed_px,
            rewritten_px: window.rewritten_px,
            dirt_messages: window.dirt_messages,
            declared_px: window.declared_px,
            declared_union_px: window.declared_union_px,
            over_declared_px: window.over_declared_px,
            missed_px: window.missed_px,
            late_px: window.late_px,
            excused_px: window.excused_px,
            undecided_px: window.undecided_px,
            covered_px: window.write_to_dirt.count,
        }
    }
}

/// Whether the host's picture has a pixel, and what became of it if not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Covered,
    Pending { since_ns: u64 },
    Missed,
    Excused,
}

/// A pixel's bytes in VRAM: first, and one after the last.
fn bytes_of(situation: &Situation, (x, y): Pixel) -> (u64, u64) {
    let start = u64::from(situation.vram_offset)
        + u64::from(y) * u64::from(situation.pitch_bytes)
        + u64::from(x) * u64::from(situation.format.bytes());
    (start, start + u64::from(situation.format.bytes()))
}

/// Everything that there is to know.
pub(crate) struct Naive {
    grace_ns: u64,
    /// VRAM as the guest has it, and as it was at the last look.
    memory: Vec<u8>,
    seen: Vec<u8>,
    /// Bytes written since the last look: first and one after the last.
    writes: Vec<(u64, u64)>,
    situation: Option<Situation>,
    wanted: bool,
    awaited: bool,
    /// Of each pixel, row by row.
    fates: Vec<Fate>,
    truth: Truth,
    /// Pixels missed in this window, and how often.
    pub(crate) missed: BTreeMap<Pixel, u64>,
    /// Pixels on a set of pages, computed once for each.
    on_pages: HashMap<u64, u64>,
    begun_ns: u64,
}

impl Naive {
    pub(crate) fn new(grace_ns: u64) -> Self {
        let zeros = vec![0; usize::try_from(PAGES * PAGE).unwrap()];
        Self {
            grace_ns,
            memory: zeros.clone(),
            seen: zeros,
            writes: Vec::new(),
            situation: None,
            wanted: false,
            awaited: false,
            fates: Vec::new(),
            truth: Truth::default(),
            missed: BTreeMap::new(),
            on_pages: HashMap::new(),
            begun_ns: 0,
        }
    }

    /// The guest writes.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.writes.push((offset, offset + bytes.len() as u64));
    }

    /// The host looks.
    pub(crate) fn look(&mut self, now_ns: u64) {
        let Some(situation) = self.situation.filter(|situation| situation.active) else { return };
        let mut pages = 0u64;
        let mut touched: Vec<Pixel> = Vec::new();
        for (from, to) in std::mem::take(&mut self.writes) {
            (from / PAGE..=(to - 1) / PAGE).for_each(|page| pages |= 1 << page);
            touched.extend(pixels_in(&situation, from, to));
        }
        touched.sort_unstable();
        touched.dedup();
        let mut changed = 0;
        for pixel in touched {
            let (from, to) = bytes_of(&situation, pixel);
            let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
            // The fourth byte of a pixel of 32 bits has no colour.
            let colours = range.start..range.start + range.len().min(3);
            if self.memory[colours.clone()] != self.seen[colours] {
                changed += 1;
                self.changed(pixel, now_ns);
            }
            self.seen[range.clone()].copy_from_slice(&self.memory[range]);
        }
        self.truth.written_pages += u64::from(pages.count_ones());
        self.truth.changed_px += changed;
        self.truth.rewritten_px += self.px_on(&situation, pages) - changed;
        let off_screen = (0..PAGES).filter(|page| pages & 1 << page != 0);
        let off_screen: Vec<u64> = off_screen.collect();
        self.truth.off_screen_pages +=
            off_screen.into_iter().filter(|page| self.px_on(&situation, 1 << page) == 0).count() as u64;
    }

    fn changed(&mut self, pixel: Pixel, now_ns: u64) {
        let wanted = self.wanted;
        self.truth.excused_px += u64::from(!wanted);
        let fate = self.fate(pixel);
        match *fate {
            Fate::Pending { .. } => {}
            _ if wanted => *fate = Fate::Pending { since_ns: now_ns },
            Fate::Missed => {}
            _ => *fate = Fate::Excused,
        }
    }

    fn fate(&mut self, (x, y): Pixel) -> &mut Fate {
        let width = self.situation.expect("a screen").width;
        &mut self.fates[usize::try_from(y * width + x).unwrap()]
    }

    /// The pixels that the host's picture lacks.
    fn uncovered(&self) -> impl Iterator<Item = (Pixel, Fate)> + '_ {
        let width = self.situation.map_or(1, |situation| situation.width);
        let pixels = (0..).map(move |index: u32| (index % width, index / width));
        pixels
            .zip(&self.fates)
            .filter(|(_, fate)| **fate != Fate::Covered)
            .map(|(pixel, fate)| (pixel, *fate))
    }

    /// The host judges.
    pub(crate) fn judge(&mut self, now_ns: u64) {
        if self.awaited {
            return;
        }
        let overdue =
            |fate: &Fate| matches!(fate, Fate::Pending { since_ns } if now_ns - since_ns > self.grace_ns);
        let missed: Vec<(Pixel, Fate)> = self.uncovered().filter(|(_, fate)| overdue(fate)).collect();
        for (pixel, fate) in missed {
            *self.fate(pixel) = Fate::Missed;
            self.miss(pixel, fate);
        }
    }

    /// True if it belongs to this window.
    fn miss(&mut self, pixel: Pixel, fate: Fate) -> bool {
        let in_window = matches!(fate, Fate::Pending { since_ns } if since_ns > self.begun_ns);
        if in_window {
            self.truth.missed_px += 1;
            *self.missed.entry(pixel).or_default() += 1;
        }
        in_window
    }

    /// A DIRT of rectangles on the screen is carried out.
    pub(crate) fn declare(&mut self, rects: &[Rect], now_ns: u64) {
        self.look(now_ns);
        self.truth.dirt_messages += 1;
        let mut named: Vec<Pixel> = Vec::new();
        for rect in rects {
            self.truth.declared_px += rect.area();
            let columns = rect.left.unsigned_abs()..rect.right.unsigned_abs();
            for x in columns {
                let rows = rect.top.unsigned_abs()..rect.bottom.unsigned_abs();
                named.extend(rows.map(|y| (x, y)));
            }
        }
        named.sort_unstable();
        named.dedup();
        self.truth.declared_union_px += named.len() as u64;
        for pixel in named {
            if !self.cover(pixel, now_ns, true) {
                self.truth.over_declared_px += 1;
            }
        }
    }

    /// False if the pixel was covered already.
    fn cover(&mut self, pixel: Pixel, now_ns: u64, by_dirt: bool) -> bool {
        let fate = std::mem::replace(self.fate(pixel), Fate::Covered);
        match fate {
            Fate::Covered => return false,
            Fate::Pending { since_ns } => {
                if now_ns - since_ns > self.grace_ns && !self.awaited && self.miss(pixel, fate) {
                    self.truth.late_px += 1;
                }
                self.truth.covered_px += u64::from(by_dirt);
            }
            Fate::Missed => self.truth.late_px += 1,
            Fate::Excused => {}
        }
        true
    }

    pub(crate) fn repaint(&mut self, comes: bool, now_ns: u64) {
        self.look(now_ns);
        if comes {
            let pixels: Vec<Pixel> = self.uncovered().map(|(pixel, _)| pixel).collect();
            pixels.into_iter().for_each(|pixel| assert!(self.cover(pixel, now_ns, false)));
        }
        self.judge(now_ns);
        self.awaited = false;
    }

    pub(crate) fn await_repaint(&mut self, now_ns: u64) {
        self.judge(now_ns);
        self.awaited = true;
    }

    pub(crate) fn want_dirt(&mut self, wanted: bool, now_ns: u64) {
        if self.wanted != wanted {
            self.look(now_ns);
        }
        self.judge(now_ns);
        if self.wanted && !wanted {
            self.excuse();
        }
        self.wanted = wanted;
    }

    fn excuse(&mut self) {
        for fate in &mut self.fates {
            if let Fate::Pending { since_ns } = *fate {
                self.truth.excused_px += u64::from(since_ns > self.begun_ns);
                *fate = Fate::Excused;
            }
        }
    }

    /// Another screen, or none.
    pub(crate) fn show(&mut self, situation: Option<Situation>, now_ns: u64) {
        self.look(now_ns);
        if self.situation == situation {
            return;
        }
        self.judge(now_ns);
        self.excuse();
        self.situation = situation;
        let px = situation.map_or(0, |situation| situation.width * situation.height);
        self.fates = vec![Fate::Covered; usize::try_from(px).unwrap()];
        self.writes.clear();
        self.on_pages.clear();
        self.seen.clone_from(&self.memory);
    }

    /// Ends the window and begins the next one.
    pub(crate) fn finish(&mut self, now_ns: u64) -> Truth {
        self.look(now_ns);
        self.judge(now_ns);
        let begun_ns = self.begun_ns;
        let pending = |fate: &&Fate| matches!(fate, Fate::Pending { since_ns } if *since_ns > begun_ns);
        self.truth.undecided_px += self.fates.iter().filter(pending).count() as u64;
        self.begun_ns = now_ns;
        std::mem::take(&mut self.truth)
    }

    /// A rectangle around everything that the host's picture lacks.
    pub(crate) fn outstanding(&self) -> Option<Rect> {
        let situation = self.situation?;
        let written = self.writes.iter().flat_map(|(from, to)| pixels_in(&situation, *from, *to));
        let all = self.uncovered().map(|(pixel, _)| pixel).chain(written);
        let edge = |px: u32| i32::try_from(px).unwrap();
        all.map(|(x, y)| Rect::new(edge(x), edge(y), edge(x) + 1, edge(y) + 1))
            .reduce(|all, one| all.union(&one))
    }

    fn px_on(&mut self, situation: &Situation, pages: u64) -> u64 {
        *self.on_pages.entry(pages).or_insert_with(|| {
            let is_on = |pixel: &Pixel| {
                let (from, to) = bytes_of(situation, *pixel);
                (from / PAGE..=(to - 1) / PAGE).any(|page| pages & 1 << page != 0)
            };
            let pixels = (0..situation.height).flat_map(|y| (0..situation.width).map(move |x| (x, y)));
            pixels.filter(is_on).count() as u64
        })
    }
}

/// The pixels of which a write of bytes `from..to` may change something.
fn pixels_in(situation: &Situation, from: u64, to: u64) -> Vec<Pixel> {
    let pitch = u64::from(situation.pitch_bytes.max(1));
    let base = u64::from(situation.vram_offset);
    let row = |byte: u64| u32::try_from(byte.saturating_sub(base) / pitch).unwrap().min(situation.height);
    let rows = row(from)..(row(to) + 1).min(situation.height);
    let mut pixels = Vec::new();
    for y in rows {
        let (start, _) = bytes_of(situation, (0, y));
        let size = u64::from(situation.format.bytes());
        let first = u32::try_from(from.saturating_sub(start) / size).unwrap();
        pixels.extend(
            (first..situation.width)
                .map(|x| (x, y))
                .skip_while(|pixel| bytes_of(situation, *pixel).1 <= from)
                .take_while(|pixel| bytes_of(situation, *pixel).0 < to),
        );
    }
    pixels
}
