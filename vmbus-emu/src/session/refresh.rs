//! A driver's refresh at three speeds: nothing is drawn, now and then a small rectangle, text without a pause.
//!
//! A picture of the whole screen hides what these show: it is drawn in so few refreshes that one that is lost or too small is covered
//! by the next, and a driver that sends too much shows the same picture.

use device_model::Picture;
use guest_agent::protocol::Command;
use meter::report::Check;

use super::checks;
use super::scenario::{Outcome, REFRESH_PERIOD, Stage, Stop};

/// For how long nothing is drawn. The console's cursor, which would blink, is hidden.
const IDLE_MS: u32 = 500;
/// Tries at being idle. On a loaded host a refresh may be late, or the kernel has something to print; a driver that cannot be silent
/// never is.
const IDLE_TRIES: u32 = 3;
/// Rectangles that are drawn one by one. A driver that loses one DIRT in ten loses at least one of them.
const RECTANGLES: u32 = 16;
/// Their size: neither a whole page of VRAM nor a cell of text, so that it is no multiple of anything.
const SIZE: (u32, u32) = (25, 7);
/// For how long text is printed: a second, to see whether it has more refreshes than the driver promises, and a little.
const TYPING_MS: u32 = 1200;

impl Stage<'_, '_> {
    /// A guest that draws nothing has nothing to declare.
    pub(super) fn idle(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        let mut sent = u64::MAX;
        for _ in 0..IDLE_TRIES {
            self.let_refresh_periods_pass()?;
            let mark = self.meter.with(|meter| meter.mark());
            self.ask(Command::Idle { ms: IDLE_MS })?;
            self.vm.events().with_bus(|bus| bus.process_doorbells())?;
            sent = self.meter.with(|meter| meter.since(&mark).dirt_messages);
            if sent == 0 {
                break;
            }
        }
        let detail = format!("{sent} DIRT in {IDLE_MS} ms in which nothing was drawn, limit is 0");
        outcome.checks.push(checks::check("idle_silent", sent == 0, detail));
        Ok(())
    }

    /// Small rectangles, far from each other and a refresh period apart, so that each is a DIRT of its own.
    pub(super) fn small_damage(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        let Picture { width, height, .. } = self.picture()?;
        let rectangles = rectangles(width, height);
        let ms = u32::try_from(REFRESH_PERIOD.as_millis()).unwrap_or(u32::MAX);
        for &Rectangle { x, y, color } in &rectangles {
            self.ask(Command::Poke { x, y, width: SIZE.0, height: SIZE.1, color })?;
            self.ask(Command::Idle { ms })?;
        }
        self.settle("small rectangles were looked at")?;
        outcome.checks.push(compare(&rectangles, &self.picture()?));
        Ok(())
    }

    /// Text without a pause: how many refreshes the driver makes of it, in how much of the guest's time.
    pub(super) fn typing(&mut self) -> Result<Typed, Stop> {
        self.let_refresh_periods_pass()?;
        let mark = self.meter.with(|meter| meter.mark());
        let done = self.ask(Command::Typing { ms: TYPING_MS })?;
        self.vm.events().with_bus(|bus| bus.process_doorbells())?;
        let sent = self.meter.with(|meter| meter.since(&mark).dirt_messages);
        Ok(Typed { dirt_messages: sent, guest_ms: done.ms })
    }
}

/// What came of text without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Typed {
    /// DIRT messages.
    pub(super) dirt_messages: u64,
    /// How long it took, by the guest's clock. The driver's timers run by that: a loaded host can make refreshes late, and never more.
    pub(super) guest_ms: u64,
}

/// [`SIZE`] pixels of one colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rectangle {
    x: u32,
    y: u32,
    color: u32,
}

