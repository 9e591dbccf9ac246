//! Requests carried out on a run that goes on here.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use device_model::input::{InputStats, Keyboard, Mouse, Position};
use device_model::{ModeRefusal, Synthvid};
use meter::SharedMeter;
use serde_json::{Value, json};
use synthvid::Size;

use super::request::{button, chord};
use super::{Perform, Request, refusal};
use crate::session::event_loop::{Bus, EventHandle, LoopGone};
use crate::session::scenario::write_picture;

/// How long a guest may take to change its mode.
const MODE_LIMIT: Duration = Duration::from_secs(3);
/// How often its screen is looked at meanwhile.
const MODE_LOOK: Duration = Duration::from_millis(20);

/// The event thread of the machine that runs now; a reset brings another.
#[derive(Clone)]
pub(crate) struct SharedEvents(Arc<Mutex<EventHandle>>);

impl SharedEvents {
    pub(crate) fn new(events: EventHandle) -> Self {
        Self(Arc::new(Mutex::new(events)))
    }

    /// The machine was reset, and this is its event thread.
    pub(crate) fn replace(&self, events: EventHandle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = events;
    }

    fn current(&self) -> EventHandle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Carries out requests on a run.
pub(crate) struct SessionControl {
    events: SharedEvents,
    meter: SharedMeter,
    quit: Arc<AtomicBool>,
    started: Instant,
}

/// Why a request was not carried out.
struct Refusal(String);

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<LoopGone> for Refusal {
    fn from(_: LoopGone) -> Self {
        Self("the run is over, or its machine is being reset".into())
    }
}

impl From<ModeRefusal> for Refusal {
    fn from(refusal: ModeRefusal) -> Self {
        Self(refusal.to_string())
    }
}

impl Perform for SessionControl {
    fn perform(&self, line: &[u8]) -> Vec<u8> {
        let request = serde_json::from_slice::<Request>(line).map_err(|error| error.to_string());
        let request = request.and_then(|request| request.check().map(|()| request));
        let answer = match request {
            Ok(request) => self.answer(&request).unwrap_or_else(|Refusal(reason)| refusal(reason)),
            Err(reason) => refusal(format!("not a request: {reason}")),
        };
        answer.to_string().into_bytes()
    }
}

impl SessionControl {
    /// `quit` is raised when a client asks for the end.
    pub(crate) fn new(events: SharedEvents, meter: SharedMeter, quit: Arc<AtomicBool>) -> Self {
        Self { events, meter, quit, started: Instant::now() }
    }

    fn answer(&self, request: &Request) -> Result<Value, Refusal> {
        match request {
            Request::Status => self.status(),
            Request::Mode { width, height } => self.mode(Size::new(*width, *height)),
            Request::Key { keys } => self.key(keys),
            Request::MouseMove { x, y } => self.move_to(*x, *y),
            Request::MouseClick { button: name } => {
                let button = button(name)?;
                self.with_mouse(move |mouse| mouse.click(button))
            }
            Request::MouseWheel { notches } => {
                let notches = *notches;
                self.with_mouse(move |mouse| mouse.wheel(notches))
            }
            Request::Screenshot { file, pointer } => self.screenshot(file, *pointer),
            Request::Dirt { wanted } => {
                let wanted = *wanted;
                self.with_video(move |video| video.want_dirt(wanted))?;
                Ok(done(if wanted { "dirt is wanted" } else { "dirt is not wanted" }))
            }
            Request::Rescind => {
                let rescinded = self.bus(|bus| bus.rescind_device::<Synthvid>())?;
                if rescinded {
                    Ok(done("the device is taken away"))
                } else {
                    Err("it is not on offer".into())
                }
            }
            Request::Reoffer => {
                let offered = self.bus(|bus| bus.reoffer_device::<Synthvid>())?;
                let channel =
                    offered.map_err(|error| error.to_string())?.ok_or("there is no video device")?;
                self.meter.with(|meter| meter.watch_video_channel(channel));
                Ok(done(&format!("offered as channel {channel}")))
            }
            Request::Quit => {
                self.quit.store(true, Ordering::Release);
                Ok(done("the run ends"))
            }
        }
    }

