use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use event_manager::{EventManager, SubscriberOps};
use synic::{DoorbellError, Doorbells, GuestSignal, Inbox, Payload, PostedMessage, SignalError};
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmbus::Guid;
use vmbus::server::{OfferParams, PipeMode, ServerConfig};
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;
use crate::bus::BusParts;
use crate::channel::{ChannelDevice, DeviceContext, DeviceFault};
use crate::clock::Clock;
use crate::observer::NoObserver;

/// Connection of control messages from VMBus 5.0 on.
const CONTROL: u32 = 4;
const GPADL: u32 = 7;

/// A guest's slots: full or with room for everything; a message may take time.
#[derive(Default)]
struct Slots {
    full: AtomicBool,
    posted: AtomicU64,
    cost_ns: AtomicU64,
    time: Arc<AtomicU64>,
}

impl GuestSignal for Slots {
    fn post_message(&self, vp: u32, sint: u8, _payload: &[u8]) -> Result<(), SignalError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(SignalError::QueueFull { vp, sint, limit: 0 });
        }
        self.posted.fetch_add(1, Ordering::Relaxed);
        self.time.fetch_add(self.cost_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }

    fn signal_event(&self, _vp: u32, _sint: u8, _flag: u16) -> Result<(), SignalError> {
        Ok(())
    }

    fn reset_messages(&self) {}

    fn retry(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct Bells(Mutex<BTreeMap<u32, EventFd>>);

impl Bells {
    fn ring_all(&self) -> usize {
        let bells = self.0.lock().unwrap();
        bells.values().for_each(|bell| bell.write(1).unwrap());
        bells.len()
    }
}

impl Doorbells for Bells {
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        self.0.lock().unwrap().insert(connection_id, fd.try_clone().unwrap());
        Ok(())
    }

    fn unregister(&self, connection_id: u32, _fd: &EventFd) -> Result<(), DoorbellError> {
        self.0.lock().unwrap().remove(&connection_id);
        Ok(())
    }
}

struct SharedClock(Arc<AtomicU64>);

impl Clock for SharedClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Has something to do an hour after it was opened, by the bus's clock.
struct Patient {
    due_ns: Option<u64>,
    ticks: Arc<AtomicU64>,
}

const HOUR_NS: u64 = 3_600_000_000_000;

impl ChannelDevice for Patient {
    fn offer(&self) -> OfferParams {
        OfferParams {
            interface_type: Guid::from_u128(1),
            instance: Guid::from_u128(2),
            pipe: PipeMode::Raw,
            mmio_megabytes: 0,
        }
    }

    fn opened(&mut self, context: &mut DeviceContext<'_>) {
        self.due_ns = Some(context.now_ns + HOUR_NS);
    }

    fn receive(&mut self, _payload: &[u8], _context: &mut DeviceContext<'_>) -> Result<(), DeviceFault> {
        Ok(())
    }

    fn poll_transmit(&mut self, _buffer: &mut [u8]) -> Option<usize> {
        None
    }

