//! A VMM of one's own with a Hyper-V video device: everything that it must bring, and nothing else.
//!
//! Where a real VMM has KVM, this one has the simulated guest, whose memory and SynIC are ordinary Rust values; the lines
//! marked *yours* are those that another VMM writes differently. `docs/attach-to-your-vmm.md` has the duties as a list.
//!
//! Run: `cargo run -p device-model --example embed`

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use device_model::observer::{DirtEvent, Observer, VideoEvent};
use device_model::options::SynthvidOptions;
use device_model::{Bus, BusParts, BusSubscriber, Clock as _, MonotonicClock, Synthvid, VramKind};
use event_manager::{EventManager, RemoteEndpoint, SubscriberId, SubscriberOps};
use guest_sim::{Milestone, Script, SimConfig, SimGuest};
use surface::{VramBytes, VramMapError, VramMapper};
use synthvid::{Rect, Size};
use vm_memory::GuestMemoryMmap;
use vmbus::server::ServerConfig;

/// How long the guest may take to its first whole picture.
const LIMIT: Duration = Duration::from_secs(20);

/// *Yours*: what your display wants to know. Called on the event thread, so it only passes on.
struct Display {
    rectangles: Sender<Rect>,
    screen: Arc<Mutex<Option<(u32, u32)>>>,
}

impl Observer for Display {
    fn video(&mut self, _at_ns: u64, event: &VideoEvent) {
        if let VideoEvent::Situation { width, height, .. } = event
            && let Ok(mut screen) = self.screen.lock()
        {
            *screen = Some((*width, *height));
        }
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        for rect in dirt.accepted {
            // A display that is gone is no reason to stop the guest.
            let _ = self.rectangles.send(*rect);
        }
    }
}

/// *Yours*: puts memory behind the address that the guest chose. With KVM that is a memory slot (or nothing to do, if
/// the address is RAM already). It must be there when `map` returns: the guest is told so at once.
struct Slots<M>(M);

impl<M: VramMapper> VramMapper for Slots<M> {
    fn map(&mut self, gpa: u64, len: u64) -> Result<Arc<dyn VramBytes>, VramMapError> {
        println!("the guest declares {len:#x} bytes of VRAM at {gpa:#x}");
        self.0.map(gpa, len)
    }

    fn unmap(&mut self) {
        self.0.unmap();
    }

    fn kind(&self) -> Option<VramKind> {
        self.0.kind()
    }
}

type Subscriber = BusSubscriber<GuestMemoryMmap, Display>;

/// *Yours*: the event loop that your other devices are on. The bus is one more subscriber.
fn event_loop(bus: Bus<GuestMemoryMmap, Display>) -> Result<Loop, Box<dyn Error>> {
    let mut manager = EventManager::<Subscriber>::new()?;
    // The second argument: eventfds that say "a message slot may be free", if your SynIC is KVM's own.
    let id = manager.add_subscriber(BusSubscriber::new(bus, Vec::new())?);
    let endpoint = manager.remote_endpoint();
    let (stop, stopped) = channel::<()>();
    let thread = thread::spawn(move || {
        while stopped.try_recv().is_err_and(|gone| gone == std::sync::mpsc::TryRecvError::Empty) {
            if manager.run_with_timeout(50).is_err() {
                return;
            }
        }
    });
    Ok(Loop { endpoint, id, stop, thread })
}

struct Loop {
    endpoint: RemoteEndpoint<Subscriber>,
    id: SubscriberId,
    stop: Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Loop {
    /// Other threads reach the device by a closure on the event thread; it needs no lock.
    fn picture(&self) -> Result<Option<device_model::Picture>, event_manager::Error> {
        let id = self.id;
        self.endpoint.call_blocking(move |ops: &mut dyn SubscriberOps<Subscriber = Subscriber>| {
            Ok(ops.subscriber_mut(id)?.bus().device::<Synthvid>().map(Synthvid::picture))
        })
    }
}

/// Boots the guest and gives back its picture, the rectangles it declared, and the pixels that differ from what it drew.
fn run() -> Result<(device_model::Picture, usize, usize), Box<dyn Error>> {
    let draw = |_: Size, x: u32, y: u32| (x.wrapping_mul(7) ^ y.wrapping_mul(13)) & 0x00ff_ffff;
    // *Yours*: guest RAM, the SynIC's three ends, a clock. Here they are the simulated guest's.
    let mut guest = SimGuest::new(SimConfig::new(Script::Demo, Box::new(draw)))?;
    let synic = guest.loopback();
    let clock = MonotonicClock::default();
    let parts = BusParts {
        memory: (**synic.memory()).clone(),
        signal: synic.synic().clone(),
        doorbells: synic.synic().clone(),
        inbox: synic.inbox().clone(),
        clock: Box::new(clock),
    };
    let (rectangles, declared): (_, Receiver<_>) = channel();
    let screen = Arc::new(Mutex::new(None));
    let mut bus =
        Bus::new(parts, ServerConfig::default(), Display { rectangles, screen: Arc::clone(&screen) });

    // The text is what a user of your VMM writes after --device; the table explains and checks itself.
    let options = SynthvidOptions::parse("hyperv-synthvid,vram=8M,mode=1024x768")?;
    bus.add_device(Box::new(Synthvid::new(options, Box::new(Slots(guest.vram_mapper())))?))?;
    let events = event_loop(bus)?;

    // *Yours*: run the virtual processors. Here the guest is stepped until its picture is complete.
    let until = Instant::now() + LIMIT;
    while guest.step(clock.now_ns())?.milestone != Some(Milestone::Pattern) {
        if Instant::now() > until {
            return Err("the guest drew nothing in time".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Its last DIRT is in the ring; give the event thread the time to take it.
    let picture = loop {
        let picture = events.picture()?.ok_or("there is no video device")?;
        let wrong = wrong_pixels(&picture, draw);
        if wrong == 0 || Instant::now() > until {
            break picture;
        }
        thread::sleep(Duration::from_millis(5));
    };
    drop(events.stop);
    events.thread.join().map_err(|_| "the event thread panicked")?;
    let wrong = wrong_pixels(&picture, draw);
    if let Ok(screen) = screen.lock() {
        println!("the guest's screen is {screen:?}");
    }
    Ok((picture, declared.try_iter().count(), wrong))
}

fn wrong_pixels(picture: &device_model::Picture, draw: impl Fn(Size, u32, u32) -> u32) -> usize {
    let size = Size { width: picture.width, height: picture.height };
    let places = (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y)));
    places.zip(&picture.pixels).filter(|((x, y), pixel)| **pixel & 0x00ff_ffff != draw(size, *x, *y)).count()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (picture, declared, wrong) = run()?;
    println!("{}x{}: {declared} rectangles declared, {wrong} pixels wrong", picture.width, picture.height);
    if wrong != 0 || declared == 0 {
        return Err("the host's picture is not what the guest drew".into());
    }
    Ok(())
}

#[test]
fn embedded_device_shows_what_the_guest_drew() {
    let (picture, declared, wrong) = run().unwrap();
    assert_eq!((picture.width, picture.height, wrong), (1024, 768, 0));
    assert!(declared > 0);
}
