//! The part of the demo that only a DRM driver can play: a mode set and damage clips through KMS, as compositors do it.

use device_model::options::Repaint;
use guest_agent::pattern::Pattern;
use guest_agent::protocol::{Command, Driver};
use meter::report::Check;

use super::checks;
use super::scenario::{Outcome, Stage, Stop};
use crate::progress::Phase;

/// Seeds of the two pictures; both differ from the one that is drawn through the frame buffer before.
const MODE_SET_SEED: u64 = 0x6d6f_6465;
const TILES_SEED: u64 = 0x7469_6c65;
/// The screen is drawn in so many columns and rows of tiles, one commit and one damage clip each.
const TILES: (u32, u32) = (4, 4);
/// Modes for the mode set, the first that is smaller than the screen; every driver has them.
const SMALLER_MODES: [(u32, u32); 2] = [(800, 600), (640, 480)];

impl Stage<'_, '_> {
    /// Takes the screen from the console, sets another mode, sets the first one again, draws tile by tile, and gives the screen back.
    pub(super) fn kms(&mut self, driver: &Driver, outcome: &mut Outcome) -> Result<(), Stop> {
        self.progress.begin(Phase::Kms);
        self.mode_set(driver, outcome)?;
        let check = self.tiles(driver, outcome)?;
        self.ask(Command::KmsRelease)?;
        self.settle("the screen was given back")?;
        self.progress.done(&check);
        Ok(())
    }

    /// A new mode shows the whole new picture, though the driver declares no damage after it described the new screen.
    fn mode_set(&mut self, driver: &Driver, outcome: &mut Outcome) -> Result<(), Stop> {
        let smaller = |(width, height): &&(u32, u32)| *width < driver.width && *height < driver.height;
        let Some(&(width, height)) = SMALLER_MODES.iter().find(smaller) else {
            let reason = format!("no mode is smaller than {}x{}", driver.width, driver.height);
            outcome.left_out.push(format!("mode set through KMS: {reason}"));
            return Ok(());
        };
        let pattern = Pattern::Coordinates;
        let command = Command::KmsMode { width, height, pattern, seed: MODE_SET_SEED };
        self.ask(command)?;
        let picture = self.settled_picture("kms-mode")?;
        let mut check = checks::pattern("kms_mode_set", &picture, pattern, MODE_SET_SEED);
        if self.repaint == Repaint::Strict {
            outcome.left_out.push(format!(
                "mode set through KMS: hyperv_drm declares no damage after it described the new screen, so with \
                 repaint=strict the picture is not judged: {}",
                check.detail
            ));
            return Ok(());
        }
        if (picture.width, picture.height) != (width, height) {
            check.passed = false;
            check.detail = format!(
                "the screen is {}x{} after a mode set to {width}x{height}",
                picture.width, picture.height
            );
        }
        outcome.checks.push(check);
        Ok(())
    }

    /// Damage clips arrive as they are: every pixel is right, and declared once.
    fn tiles(&mut self, driver: &Driver, outcome: &mut Outcome) -> Result<String, Stop> {
        let (width, height) = (driver.width, driver.height);
        let before = Command::KmsMode { width, height, pattern: Pattern::Noise, seed: TILES_SEED };
        self.ask(before)?;
        self.settle("tiles were drawn")?;
        let mark = self.meter.with(|meter| meter.mark());
        let (columns, rows) = TILES;
        let pattern = Pattern::Coordinates;
        let command = Command::KmsTiles { pattern, seed: TILES_SEED, columns, rows };
        self.ask(command)?;
        let picture = self.settled_picture("kms")?;
        let check = checks::pattern("kms_pattern", &picture, pattern, TILES_SEED);
        let summary = check.detail.clone();
        outcome.checks.push(check);
        let came = self.meter.with(|meter| meter.since(&mark));
        outcome.checks.push(damage(columns * rows, (width, height), came.dirt_messages, came.declared_px));
        Ok(summary)
    }
}

/// One DIRT a commit, and each pixel of the screen declared once.
fn damage(commits: u32, (width, height): (u32, u32), messages: u64, declared_px: u64) -> Check {
    let screen_px = u64::from(width) * u64::from(height);
    let passed = messages == u64::from(commits) && declared_px == screen_px;
    let detail = format!(
        "{messages} DIRT of {declared_px} px in all for {commits} commits with clips of {screen_px} px in all"
    );
    checks::check("kms_damage", passed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_right_only_with_a_dirt_for_each_commit_and_each_pixel_once() {
        let screen = (1024, 768);
        assert!(damage(16, screen, 16, 786_432).passed);
        for (messages, declared_px) in [(15, 786_432), (17, 786_432), (16, 786_431), (16, 16 * 786_432)] {
            assert!(!damage(16, screen, messages, declared_px).passed, "{messages} of {declared_px} px");
        }
    }
}
