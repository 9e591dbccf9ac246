//! A driver that keeps its promises but for one stroke in a thousand operations: that stroke is reported, with its place and time, and
//! nothing else ever is.

use oracle::{MissedArea, OracleSettings};
use synthvid::Rect;

use crate::random::Random;
use crate::rig::{MS, Rig, screen};

/// Strokes that the driver forgets.
const OMISSIONS: u64 = 1_000;
/// Operations from one to the next.
const OPERATIONS: u64 = 1_000;
/// Half a screen each: the forgotten strokes are to the left, what the driver declares meanwhile is to the right.
const LEFT: Rect = Rect::new(0, 0, 32, 48);
const RIGHT: Rect = Rect::new(32, 0, 64, 48);

/// A driver with one bounding box, declared 48 ms after its first stroke at the latest.
struct Driver {
    rig: Rig,
    random: Random,
    colour: u32,
    damage: Option<Rect>,
    due_ns: u64,
}

impl Driver {
    fn new() -> Self {
        let rig = Rig::new(OracleSettings::default(), screen(64, 48));
        Self { rig, random: Random::new(7), colour: 0, damage: None, due_ns: 0 }
    }

    /// Draws in a colour that no pixel has.
    fn draw(&mut self, rect: Rect) {
        self.colour = (self.colour + 1) & 0xff_ffff;
        self.rig.draw_rect(rect, self.colour);
    }

    fn stroke(&mut self, within: Rect) {
        let rect = self.random.rect(within, 9);
        self.draw(rect);
        if self.damage.is_none() {
            self.due_ns = self.rig.now_ns + 48 * MS;
        }
        self.damage = Some(self.damage.map_or(rect, |damage| damage.union(&rect)));
    }

    /// Draws something and lets a little time pass.
    fn operate(&mut self, within: Rect) {
        match self.random.below(4) {
            0 => self.stroke(within),
            1 => {
                let rect = self.random.rect(within, 5);
                self.rig.declare(&[rect]);
            }
            _ => {
                let us = u64::from(self.random.below(8_000));
                self.pass(us * 1_000);
            }
        }
    }

    fn pass(&mut self, ns: u64) {
        self.rig.pass(ns);
        if self.rig.now_ns >= self.due_ns {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(rect) = self.damage.take() {
            self.rig.declare(&[rect]);
        }
    }

    /// Draws a stroke, tells nobody, and goes on elsewhere for longer than the grace time.
    fn forget(&mut self) -> MissedArea {
        self.flush();
        let bounds = self.random.rect(LEFT, 9);
        self.draw(bounds);
        self.rig.oracle.sample(self.rig.now_ns);
        let forgotten = MissedArea { seen_ns: self.rig.now_ns, bounds, px: bounds.area() };
        let over_ns = self.rig.now_ns + 120 * MS;
        while self.rig.now_ns < over_ns {
            self.operate(RIGHT);
        }
        self.flush();
        forgotten
    }
}

#[test]
fn one_forgotten_stroke_in_a_thousand_operations_is_found_each_time_and_nothing_else_is() {
    let mut driver = Driver::new();
    let everywhere = driver.rig.situation().bounds();
    for omission in 0..OMISSIONS {
        driver.rig.now_ns += 1_000;
        driver.rig.oracle.begin(driver.rig.now_ns);
        driver.rig.now_ns += 1_000;
        (0..OPERATIONS / 2).for_each(|_| driver.operate(everywhere));
        let forgotten = driver.forget();
        (0..OPERATIONS / 2).for_each(|_| driver.operate(everywhere));
        driver.flush();
        let window = driver.rig.finish();
        assert_eq!(window.missed, [forgotten], "omission {omission}");
        assert_eq!(window.missed_px, forgotten.px, "omission {omission}");
        assert_eq!(window.undecided_px, 0, "omission {omission}");
        assert!(window.changed_px > 1_000, "omission {omission}: the driver drew");
    }
}
