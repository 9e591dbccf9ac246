//! Workloads that draw without a mapping, or with one that does not last.

use super::{Choices, Outcome, Pace, Size, Stage, mapped::any_box};
use crate::framebuffer::Framebuffer;

/// Boxes by write(2).
pub(super) fn write(size: Size, screen: &Framebuffer) -> Result<Outcome, String> {
    let count = size.of(50)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    for _ in 0..count {
        let (origin, area) = any_box(&mut choices, screen);
        screen.write_fill(origin, area, choices.color())?;
        pace.wait();
    }
    Ok(Outcome::paced(count, &pace))
}

/// Boxes, each through a mapping that is gone, with the last open file of the frame buffer, before the driver's next refresh.
pub(super) fn close(size: Size, stage: &mut Stage<'_>) -> Result<Outcome, String> {
    let count = size.of(50)?;
    let (mut choices, mut pace) = (Choices::new(size.seed), Pace::every_ms(100));
    // A driver does its last things only when nobody else has the frame buffer open.
    if stage.screen.take().is_none() {
        return Err("there is no frame buffer".into());
    }
    let open = || Framebuffer::open().map_err(|error| format!("/dev/fb0: {error}"));
    let mut draw = || {
        for _ in 0..count {
            let mut screen = open()?;
            let (origin, area) = any_box(&mut choices, &screen);
            screen.fill(origin, area, choices.color())?;
            drop(screen);
            pace.wait();
        }
        Ok(())
    };
    let drawn = draw();
    *stage.screen = Some(open()?);
    drawn.map(|()| Outcome::paced(count, &pace))
}