    fn closed(&mut self, _context: &mut DeviceContext<'_>) {}

    fn tick(&mut self, _context: &mut DeviceContext<'_>) {
        self.due_ns = None;
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.due_ns
    }
}

type Subscriber = BusSubscriber<GuestMemoryMmap, NoObserver>;

/// A loop with one device, and the guest's ends of everything.
struct Rig {
    manager: EventManager<Subscriber>,
    slots: Arc<Slots>,
    bells: Arc<Bells>,
    inbox: Arc<Inbox>,
    wake: EventFd,
    time: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
}

impl Rig {
    fn new() -> Self {
        let (time, ticks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let slots = Arc::new(Slots { time: Arc::clone(&time), ..Slots::default() });
        let bells = Arc::<Bells>::default();
        let inbox = Arc::new(Inbox::new(16).unwrap());
        let parts = BusParts {
            memory: GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap(),
            signal: Arc::clone(&slots) as Arc<dyn GuestSignal>,
            doorbells: Arc::clone(&bells) as Arc<dyn Doorbells>,
            inbox: Arc::clone(&inbox),
            clock: Box::new(SharedClock(Arc::clone(&time))),
        };
        let mut bus = Bus::new(parts, ServerConfig::default(), NoObserver);
        bus.add_device(Box::new(Patient { due_ns: None, ticks: Arc::clone(&ticks) })).unwrap();
        let wake = EventFd::new(EFD_NONBLOCK).unwrap();
        let watched = wake.try_clone().unwrap();
        let mut manager = EventManager::new().unwrap();
        manager.add_subscriber(BusSubscriber::new(bus, vec![watched]).unwrap());
        Self { manager, slots, bells, inbox, wake, time, ticks }
    }

    fn post(&self, words: &[u32], bytes: usize) {
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        message.resize(bytes, 0);
        let payload = Payload::try_from(&message[..]).unwrap();
        let _ = self.inbox.push(PostedMessage { connection_id: CONTROL, payload });
    }

    /// Contact with VMBus 5.3, and four pages lent to the channel.
    fn prepare(&mut self) {
        self.post(&[14, 0, 0x0005_0003, 0, 2], 40);
        self.post(&[3, 0], 8);
        self.post(&[8, 0, 1, GPADL, 40 | 1 << 16, 4 * 4096, 0, 1, 0, 2, 0, 3, 0, 4, 0], 60);
        self.turn();
    }

    fn post_open(&self) {
        self.post(&[5, 0, 1, 1, GPADL, 0, 2], 148);
    }

    /// One turn of the loop, with nothing to wait for.
    fn turn(&mut self) -> usize {
        self.manager.run_with_timeout(0).unwrap()
    }
}

#[test]
fn work_that_is_due_is_done_with_the_next_event_and_does_not_wait_for_the_timer() {
    let mut rig = Rig::new();
    rig.prepare();
    rig.post_open();
    rig.turn();
    assert_eq!(rig.bells.ring_all(), 1, "the channel is not open");
    rig.turn();
    assert_eq!(rig.ticks.load(Ordering::Relaxed), 0);

    rig.time.store(HOUR_NS, Ordering::Relaxed);
    rig.wake.write(1).unwrap();
    assert_eq!(rig.turn(), 1, "one event, the wake-up");
    assert_eq!(rig.ticks.load(Ordering::Relaxed), 1);
}

#[test]
fn doorbell_of_a_channel_that_had_to_wait_for_a_slot_is_watched() {
    let mut rig = Rig::new();
    rig.prepare();
    rig.slots.full.store(true, Ordering::Relaxed);
    // Its answer waits for a slot, and all that comes later waits behind it.
    rig.post(&[8, 0, 1, GPADL + 1, 40 | 1 << 16, 4 * 4096, 0, 1, 0, 2, 0, 3, 0, 4, 0], 60);
    rig.post_open();
    rig.turn();
    assert_eq!(rig.bells.ring_all(), 0, "the channel is open although the guest takes no message");

    rig.slots.full.store(false, Ordering::Relaxed);
    rig.wake.write(1).unwrap();
    rig.turn();
    assert_eq!(rig.bells.ring_all(), 1, "the channel is not open");
    assert_eq!(rig.turn(), 1, "nobody hears the doorbell");
}

#[test]
fn messages_that_take_long_are_spread_over_turns_and_none_is_lost() {
    let mut rig = Rig::new();
    rig.prepare();
    let before = rig.slots.posted.load(Ordering::Relaxed);
    let answered = |rig: &Rig| rig.slots.posted.load(Ordering::Relaxed) - before;
    rig.slots.cost_ns.store(3_000_000, Ordering::Relaxed);
    for _ in 0..10 {
        // No such GPADL, which is answered.
        rig.post(&[11, 0, 1, 99], 16);
    }
    rig.turn();
    assert!((1..=3).contains(&answered(&rig)), "{} answers of 3 ms each in one turn", answered(&rig));
    for _ in 0..20 {
        rig.turn();
    }
    assert_eq!(answered(&rig), 10);
}
