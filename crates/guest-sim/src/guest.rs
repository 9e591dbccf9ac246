//! The simulated guest as a whole.

use synic::loopback::{GuestPages, Loopback, LoopbackGuest};
use synthvid::{Rect, Size};
use vmbus::Version;

use crate::attack::Attack;
use crate::bus::{BusEvent, GuestBus, POST_RETRY_NS};
use crate::driver::{Driver, VramPlace};
use crate::error::SimError;
use crate::memory::{PAGE_BYTES, SimMemory, SimVramMapper};
use crate::script::{Act, Cue, Cues, Milestone, Script};

/// Where the SynIC's pages are.
const SYNIC_GPA: u64 = 0x10_0000;
/// Where the rings are.
const RING_GPA: u64 = 0x20_0000;
/// Where VRAM goes that is RAM, as `alloc_pages` would align it.
const RAM_VRAM_GPA: u64 = 0x40_0000;
/// RAM: all of the above, with 4 MiB for VRAM.
const RAM_BYTES: usize = 0x80_0000;
/// Base of the MMIO window, where Hyper-V has it on Generation 1.
const WINDOW_GPA: u64 = 0xf800_0000;
/// Bytes of the window. Pages that nobody touches cost nothing.
const WINDOW_BYTES: usize = 128 << 20;
/// Rounds of one step; a host that answers at once needs some ten for the whole handshake.
const MAX_ROUNDS: u32 = 1_000;

/// The colour, 0x00RRGGBB, of the pixel in column x and row y of a screen of some size.
pub type Pattern = Box<dyn Fn(Size, u32, u32) -> u32 + Send>;

/// What a guest is made from.
pub struct SimConfig {
    /// What it does.
    pub script: Script,
    /// What it draws through its mapping of the framebuffer.
    pub pattern: Pattern,
    /// VMBus versions that it tries, in this order.
    pub versions: Vec<Version>,
}

impl SimConfig {
    /// `script` with `pattern`, and Linux's list of versions.
    #[must_use]
    pub fn new(script: Script, pattern: Pattern) -> Self {
        Self { script, pattern, versions: Version::ALL.into_iter().rev().collect() }
    }
}

/// What one step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// Something happened, so the host may have something to do.
    pub worked: bool,
    /// The guest's picture is complete. It draws no more before the next step.
    pub milestone: Option<Milestone>,
}

/// What a guest counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimStats {
    /// DIRT messages put into the ring.
    pub dirt_sent: u64,
    /// DIRT messages dropped because the ring was full.
    pub dirt_dropped: u64,
    /// Times the video channel was opened.
    pub opens: u64,
    /// Rules broken on purpose.
    pub attacks: u64,
}

/// A Linux guest with hyperv_fb; see the [crate].
pub struct SimGuest {
    memory: SimMemory,
    loopback: Loopback,
    bus: GuestBus,
    driver: Option<Driver>,
    pattern: Pattern,
    script: Script,
    cues: Option<Cues>,
    next: Option<(u64, Act)>,
    over: bool,
    left: bool,
    stats: SimStats,
}

impl SimGuest {
    /// A guest that has booted as far as its SynIC; contact follows with the first step.
    ///
    /// *Errors*: [`SimError`], if there is no memory.
    pub fn new(config: SimConfig) -> Result<Self, SimError> {
        let memory = SimMemory::new(RAM_BYTES, WINDOW_GPA, WINDOW_BYTES)?;
        let loopback = Loopback::with_memory(1, memory.ram().clone())?;
        let cpu: LoopbackGuest = loopback.guest(GuestPages::at(SYNIC_GPA));
        cpu.enable()?;
        let forgiving = config.script == Script::Hostile;
        let bus = GuestBus::new(memory.clone(), cpu, config.versions, RING_GPA / PAGE_BYTES, forgiving);
        Ok(Self {
            memory,
            loopback,
            bus,
            driver: None,
            pattern: config.pattern,
            script: config.script,
            cues: None,
            next: None,
            over: false,
            left: false,
            stats: SimStats::default(),
        })
    }

