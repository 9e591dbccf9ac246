//! The oracle: what it is told, and what it does about it.

use std::fmt;
use std::time::Instant;

use device_model::Observer;
use device_model::observer::{DirtEvent, ImpliedRepaint};
use device_model::video::{MappedVram, Scanout, without_overlap};
use synthvid::Situation;

use crate::screen::{Judgement, Screen};
use crate::settings::OracleSettings;
use crate::tally::Tally;
use crate::window::Window;
use crate::write_log::{PAGE_BYTES, WriteLog, WrittenPages};

/// Longest grace time, in microseconds: an hour. Ages are kept modulo 71 minutes.
const MAX_GRACE_US: u32 = 3_600_000_000;

/// Compares what a guest declares with what it writes.
///
/// All calls come from the event thread, or between two of its events, so that their order is that of what happened.
/// Times are those of the bus's clock, in nanoseconds; they are cut to whole microseconds.
pub struct Oracle {
    settings: OracleSettings,
    log: Box<dyn WriteLog>,
    /// Number of the mapping that the log follows.
    followed: Option<u64>,
    /// VRAM and the screen in it, to see whether they are others.
    vram: Option<MappedVram>,
    situation: Option<Situation>,
    screen: Option<Screen>,
    wanted: bool,
    suspended: bool,
    paused: bool,
    /// Pages of one look; kept for its allocation.
    written: WrittenPages,
    tally: Tally,
    /// No look counts as earlier than this.
    first_us: u64,
    next_sample_ns: u64,
}

impl Oracle {
    /// An oracle without a screen. It judges from the beginning; [`Self::begin`] starts a window of its own.
    #[must_use]
    pub fn new(settings: OracleSettings, log: Box<dyn WriteLog>) -> Self {
        Self {
            log,
            followed: None,
            vram: None,
            situation: None,
            screen: None,
            wanted: false,
            suspended: false,
            paused: false,
            written: WrittenPages::default(),
            tally: Tally::new(&settings, 0, 0, None),
            first_us: 0,
            next_sample_ns: 0,
            settings,
        }
    }

    /// How it judges.
    #[must_use]
    pub fn settings(&self) -> &OracleSettings {
        &self.settings
    }

    /// Starts over with the log of another machine: the one before was reset, and what it changed last is excused.
    ///
    /// Call it before the other machine's bus is made. The window goes on.
    pub fn replace_log(&mut self, now_ns: u64, log: Box<dyn WriteLog>) {
        self.drop_screen(self.us(now_ns));
        self.log = log;
        self.followed = None;
        self.vram = None;
        self.situation = None;
        self.wanted = false;
        self.suspended = false;
    }

    /// Stops to look until [`Self::resume`]: the log follows nothing, nothing is compared and nothing counted. What
    /// changed last is excused.
    pub fn pause(&mut self, now_ns: u64) {
        if !self.paused {
            self.sample(now_ns);
            self.drop_screen(self.us(now_ns));
            self.paused = true;
            self.follow();
        }
    }

    /// Looks again. What changed since [`Self::pause`] is seen by nobody.
    pub fn resume(&mut self, now_ns: u64) {
        if self.paused {
            self.paused = false;
            self.follow();
            self.open_screen();
            self.next_sample_ns = now_ns;
        }
    }

    /// Looks at the log and judges what is due. The bus sees to it through [`Observer::tick`].
    pub fn sample(&mut self, now_ns: u64) {
        self.look(now_ns);
        self.expire(now_ns);
        self.next_sample_ns = now_ns.saturating_add(self.settings.sample_ns.max(1_000));
    }

    /// Starts a window: what the guest wrote before is not in it.
    pub fn begin(&mut self, now_ns: u64) {
        self.sample(now_ns);
        self.next_window(now_ns);
    }

    /// Ends the window that [`Self::begin`] started, and begins another one.
    ///
    /// Let the grace time pass before, or what changed last is undecided.
    pub fn finish(&mut self, now_ns: u64) -> Window {
        self.sample(now_ns);
        let now_us = self.us(now_ns);
        if let Some(screen) = &self.screen {
            screen.count_undecided(now_us, &mut self.tally);
        }
        self.next_window(now_ns).finish(now_ns)
    }

    /// The counts so far of the window at hand; distribution, undecided pixels and end come with [`Self::finish`].
    #[must_use]
    pub fn counts(&self) -> &Window {
        &self.tally.sums
    }

    fn next_window(&mut self, now_ns: u64) -> Tally {
        // What was seen just now is not in the window, so the next look counts as one microsecond later at least.
        self.first_us = self.us(now_ns).saturating_add(1);
        let size = self.screen.as_ref().map(Screen::size);
        let next = Tally::new(&self.settings, now_ns, self.first_us, size);
        std::mem::replace(&mut self.tally, next)
    }

    fn us(&self, ns: u64) -> u64 {
        (ns / 1_000).max(self.first_us)
    }

    fn judgement(&self, now_ns: u64) -> Judgement {
        Judgement {
            now_us: self.us(now_ns),
            grace_us: u32::try_from(self.settings.grace_ns / 1_000).unwrap_or(u32::MAX).min(MAX_GRACE_US),
            wanted: self.wanted,
            suspended: self.suspended,
        }
    }

