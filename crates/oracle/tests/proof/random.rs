//! Guests that do anything in any order, and a million operations of them.

use oracle::{OracleSettings, Window};
use synthvid::{PixelFormat, Rect, Situation};

use crate::naive::{Naive, Truth};
use crate::rig::{MS, PAGE, PAGES, Rig, screen};

/// Operations in all.
const OPERATIONS: u64 = 1_000_000;
/// Guests, each with a seed of its own.
const GUESTS: u64 = 20;
/// Operations between two comparisons.
const COMPARED_EVERY: u64 = 500;
const TILE_PX: u32 = 8;
const GRACE_NS: u64 = 100 * MS;

/// A generator of its own, so that seeds mean the same for ever (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from((self.next() >> 32) % u64::from(limit.max(1))).unwrap()
    }

    /// Part of a screen, `largest` either way at most.
    pub(crate) fn rect(&mut self, within: Rect, largest: u32) -> Rect {
        let (width, height) = (within.width().min(largest), within.height().min(largest));
        let (width, height) = (1 + self.below(width), 1 + self.below(height));
        let left = within.left.unsigned_abs() + self.below(within.width() - width + 1);
        let top = within.top.unsigned_abs() + self.below(within.height() - height + 1);
        let edge = |px: u32| i32::try_from(px).unwrap();
        Rect::new(edge(left), edge(top), edge(left + width), edge(top + height))
    }
}

/// Screens with everything that a layout can have: padding, odd offsets and pitches, pixels across pages, both depths, rows longer
/// than a chunk of the comparison.
fn screens() -> [Situation; 6] {
    let short = PixelFormat::Rgb565;
    [
        screen(64, 48),
        Situation { vram_offset: 4093, pitch_bytes: 211, ..screen(37, 29) },
        Situation { vram_offset: 2, format: short, pitch_bytes: 128, ..screen(50, 40) },
        Situation { pitch_bytes: 4400, ..screen(1_100, 9) },
        Situation { vram_offset: 8191, format: short, pitch_bytes: 2_061, ..screen(1_030, 3) },
        Situation { pitch_bytes: 8192, ..screen(20, 7) },
    ]
}

/// The same guest twice: before the oracle and before the model.
struct Pair {
    rig: Rig,
    naive: Naive,
    random: Random,
    awaited: bool,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let settings = OracleSettings {
            grace_ns: GRACE_NS,
            tile_px: TILE_PX,
            missed_areas: 100_000,
            ..OracleSettings::default()
        };
        let first = screens()[usize::try_from(seed).unwrap() % screens().len()];
        let (rig, mut naive) = (Rig::new(settings, first), Naive::new(GRACE_NS));
        naive.show(Some(first), rig.now_ns);
        naive.want_dirt(true, rig.now_ns);
        let mut pair = Self { rig, naive, random: Random::new(seed), awaited: false };
        pair.finish();
        pair
    }

    fn bounds(&self) -> Rect {
        self.rig.situation().bounds()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.rig.vram.0.lock().unwrap().write(offset, bytes);
        self.naive.write(offset, bytes);
    }

    fn draw(&mut self, x: u32, y: u32, value: u32) {
        let situation = self.rig.situation();
        let offset = situation.vram_offset_of(x, y).unwrap();
        let len = usize::try_from(situation.format.bytes()).unwrap();
        self.write(offset, &value.to_le_bytes()[..len]);
    }

    fn draw_rect(&mut self, rect: Rect, mut value: impl FnMut(&mut Random) -> u32) {
        for y in rect.top.unsigned_abs()..rect.bottom.unsigned_abs() {
            for x in rect.left.unsigned_abs()..rect.right.unsigned_abs() {
                let value = value(&mut self.random);
                self.draw(x, y, value);
            }
        }
    }

    fn declare(&mut self, rects: &[Rect]) {
        self.rig.declare(rects);
        self.naive.declare(rects, self.rig.now_ns);
    }

    /// Time passes, with a look and a judgement whenever the oracle asks for them.
    fn pass(&mut self, ns: u64) {
        let end = self.rig.now_ns + ns;
        while let Some(due) = device_model::Observer::deadline_ns(&self.rig.oracle).filter(|due| *due <= end)
        {
            let now_ns = due.max(self.rig.now_ns);
            self.rig.pass(now_ns - self.rig.now_ns);
            self.naive.look(now_ns);
            self.naive.judge(now_ns);
        }
        self.rig.pass(end - self.rig.now_ns);
    }

    /// One operation.
    fn operate(&mut self) {
        let bounds = self.bounds();
        match self.random.below(100) {
            0..18 => {
                let (x, y) = (self.random.below(bounds.width()), self.random.below(bounds.height()));
                let value = self.random.below(4);
                self.draw(x, y, value);
            }
            18..30 => {
                let rect = self.random.rect(bounds, 12);
                let value = self.random.below(3);
                self.draw_rect(rect, |_| value);
            }
            30..36 => {
                let rect = self.random.rect(bounds, 6);
                self.draw_rect(rect, |random| random.below(u32::MAX));
            }
            36..40 => {
                let y = i32::try_from(self.random.below(bounds.height())).unwrap();
                let value = self.random.below(3);
                self.draw_rect(Rect::new(0, y, bounds.right, y + 1), |_| value);
            }
            40..45 => {
                for _ in 0..1 + self.random.below(8) {
                    let (x, y) = (self.random.below(bounds.width()), self.random.below(bounds.height()));
                    let value = self.random.below(1 << 24);
                    self.draw(x, y, value);
                }
            }
            45..48 => {
                // Anywhere: padding, off the screen, parts of pixels.
                let len = 1 + self.random.below(9);
                let limit = u32::try_from(PAGES * PAGE).unwrap() - len;
                let (offset, byte) =
                    (u64::from(self.random.below(limit)), self.random.next().to_le_bytes()[0]);
                self.write(offset, &vec![byte; usize::try_from(len).unwrap()]);
            }
            48..60 => {
                if let Some(rect) = self.naive.outstanding() {
                    self.declare(&[rect]);
                }
            }
            60..64 => {
                let rects: Vec<Rect> =
                    (0..1 + self.random.below(6)).map(|_| self.random.rect(bounds, 30)).collect();
                self.declare(&rects);
            }
            64..66 => self.declare(&[bounds]),
            66..68 => {
                // The row, or the column, that a driver forgets.
                if let Some(rect) =
                    self.naive.outstanding().filter(|rect| rect.height() > 1 && rect.width() > 1)
                {
                    let less = i32::from(self.random.below(2) == 0);
                    self.declare(&[Rect {
                        bottom: rect.bottom - less,
                        right: rect.right - (1 - less),
                        ..rect
                    }]);
                }
            }
            68..94 => {
                let us = u64::from(self.random.below(9_000));
                self.pass(us * 1_000);
            }
            94 => {
                let ms = u64::from(self.random.below(150));
                self.pass(ms * MS);
            }
            95 => {
                let wanted = self.random.below(3) != 0;
                self.rig.want_dirt(wanted);
                self.naive.want_dirt(wanted, self.rig.now_ns);
            }
            96 => {
                self.rig.oracle.sample(self.rig.now_ns);
                self.naive.look(self.rig.now_ns);
                self.naive.judge(self.rig.now_ns);
            }
            97..99 => self.repaint(),
            _ => self.change_screen(),
        }
    }

    fn repaint(&mut self) {
        if self.awaited {
            let comes = self.random.below(4) != 0;
            self.rig.repaint(comes);
            self.naive.repaint(comes, self.rig.now_ns);
        } else {
            self.rig.await_repaint();
            self.naive.await_repaint(self.rig.now_ns);
        }
        self.awaited = !self.awaited;
    }

    /// Often, so that few pixels of the screens are touched twice; an eighth of the time VRAM moves, too.
    fn change_screen(&mut self) {
        if self.random.below(4) != 0 {
            return;
        }
        let next = screens()[usize::try_from(self.random.below(6)).unwrap()];
        if self.random.below(2) == 0 {
            self.rig.move_vram();
            self.naive.show(None, self.rig.now_ns);
        }
        self.rig.show(next);
        self.naive.show(Some(next), self.rig.now_ns);
    }

    /// Ends a window, and lets a microsecond pass, which a look after it needs to be told from one before.
    fn finish(&mut self) -> (Window, Truth) {
        let both = (self.rig.finish(), self.naive.finish(self.rig.now_ns));
        self.rig.now_ns += 1_000;
        both
    }
}

