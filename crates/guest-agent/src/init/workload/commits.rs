//! The workload on KMS.

use super::{Choices, Outcome, Pace, Size, Stage};
use crate::kms::Output;

/// Clips of a commit with many.
const MANY: usize = 16;
/// The side of the clips, in pixels.
const CLIP_PX: u32 = 32;

/// Commits with one clip, with many, and with none. The screen stays held, so that it can be read back.
pub(super) fn run(size: Size, stage: &mut Stage<'_>) -> Result<Outcome, String> {
    let count = size.of(30)?;
    let screen = stage.screen()?.geometry();
    let (width, height) = (screen.width, screen.height);
    let output = match stage.kms.as_mut() {
        Some(output) => output,
        None => stage.kms.insert(Output::open()?),
    };
    output.set_blank_mode(width, height)?;
    let mut choices = Choices::new(size.seed);
    let mut pace = Pace::every_ms(50);
    for clips in [1, MANY, 0] {
        for _ in 0..count {
            let color = choices.color();
            let mut damaged = Vec::with_capacity(clips);
            // What changes is the same number of places either way; without clips the driver is not told where.
            for _ in 0..clips.max(1) {
                let (across, down) = (CLIP_PX.min(width), CLIP_PX.min(height));
                let (left, top) = (choices.below(width - across + 1), choices.below(height - down + 1));
                output.fill((left, top), (across, down), color)?;
                damaged.push([left, top, left + across, top + down]);
            }
            if clips == 0 {
                damaged.clear();
            }
            output.commit(&damaged)?;
            pace.wait();
        }
    }
    Ok(Outcome::paced(count * 3, &pace))
}