    fn status(&self) -> Result<Value, Refusal> {
        let (video, keyboard, mouse) = self.bus(|bus| {
            let video = bus.device::<Synthvid>().map(|video| {
                json!({
                    "mode": video.situation().map(|situation| situation.size().to_string()),
                    "offered_mode": video.options().mode().to_string(),
                    "pointer": video.cursor().hot_spot().map(|(x, y)| json!({ "x": x, "y": y })),
                })
            });
            let keyboard =
                bus.device::<Keyboard>().map(|keyboard| input(keyboard.is_ready(), keyboard.stats()));
            let mouse = bus.device::<Mouse>().map(|mouse| input(mouse.is_ready(), mouse.stats()));
            (video, keyboard, mouse)
        })?;
        let (traffic, dirt_wanted) = self.meter.with(|meter| {
            let counters = meter.counters();
            let traffic = json!({
                "dirt_messages": counters.dirt_messages,
                "declared_px": counters.declared_px,
                "changed_px": counters.changed_px,
                "faults": counters.faults.total(),
            });
            (traffic, meter.device().dirt_wanted)
        });
        Ok(json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "running_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "video": video,
            "keyboard": keyboard,
            "mouse": mouse,
            "dirt_wanted": dirt_wanted,
            "traffic": traffic,
        }))
    }

    /// Asks for a mode and looks what the guest makes of it.
    fn mode(&self, size: Size) -> Result<Value, Refusal> {
        let shown = |video: &Synthvid| video.situation().map(synthvid::Situation::size);
        let before = self.with_video(move |video| {
            let before = shown(video);
            video.request_mode(size).map(|()| before)
        })??;
        let Some(before) = before else {
            return Ok(done(&format!("no guest shows a screen; the next is offered {size}")));
        };
        let until = Instant::now() + MODE_LIMIT;
        loop {
            if self.with_video(move |video| shown(video))? == Some(size) {
                return Ok(done(&format!("guest changed to {size}")));
            }
            if Instant::now() >= until {
                return Err(Refusal(format!(
                    "guest ignored it: still {before} after {} s; a driver that probes again is offered {size}",
                    MODE_LIMIT.as_secs()
                )));
            }
            std::thread::sleep(MODE_LOOK);
        }
    }

    fn key(&self, keys: &[String]) -> Result<Value, Refusal> {
        let chords = keys.iter().map(|keys| chord(keys)).collect::<Result<Vec<_>, _>>()?;
        let count = chords.len();
        let played = self.bus(move |bus| {
            let keyboard = bus.device_mut::<Keyboard>()?;
            let ready = keyboard.is_ready();
            Some((ready, ready && chords.iter().all(|chord| keyboard.play(chord))))
        })?;
        match played.ok_or("there is no keyboard; --device hyperv-keyboard makes one")? {
            (_, true) => Ok(done(&format!("{count} typed"))),
            (false, _) => Err("the guest's keyboard driver does not listen".into()),
            (true, _) => Err("the guest does not read: not all was typed".into()),
        }
    }

    fn move_to(&self, x: u32, y: u32) -> Result<Value, Refusal> {
        let screen = self.with_video(|video| video.situation().map(synthvid::Situation::size))?;
        let Size { width, height } = screen.ok_or("no guest shows a screen to point at")?;
        if x >= width || y >= height {
            return Err(Refusal(format!("({x},{y}) is outside of the screen of {width}x{height}")));
        }
        let position = Position::of_pixel((x, y), (width, height));
        self.with_mouse(move |mouse| mouse.move_to(position))
    }

    fn screenshot(&self, file: &str, pointer: bool) -> Result<Value, Refusal> {
        let path = Path::new(file);
        if !path.is_absolute() {
            return Err(Refusal(format!("{file} is not an absolute path")));
        }
        let picture = self
            .with_video(move |video| if pointer { video.picture_with_pointer() } else { video.picture() })?;
        if picture.pixels.is_empty() {
            return Err("no guest has shown a screen".into());
        }
        write_picture(path, &picture).map_err(|error| error.message().to_owned())?;
        Ok(done(&format!("{}x{} pixels in {file}", picture.width, picture.height)))
    }

    fn with_mouse(&self, act: impl FnOnce(&mut Mouse) -> bool + Send + 'static) -> Result<Value, Refusal> {
        let acted = self.bus(move |bus| {
            let mouse = bus.device_mut::<Mouse>()?;
            let ready = mouse.is_ready();
            Some((ready, ready && act(mouse)))
        })?;
        match acted.ok_or("there is no mouse; --device hyperv-mouse makes one")? {
            (_, true) => Ok(done("pointed")),
            (false, _) => Err("the guest's mouse driver does not listen".into()),
            (true, _) => Err("the guest does not read: not all was reported".into()),
        }
    }

    fn with_video<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Synthvid) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        self.bus(|bus| bus.device_mut::<Synthvid>().map(act))?
            .ok_or_else(|| "there is no video device".into())
    }

    fn bus<R: Send + 'static>(&self, act: impl FnOnce(&mut Bus) -> R + Send + 'static) -> Result<R, Refusal> {
        Ok(self.events.current().with_bus(act)?)
    }
}

fn done(text: &str) -> Value {
    json!({ "ok": true, "text": text })
}

fn input(ready: bool, stats: &InputStats) -> Value {
    json!({ "ready": ready, "sent": stats.sent, "dropped": stats.dropped })
}