    /// Takes the log's pages and compares their pixels.
    fn look(&mut self, now_ns: u64) {
        let started = Instant::now();
        let judgement = self.judgement(now_ns);
        let Self { log, vram, screen, written, tally, .. } = self;
        let (Some(screen), Some(vram)) = (screen, vram) else { return };
        written.reset(vram.bytes.len().div_ceil(PAGE_BYTES));
        let collected = log.collect(written);
        tally.sums.looks += 1;
        match &collected {
            Ok(()) => tally.sums.written_pages += written.count(),
            Err(error) => {
                tally.sums.log_error = Some(error.to_string());
                written.insert_all();
            }
        }
        if !written.is_empty() {
            match screen.look(written, &judgement, tally) {
                Ok(look) if collected.is_ok() => {
                    tally.sums.rewritten_px += look.px.saturating_sub(look.changed_px);
                    tally.sums.off_screen_pages += look.off_screen_pages;
                }
                Ok(_) => {}
                Err(error) => tally.sums.log_error = Some(error.to_string()),
            }
        }
        tally.sums.oracle_ns += elapsed_ns(started);
    }

    fn expire(&mut self, now_ns: u64) {
        let started = Instant::now();
        let judgement = self.judgement(now_ns);
        if let Some(screen) = &mut self.screen {
            screen.expire(&judgement, &mut self.tally);
            self.tally.sums.oracle_ns += elapsed_ns(started);
        }
    }

    /// The screen goes away: whatever changed last need not be declared.
    fn drop_screen(&mut self, now_us: u64) {
        if let Some(mut screen) = self.screen.take() {
            screen.excuse(now_us, &mut self.tally);
        }
    }

    /// Makes the log follow the VRAM that there is now, from now on.
    fn follow(&mut self) {
        let vram = self.vram.as_ref().filter(|_| !self.paused);
        let mapping = vram.map(|vram| vram.mapping);
        let restarted = if self.followed == mapping {
            // What was written before the screen had this shape is no part of it.
            self.written.reset(vram.map_or(0, |vram| vram.bytes.len().div_ceil(PAGE_BYTES)));
            if mapping.is_none() { Ok(()) } else { self.log.collect(&mut self.written) }
        } else {
            self.followed = mapping;
            let range = vram.map(|vram| vram.gpa..vram.gpa.saturating_add(vram.bytes.len()));
            self.log.restart(range)
        };
        if let Err(error) = restarted {
            tracing::warn!("all pixels are compared at every look: {error}");
            self.tally.sums.log_error = Some(error.to_string());
        }
    }

    /// The screen has another place or shape.
    fn change_screen(&mut self, now_ns: u64, scanout: &Scanout) {
        let started = Instant::now();
        self.expire(now_ns);
        self.drop_screen(self.us(now_ns));
        self.vram.clone_from(&scanout.vram);
        self.situation = scanout.situation;
        self.follow();
        self.open_screen();
        self.tally.sums.oracle_ns += elapsed_ns(started);
    }

    /// Copies the screen that there is now, unless nobody looks at it.
    fn open_screen(&mut self) {
        if let (Some(vram), Some(situation), false) = (&self.vram, self.situation, self.paused) {
            match Screen::new(vram.bytes.clone(), situation) {
                Ok(screen) => self.screen = screen,
                Err(error) => self.tally.sums.log_error = Some(error.to_string()),
            }
        }
        self.tally.set_screen(self.screen.as_ref().map(Screen::size));
    }
}

impl Observer for Oracle {
    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        let started = Instant::now();
        let judgement = self.judgement(dirt.done_ns);
        self.tally.message(judgement.now_us, dirt.declared_px);
        let cut = (dirt.accepted.len() > 1).then(|| without_overlap(dirt.accepted));
        for rect in cut.as_deref().unwrap_or(dirt.accepted) {
            let changed = match &mut self.screen {
                Some(screen) => screen.cover(*rect, &judgement, true, &mut self.tally),
                None => 0,
            };
            self.tally.declared(*rect, rect.area().saturating_sub(changed));
        }
        self.tally.sums.oracle_ns += elapsed_ns(started);
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        let judgement = self.judgement(at_ns);
        self.tally.sums.implied_px += repaint.px;
        if let Some(screen) = &mut self.screen {
            screen.cover(screen.size().rect(), &judgement, false, &mut self.tally);
        }
    }

    fn take_stock(&mut self, at_ns: u64) {
        self.look(at_ns);
    }

    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        let mapping = |vram: &Option<MappedVram>| vram.as_ref().map(|vram| vram.mapping);
        let other = mapping(&self.vram) != mapping(&scanout.vram) || self.situation != scanout.situation;
        if other {
            self.change_screen(at_ns, scanout);
        } else if self.wanted != scanout.dirt_wanted {
            self.look(at_ns);
        }
        let now_us = self.us(at_ns);
        self.expire(at_ns);
        if self.wanted
            && !scanout.dirt_wanted
            && let Some(screen) = &mut self.screen
        {
            screen.excuse(now_us, &mut self.tally);
        }
        self.wanted = scanout.dirt_wanted;
        self.suspended = scanout.repaint_due_ns.is_some();
    }

    fn tick(&mut self, now_ns: u64) {
        if now_ns >= self.next_sample_ns {
            self.sample(now_ns);
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.screen.is_some().then_some(self.next_sample_ns)
    }
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle")
            .field("settings", &self.settings)
            .field("vram", &self.vram)
            .field("situation", &self.situation)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
