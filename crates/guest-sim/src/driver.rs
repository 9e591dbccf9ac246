//! hyperv_fb: the handshake, the framebuffer, and the timers that declare damage.

use surface::VramKind;
use synthvid::vsc::{DriverModel, Vsc, VscConfig, VscEvent};
use synthvid::{Rect, Size, Version};

use crate::console::Console;
use crate::damage::{DeferredIo, TouchedPages, UpdateTimer, clamp_as_driver};
use crate::error::SimError;
use crate::framebuffer::{Framebuffer, VramPath};
use crate::memory::SimMemory;

/// How long the driver waits for an answer (Linux `VSP_TIMEOUT`).
pub const ANSWER_TIMEOUT_NS: u64 = 10_000_000_000;
/// Largest `mmio_megabytes` for which Generation 1 memory comes from `alloc_pages`: order 10.
const MAX_RAM_MEGABYTES: u16 = 4;
/// A buffer for any message of the driver.
const MESSAGE_BYTES: usize = 256;

/// Where the driver puts its VRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VramPlace {
    pub(crate) kind: VramKind,
    pub(crate) gpa: u64,
    pub(crate) bytes: u64,
}

impl VramPlace {
    /// What hyperv_fb does on a Generation 1 machine (`hvfb_getmem`): RAM if the page allocator can give it in one
    /// piece, else the MMIO window.
    pub(crate) fn choose(memory: &SimMemory, ram_gpa: u64, megabytes: u16) -> Result<Self, SimError> {
        let bytes = u64::from(megabytes) << 20;
        match megabytes {
            0 => Err(SimError::NoVram),
            1..=MAX_RAM_MEGABYTES => Ok(Self { kind: VramKind::Ram, gpa: ram_gpa, bytes }),
            _ if bytes > memory.window_bytes() => {
                Err(SimError::WindowTooSmall { bytes, limit: memory.window_bytes() })
            }
            _ => Ok(Self { kind: VramKind::Mmio, gpa: memory.window_gpa(), bytes }),
        }
    }

    fn path(self) -> VramPath {
        match self.kind {
            VramKind::Mmio => VramPath::Shadow,
            VramKind::Ram => VramPath::Direct,
        }
    }
}

/// Versions of synthetic video that Linux tries on a VMBus version (`synthvid_connect_vsp`).
pub(crate) const fn versions_on(vmbus: vmbus::Version) -> &'static [Version] {
    match vmbus {
        vmbus::Version::V4_0 | vmbus::Version::V5_0 => &[Version::V3_5, Version::V3_2],
        vmbus::Version::V2_4 | vmbus::Version::V3_0 => &[Version::V3_2],
        _ => &[Version::V3_5],
    }
}

/// The driver from probe to removal.
#[derive(Debug)]
pub(crate) struct Driver {
    memory: SimMemory,
    place: VramPlace,
    vsc: Vsc,
    waiting_since_ns: Option<u64>,
    /// Linux declares the shape of the screen twice: in probe, and when the console binds to the framebuffer.
    owes_set_par: bool,
    screen: Option<Screen>,
}

/// What there is once the framebuffer is registered.
#[derive(Debug)]
struct Screen {
    framebuffer: Framebuffer,
    console: Console,
    update: UpdateTimer,
    deferred: DeferredIo,
}

impl Driver {
    /// The driver's probe on a channel that is open.
    pub(crate) fn probe(memory: SimMemory, place: VramPlace, vmbus: vmbus::Version, now_ns: u64) -> Self {
        let config =
            VscConfig { versions: versions_on(vmbus), ..VscConfig::new(DriverModel::HypervFb, place.gpa) };
        let mut vsc = Vsc::new(config);
        vsc.start();
        Self { memory, place, vsc, waiting_since_ns: Some(now_ns), owes_set_par: false, screen: None }
    }

    /// Takes one message of the host.
    pub(crate) fn receive(&mut self, message: &[u8], now_ns: u64) -> Result<(), SimError> {
        match self.vsc.receive(message).map_err(SimError::Video)? {
            VscEvent::Ready => {
                self.waiting_since_ns = None;
                self.register()?;
            }
            VscEvent::FeatureChange(features) => {
                if let Some(screen) = self.screen.as_mut().filter(|_| features.dirt) {
                    screen.update.start(now_ns);
                }
            }
            VscEvent::VersionAccepted(_) | VscEvent::VersionRefused(_) | VscEvent::Mode(_) => {
                self.waiting_since_ns = Some(now_ns);
            }
            VscEvent::SituationAck => {}
        }
        Ok(())
    }