    /// Does what can be done at `now_ns`: takes the host's messages, lets timers run out, goes on with the script.
    ///
    /// Returns at a milestone, or when nothing is left to do until the host has been stepped or time has passed.
    ///
    /// *Errors*: [`SimError`]: the guest gave up, as Linux's driver would in its probe.
    pub fn step(&mut self, now_ns: u64) -> Result<Progress, SimError> {
        let mut progress = Progress::default();
        for _ in 0..MAX_ROUNDS {
            let mut worked = self.bus.step()?;
            while let Some(event) = self.bus.poll_event() {
                worked = true;
                self.on_event(event, now_ns)?;
            }
            worked |= self.drive(now_ns)?;
            if let Some(act) = self.due_act(now_ns) {
                worked = true;
                progress.milestone = self.perform(act, now_ns)?;
            }
            progress.worked |= worked;
            if !worked || progress.milestone.is_some() {
                break;
            }
        }
        Ok(progress)
    }

    /// When to step again: `now_ns` if the host has left something for the guest, else when a timer or the script is
    /// due.
    ///
    /// `None` if the guest waits for its host alone, as Linux does without a time limit for everything on the control
    /// channel, or if there is nothing left to do. The answer changes after each step of guest or host.
    #[must_use]
    pub fn next_deadline(&self, now_ns: u64) -> Option<u64> {
        if self.bus.is_interrupted() {
            return Some(now_ns);
        }
        let retry = self.bus.must_retry().then(|| now_ns.saturating_add(POST_RETRY_NS));
        let driver = self.driver.as_ref().and_then(Driver::next_deadline);
        let cue = self.next.as_ref().filter(|(_, act)| self.may_perform(act)).map(|(due, _)| *due);
        [retry, driver, cue].into_iter().flatten().min()
    }

    /// Leaves the bus: closes the channel, takes the rings back and sends UNLOAD. [`Self::has_left`] says when it is
    /// done; the script is over.
    ///
    /// *Errors*: [`SimError`], if there is no connection.
    pub fn leave(&mut self) -> Result<(), SimError> {
        self.driver = None;
        self.next = None;
        self.over = true;
        self.bus.leave()
    }