/// What a window says of itself must agree, whatever the truth is.
fn check_parts(window: &Window, at: &str) {
    let heat = window.heat.as_ref().expect("a screen");
    let slices = &window.timeline.slices;
    assert_eq!(slices.iter().map(|slice| slice.missed_px).sum::<u64>(), window.missed_px, "{at}");
    assert_eq!(slices.iter().map(|slice| slice.changed_px).sum::<u64>(), window.changed_px, "{at}");
    assert_eq!(slices.iter().map(|slice| slice.declared_px).sum::<u64>(), window.declared_px, "{at}");
    let in_areas: u64 = window.missed.iter().map(|area| area.px).sum();
    assert_eq!(in_areas + window.missed_elsewhere_px, window.missed_px, "{at}");
    assert_eq!(heat.missed.len(), usize::try_from(heat.columns * heat.rows).unwrap(), "{at}");
}

/// Every missed pixel lies in an area, and no area has fewer.
fn check_places(window: &Window, naive: &Naive, at: &str) {
    let edge = |px: u32| i32::try_from(px).unwrap();
    for (x, y) in naive.missed.keys() {
        assert!(
            window.missed.iter().any(|area| area.bounds.contains(edge(*x), edge(*y))),
            "{at}: ({x}, {y}) was missed and is in no area"
        );
    }
    // The maps start over with another screen.
    let heat = window.heat.as_ref().expect("a screen");
    if heat.missed.iter().sum::<u64>() == window.missed_px {
        let mut expected = vec![0; heat.missed.len()];
        for ((x, y), times) in &naive.missed {
            let tile = usize::try_from(y / heat.tile_px * heat.columns + x / heat.tile_px).unwrap();
            expected[tile] += times;
        }
        assert_eq!(heat.missed, expected, "{at}");
    }
}

#[test]
fn a_million_random_operations_are_judged_as_the_model_does_to_the_pixel() {
    let mut sum = Truth::default();
    for guest in 0..GUESTS {
        let mut pair = Pair::new(guest);
        for operation in 1..=OPERATIONS / GUESTS {
            pair.operate();
            if operation % COMPARED_EVERY == 0 {
                let at = format!("guest {guest}, operation {operation}");
                let (window, truth) = pair.finish();
                assert_eq!(Truth::from(&window), truth, "{at}");
                check_parts(&window, &at);
                check_places(&window, &pair.naive, &at);
                pair.naive.missed.clear();
                sum.changed_px += truth.changed_px;
                sum.missed_px += truth.missed_px;
                sum.late_px += truth.late_px;
                sum.excused_px += truth.excused_px;
                sum.covered_px += truth.covered_px;
            }
        }
    }
    println!("{OPERATIONS} operations: {sum:?}");
    // They did what they are for.
    assert!(sum.missed_px > 50_000 && sum.late_px > 50_000 && sum.excused_px > 100_000, "{sum:?}");
    assert!(sum.covered_px > 500_000, "{sum:?}");
}
