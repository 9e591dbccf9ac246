//! The bus on a real event-manager loop, with the simulated guest in real time on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use device_model::options::SynthvidOptions;
use device_model::{Bus, BusParts, BusSubscriber, Clock, MonotonicClock, Synthvid};
use event_manager::{EventManager, SubscriberOps};
use guest_sim::{Script, SimConfig, SimGuest};
use meter::SharedMeter;
use vm_memory::GuestMemoryMmap;
use vmbus::server::ServerConfig;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

type Subscriber = BusSubscriber<GuestMemoryMmap, SharedMeter>;

/// The failure that this is for: the loop reads its timer, which an earlier event of the same batch has set anew, and
/// sleeps for good. Wake-ups that come together with doorbells and the timer make such batches.
#[test]
fn loop_answers_while_doorbells_wake_ups_and_timers_come_together() {
    let clock = MonotonicClock::default();
    let mut guest = SimGuest::new(SimConfig::new(Script::Box, Box::new(|_, x, y| x ^ y))).unwrap();
    let loopback = guest.loopback();
    let parts = BusParts {
        memory: (**loopback.memory()).clone(),
        signal: loopback.synic().clone(),
        doorbells: loopback.synic().clone(),
        inbox: loopback.inbox().clone(),
        clock: Box::new(clock),
    };
    let meter = SharedMeter::default();
    let mut bus = Bus::new(parts, ServerConfig::default(), meter.clone());
    let options = SynthvidOptions::parse("hyperv-synthvid").unwrap();
    bus.add_device(Box::new(Synthvid::new(options, Box::new(guest.vram_mapper())).unwrap())).unwrap();
    let wake = EventFd::new(EFD_NONBLOCK).unwrap();
    let waker = wake.try_clone().unwrap();

    let mut manager = EventManager::<Subscriber>::new().unwrap();
    let endpoint = manager.remote_endpoint();
    let id = manager.add_subscriber(BusSubscriber::new(bus, vec![wake]).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let event_thread = thread::spawn(move || {
        while !stopped.load(Ordering::Acquire) {
            manager.run_with_timeout(50).unwrap();
        }
    });

    let until = Instant::now() + Duration::from_secs(2);
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let _ = guest.step(clock.now_ns()).unwrap();
        waker.write(1).unwrap();
        let asked = Instant::now();
        let (sender, answer) = std::sync::mpsc::channel();
        let endpoint = endpoint.clone();
        thread::spawn(move || {
            let asked =
                endpoint.call_blocking(move |ops: &mut dyn SubscriberOps<Subscriber = Subscriber>| {
                    let wanted = ops.subscriber_mut(id)?.bus_mut().device::<Synthvid>().is_some();
                    Ok::<bool, event_manager::Error>(wanted)
                });
            // The test may have given up on the answer.
            let _ = sender.send(asked);
        });
        let there = answer.recv_timeout(Duration::from_secs(10)).expect("the event loop hangs").unwrap();
        assert!(there);
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Release);
    event_thread.join().unwrap();
    let messages = meter.with(|meter| meter.counters().dirt_messages);
    assert!(messages >= 10, "{messages} DIRT in two seconds of a moving box; slowest answer {slowest:?}");
    assert_eq!(messages, guest.stats().dirt_sent);
}