/// [`RECTANGLES`] of them from the upper left to the lower right, in rows of their own. They keep to where the console's cells are, in
/// Linux's largest font as well: what lies beyond them nobody would clear.
fn rectangles(width: u32, height: u32) -> Vec<Rectangle> {
    let right = (width - width % 16).saturating_sub(SIZE.0);
    let bottom = (height - height % 32).saturating_sub(SIZE.1);
    let last = RECTANGLES.saturating_sub(1).max(1);
    let one = |index: u32| Rectangle {
        x: right * index / last,
        y: bottom * index / last,
        // No two are alike, and none is black.
        color: 0x00ff_7f3f ^ (index * 0x0001_0305),
    };
    (0..RECTANGLES).map(one).collect()
}

/// Whether each rectangle is in the picture, to the last pixel.
fn compare(rectangles: &[Rectangle], picture: &Picture) -> Check {
    let wrong_px = |rectangle: &Rectangle| {
        let columns = rectangle.x..rectangle.x.saturating_add(SIZE.0);
        let rows = rectangle.y..rectangle.y.saturating_add(SIZE.1);
        let places = rows.flat_map(|y| columns.clone().map(move |x| (x, y)));
        places.filter(|&(x, y)| checks::pixel(picture, x, y) != rectangle.color).count()
    };
    let wrong: Vec<(&Rectangle, usize)> = rectangles
        .iter()
        .map(|rectangle| (rectangle, wrong_px(rectangle)))
        .filter(|(_, wrong_px)| *wrong_px > 0)
        .collect();
    let (all, (width, height)) = (rectangles.len(), SIZE);
    let detail = match wrong.first() {
        None => format!("{all} rectangles of {width}x{height} pixels exact, each drawn and declared alone"),
        Some((Rectangle { x, y, .. }, wrong_px)) => format!(
            "{} of {all} rectangles of {width}x{height} pixels wrong, the first at ({x}, {y}) in {wrong_px} pixels",
            wrong.len()
        ),
    };
    checks::check("small_damage", wrong.is_empty() && all > 0, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, rectangles: &[Rectangle]) -> Picture {
        let within = |x: u32, y: u32| {
            rectangles.iter().find(|rectangle| {
                (rectangle.x..rectangle.x + SIZE.0).contains(&x)
                    && (rectangle.y..rectangle.y + SIZE.1).contains(&y)
            })
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = pixels.map(|(x, y)| within(x, y).map_or(0, |rectangle| rectangle.color)).collect();
        Picture { width, height, pixels }
    }

    #[test]
    fn rectangles_share_no_row_and_keep_to_the_cells() {
        for (width, height) in [(640, 480), (1024, 768), (1366, 768), (1920, 1080)] {
            let all = rectangles(width, height);
            assert!(all.windows(2).all(|pair| pair[0].y + SIZE.1 <= pair[1].y), "{width}x{height}");
            assert!(all.windows(2).all(|pair| pair[0].color != pair[1].color && pair[0].color != 0));
            let last = all.last().unwrap();
            assert!(last.x + SIZE.0 <= width - width % 16 && last.y + SIZE.1 <= height - height % 32);
            assert!(compare(&all, &picture(width, height, &all)).passed, "{width}x{height}");
        }
    }

    #[test]
    fn lost_rectangle_and_lost_row_are_told() {
        let all = rectangles(640, 480);
        let (lost, rest) = all.split_first().unwrap();
        let found = compare(&all, &picture(640, 480, rest));
        assert!(!found.passed);
        assert_eq!(
            found.detail,
            "1 of 16 rectangles of 25x7 pixels wrong, the first at (0, 0) in 175 pixels"
        );
        let mut cut = picture(640, 480, &all);
        let row = usize::try_from((lost.y + SIZE.1 - 1) * 640 + lost.x).unwrap();
        cut.pixels[row] = 0;
        assert!(compare(&all, &cut).detail.ends_with("at (0, 0) in 1 pixels"));
    }

    #[test]
    fn smaller_screen_than_drawn_on_is_wrong_and_no_panic() {
        let all = rectangles(1024, 768);
        assert!(!compare(&all, &picture(640, 480, &rectangles(640, 480))).passed);
        assert!(rectangles(0, 0).iter().all(|rectangle| (rectangle.x, rectangle.y) == (0, 0)));
    }
}