    /// The host answered UNLOAD.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// The script is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The handshake is done and the framebuffer is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.driver.as_ref().is_some_and(Driver::is_ready)
    }

    /// The host wants DIRT, as far as the guest knows.
    #[must_use]
    pub fn is_dirt_wanted(&self) -> bool {
        self.driver.as_ref().is_some_and(Driver::is_dirt_wanted)
    }

    /// Size of the screen, once there is one.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        self.driver.as_ref().and_then(Driver::size)
    }

    /// What the guest drew last at (`x`, `y`), whether it told the host or not; `None` off the screen.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        self.driver.as_ref()?.pixel(x, y)
    }

    /// Guest physical address and size of its VRAM, once the channel is open.
    #[must_use]
    pub fn vram(&self) -> Option<(u64, u64)> {
        self.driver.as_ref().map(|driver| (driver.place().gpa, driver.place().bytes))
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.stats
    }

    /// The host's end of the SynIC.
    #[must_use]
    pub fn loopback(&self) -> &Loopback {
        &self.loopback
    }

    /// RAM and MMIO window.
    #[must_use]
    pub fn memory(&self) -> &SimMemory {
        &self.memory
    }

    /// What shows a host the VRAM of this guest.
    #[must_use]
    pub fn vram_mapper(&self) -> SimVramMapper {
        SimVramMapper::new(self.memory.clone())
    }

    /// User space and the kernel each draw a pixel, beside the script.
    #[cfg(test)]
    pub(crate) fn draw_both_ways(&mut self, now_ns: u64) {
        let Some(driver) = &mut self.driver else { return };
        driver.fill(Rect::new(0, 0, 1, 1), 0xff, now_ns);
        driver.write_mapping(Rect::new(9, 9, 10, 10), now_ns, |_, _| 0xff00);
    }

    fn on_event(&mut self, event: BusEvent, now_ns: u64) -> Result<(), SimError> {
        match event {
            BusEvent::Opened { offer, version } => {
                let place = VramPlace::choose(&self.memory, RAM_VRAM_GPA, offer.mmio_megabytes)?;
                self.driver = Some(Driver::probe(self.memory.clone(), place, version, now_ns));
                self.stats.opens += 1;
            }
            BusEvent::Message(message) => {
                let Some(driver) = &mut self.driver else { return Ok(()) };
                match driver.receive(&message, now_ns) {
                    Err(SimError::Video(_)) if self.script == Script::Hostile => {}
                    outcome => outcome?,
                }
            }
            BusEvent::Unloaded => self.left = true,
        }
        Ok(())
    }

    /// Sends what the driver has to say, and begins the script once there is a screen.
    fn drive(&mut self, now_ns: u64) -> Result<bool, SimError> {
        let Some(driver) = &mut self.driver else { return Ok(false) };
        let mut worked = false;
        for message in driver.expire(now_ns)? {
            worked = true;
            if self.bus.send(&message)? {
                self.stats.dirt_sent += 1;
            } else {
                self.stats.dirt_dropped += 1;
            }
        }
        while let Some(message) = driver.poll_transmit() {
            worked = true;
            self.bus.send(&message)?;
        }
        if let (Some(size), None) = (driver.size(), &self.cues) {
            self.cues = Some(self.script.cues(size));
            self.schedule(now_ns);
        }
        Ok(worked)
    }

    fn schedule(&mut self, now_ns: u64) {
        let cue = self.cues.as_mut().and_then(Iterator::next);
        self.next = cue.map(|Cue { after_ns, act }| (now_ns.saturating_add(after_ns), act));
        if self.next.is_none() && self.cues.is_some() {
            self.over = true;
        }
    }

    fn due_act(&mut self, now_ns: u64) -> Option<Act> {
        let (due, act) = self.next.as_ref()?;
        if now_ns < *due || !self.may_perform(act) {
            return None;
        }
        let act = self.next.take().map(|(_, act)| act);
        self.schedule(now_ns);
        act
    }

    /// Drawing needs a screen; a milestone, that nothing of the picture is under way.
    fn may_perform(&self, act: &Act) -> bool {
        match (&self.driver, act) {
            (Some(driver), Act::Reach(_)) => driver.is_ready() && driver.is_settled(),
            (Some(driver), _) => driver.is_ready(),
            (None, _) => false,
        }
    }

    fn perform(&mut self, act: Act, now_ns: u64) -> Result<Option<Milestone>, SimError> {
        let Some(driver) = &mut self.driver else { return Ok(None) };
        match act {
            Act::MapPattern(rect) => Self::draw_pattern(driver, &self.pattern, rect, now_ns),
            Act::Fill(rect, colour) => driver.fill(rect, colour, now_ns),
            Act::Clear => driver.clear(now_ns),
            Act::Print(line) => driver.print(&line, now_ns),
            Act::Cursor(shown) => driver.show_cursor(shown, now_ns),
            Act::Attack(attack) => self.attack(attack)?,
            Act::Reopen => {
                self.driver = None;
                self.bus.reopen()?;
            }
            Act::Reach(milestone) => return Ok(Some(milestone)),
        }
        Ok(None)
    }

    fn draw_pattern(driver: &mut Driver, pattern: &Pattern, rect: Rect, now_ns: u64) {
        let Some(size) = driver.size() else { return };
        driver.write_mapping(rect, now_ns, |x, y| pattern(size, x, y));
    }

    fn attack(&mut self, attack: Attack) -> Result<(), SimError> {
        self.stats.attacks += 1;
        let relid = self.bus.relid();
        attack.strikes(relid).iter().try_for_each(|strike| self.bus.strike(strike))
    }
}
