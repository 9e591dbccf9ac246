//! When a screen has come to rest, so that a picture of it can be judged.

use std::time::{Duration, Instant};

use device_model::{Clock as _, Synthvid};

use super::scenario::{Stage, Stop};

/// No DIRT and no repaint for so long means that the guest's drawing has arrived: three refresh periods, on a screen of
/// up to [`FULL_HD_PX`].
const QUIET: Duration = Duration::from_millis(160);
/// A driver sends its DIRT when it has copied what is dirty, so the silence before one grows with the screen.
const FULL_HD_PX: u64 = 1920 * 1080;
/// The largest screen, in those of full HD.
const LARGEST: u64 = 16;
/// How often a screen is looked at in one quiet time, at least.
const LOOKS: u32 = 4;
/// A driver that never ceases to send is at rest when that has changed no pixel for so many quiet times: twelve
/// refreshes of 20 Hz.
const UNCHANGED: u32 = 4;
/// A machine that holds this program up at every look is no reason to wait longer than this and a quiet time.
const HELD_UP: Duration = Duration::from_secs(10);
/// A guest that never comes to rest is measured all the same, after so long.
const RESTLESS: Duration = Duration::from_secs(2);

/// The quiet time of a screen of so many pixels, which the guest names: never more than that of the largest mode, 7680x4320.
fn quiet_time(px: u64) -> Duration {
    QUIET * u32::try_from(px.div_ceil(FULL_HD_PX).clamp(1, LARGEST)).unwrap_or(1)
}

impl Stage<'_, '_> {
    /// The quiet time of the guest's screen as it is now.
    pub(super) fn quiet(&self) -> Duration {
        let mode = self.meter.with(|meter| meter.device().mode);
        quiet_time(mode.map_or(0, |mode| u64::from(mode.width) * u64::from(mode.height)))
    }

    /// Waits until nothing arrives any more, or nothing that changes the picture. `what` comes after that, for a message.
    pub(super) fn settle(&mut self, what: &str) -> Result<(), Stop> {
        let quiet = self.quiet();
        let (quiet_ns, look) = (u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX), quiet / LOOKS);
        let asked = Instant::now();
        let (mut changed, mut changed_at) = (None, asked);
        let mut looks = 0;
        loop {
            // Even a screen that is quiet now may have a refresh on its way: never sooner than one quiet time.
            let slept = Instant::now();
            std::thread::sleep(look);
            // Where this thread was held up the guest was too, and its silence says nothing.
            let held_up = slept.elapsed() >= 2 * look;
            let pending = self.vm.events().with_video(|video: &mut Synthvid| video.repaint_pending())?;
            let now_ns = self.clock.now_ns();
            let (is_quiet, px) = self.meter.with(|meter| {
                let counters = meter.counters();
                (meter.is_quiet(now_ns, quiet_ns), (counters.changed_px, counters.implied_changed_px))
            });
            if changed.replace(px) != Some(px) {
                changed_at = Instant::now();
                looks = 0;
            }
            looks += u32::from(!held_up);
            if (is_quiet || changed_at.elapsed() >= UNCHANGED * quiet)
                && pending != Some(true)
                && (looks >= LOOKS || asked.elapsed() >= HELD_UP + quiet)
            {
                return Ok(());
            }
            if let Some(reason) = self.vm.look() {
                return Err(Stop::Guest(format!("the guest is gone: {reason}")));
            }
            if Instant::now() >= self.until {
                return Err(Stop::Guest(format!("the screen never came to rest before {what}")));
            }
        }
    }

    /// Waits until nothing arrives any more and what changed last has been judged. False if the screen never came to rest.
    pub(super) fn rest(&mut self, grace: Duration) -> Result<bool, Stop> {
        let quiet = self.quiet();
        let look = quiet / LOOKS;
        let quiet = quiet.max(grace + look);
        let quiet_ns = u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX);
        let asked = Instant::now();
        while asked.elapsed() < quiet + RESTLESS {
            std::thread::sleep(look);
            let pending = self.vm.events().with_video(|video: &mut Synthvid| video.repaint_pending())?;
            let now_ns = self.clock.now_ns();
            let is_quiet = self
                .meter
                .with(|meter| meter.last_painted_ns().is_none() || meter.is_quiet(now_ns, quiet_ns));
            // Even a screen that is quiet now may have a refresh on its way: never sooner than one quiet time.
            if is_quiet && pending != Some(true) && asked.elapsed() >= quiet {
                return Ok(true);
            }
            if let Some(reason) = self.vm.look() {
                return Err(Stop::Guest(format!("the guest is gone: {reason}")));
            }
            if Instant::now() >= self.until {
                return Err(Stop::Guest("time is up".into()));
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_time_grows_with_the_screen_and_not_below_one_of_full_hd() {
        for (px, times) in
            [(0, 1), (640 * 480, 1), (1920 * 1080, 1), (2560 * 1600, 2), (7680 * 4320, 16), (u64::MAX, 16)]
        {
            assert_eq!(quiet_time(px), QUIET * times, "{px} px");
        }
    }
}