    /// Lets timers run out; messages to send come back, oldest first.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Result<Vec<Vec<u8>>, SimError> {
        let mut messages = Vec::new();
        if self.waiting_since_ns.is_some_and(|since| now_ns.saturating_sub(since) >= ANSWER_TIMEOUT_NS) {
            self.waiting_since_ns = Some(now_ns);
            self.vsc.timed_out().map_err(SimError::Video)?;
        }
        let Some(screen) = &mut self.screen else { return Ok(messages) };
        let size = screen.framebuffer.size();
        if let Some(rect) = screen.update.expire(now_ns, size) {
            screen.framebuffer.copy_rect(rect);
            messages.extend(dirt(&self.vsc, clamp_as_driver(rect, size)));
        }
        let pitch = screen.framebuffer.pitch_bytes();
        if let Some(TouchedPages { pages, rect }) = screen.deferred.expire(now_ns, size, pitch) {
            screen.framebuffer.copy_pages(&pages);
            messages.extend(dirt(&self.vsc, rect));
        }
        Ok(messages)
    }

    /// The next message of the protocol itself, if there is one.
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let mut message = vec![0; MESSAGE_BYTES];
        let len = match self.vsc.poll_transmit(&mut message) {
            None if core::mem::take(&mut self.owes_set_par) => {
                let situation = self.vsc.situation().copied()?;
                self.vsc.situate(situation);
                self.vsc.poll_transmit(&mut message)
            }
            len => len,
        }?;
        message.truncate(len);
        Some(message)
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let timeout = self.waiting_since_ns.map(|since| since.saturating_add(ANSWER_TIMEOUT_NS));
        let screen = self.screen.as_ref();
        let timers = [
            timeout,
            screen.and_then(|screen| screen.update.due_ns()),
            screen.and_then(|screen| screen.deferred.due_ns()),
        ];
        timers.into_iter().flatten().min()
    }

    /// Both timers have run out and declared what there was.
    pub(crate) fn is_settled(&self) -> bool {
        self.next_deadline().is_none()
    }

    /// The framebuffer is registered, so user space can draw.
    pub(crate) fn is_ready(&self) -> bool {
        self.screen.is_some()
    }

    pub(crate) fn is_dirt_wanted(&self) -> bool {
        self.vsc.is_dirt_wanted()
    }

    /// Size of the screen, once there is one.
    pub(crate) fn size(&self) -> Option<Size> {
        self.screen.as_ref().map(|screen| screen.framebuffer.size())
    }

    pub(crate) fn place(&self) -> VramPlace {
        self.place
    }

    /// What was drawn last at (`x`, `y`).
    pub(crate) fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        self.screen.as_ref()?.framebuffer.pixel(x, y)
    }

    /// User space writes `rect` through its mapping of the framebuffer.
    pub(crate) fn write_mapping(&mut self, rect: Rect, now_ns: u64, colour: impl FnMut(u32, u32) -> u32) {
        let Some(screen) = &mut self.screen else { return };
        let Some(rect) = screen.framebuffer.draw(rect, colour) else { return };
        let pitch = screen.framebuffer.pitch_bytes();
        let (left, width) = (u64::from(rect.left.unsigned_abs()) * 4, u64::from(rect.width()) * 4);
        for y in rect.top.unsigned_abs()..rect.bottom.unsigned_abs() {
            screen.deferred.touch(u64::from(y) * pitch + left, width, now_ns);
        }
    }

    /// The kernel fills `rect` with one colour.
    pub(crate) fn fill(&mut self, rect: Rect, colour: u32, now_ns: u64) {
        self.kernel_draws(now_ns, |screen| screen.framebuffer.draw(rect, |_, _| colour));
    }

    /// The kernel makes the console black.
    pub(crate) fn clear(&mut self, now_ns: u64) {
        self.kernel_draws(now_ns, |screen| screen.console.clear(&mut screen.framebuffer));
    }

    /// The kernel prints a line.
    pub(crate) fn print(&mut self, line: &str, now_ns: u64) {
        self.kernel_draws(now_ns, |screen| screen.console.print(&mut screen.framebuffer, line));
    }

    /// The kernel shows or hides its cursor.
    pub(crate) fn show_cursor(&mut self, shown: bool, now_ns: u64) {
        self.kernel_draws(now_ns, |screen| {
            let colour = if shown { Console::ink() } else { 0 };
            let place = screen.console.cursor(screen.framebuffer.size());
            screen.framebuffer.draw(place, |_, _| colour)
        });
    }

    fn kernel_draws(&mut self, now_ns: u64, draw: impl FnOnce(&mut Screen) -> Option<Rect>) {
        let Some(screen) = &mut self.screen else { return };
        if let Some(damage) = draw(screen) {
            screen.update.draw(damage, now_ns);
        }
    }

    /// `register_framebuffer`: the console binds, user space can draw.
    fn register(&mut self) -> Result<(), SimError> {
        let size = self.vsc.mode().size();
        let bytes = Framebuffer::bytes_of(size);
        if bytes > self.place.bytes {
            // Linux does not look, and writes behind its memory.
            return Err(SimError::ModeTooLarge { size, bytes, limit: self.place.bytes });
        }
        self.owes_set_par = true;
        self.screen = Some(Screen {
            framebuffer: Framebuffer::new(self.memory.clone(), self.place.gpa, self.place.path(), size),
            console: Console::default(),
            update: UpdateTimer::default(),
            deferred: DeferredIo::default(),
        });
        Ok(())
    }
}

/// A DIRT message with one rectangle, or `None` if the host does not want it.
fn dirt(vsc: &Vsc, rect: Rect) -> Option<Vec<u8>> {
    let mut message = vec![0; MESSAGE_BYTES];
    let len = vsc.dirt(&[rect], &mut message)?;
    message.truncate(len);
    Some(message)
}
