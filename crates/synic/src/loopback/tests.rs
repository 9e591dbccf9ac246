use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use hv_abi::sint::VMBUS;

use super::*;
use crate::{GuestSignal, SignalError, Sint};

const RAM_BYTES: usize = 0x10_0000;
const PAGES: GuestPages = GuestPages::at(0x8000);

#[test]
fn pages_of_the_guest_do_not_overlap() {
    let vps = 5;
    let mut pages = vec![PAGES.hypercall_gpa()];
    for vp in 0..vps {
        pages.extend([PAGES.simp_gpa(vp), PAGES.siefp_gpa(vp), PAGES.post_gpa(vp)]);
    }
    let end = PAGES.hypercall_gpa() + GuestPages::bytes(vps);
    let expected: Vec<u64> = (0x8000..end).step_by(4096).collect();
    assert_eq!(pages, expected);
}

#[test]
fn disabled_vp_takes_no_message_until_enabled_again() {
    let host = Loopback::new(1, RAM_BYTES).expect("loopback");
    let guest = host.guest(PAGES);
    guest.enable().expect("pages in ram");
    guest.disable_vp(0).expect("no fault");
    host.synic().post_message(0, VMBUS, b"held").expect("room");
    assert_eq!(guest.take_message(0, Sint::VMBUS), Ok(None));
    assert!(host.synic().retry());
    guest.enable_vp(0).expect("pages in ram");
    let taken = guest.take_message(0, Sint::VMBUS).expect("in ram").expect("delivered");
    assert_eq!((&*taken.payload, taken.pending), (&b"held"[..], false));
    assert_eq!(host.interrupts().count(0), 1);
}

#[test]
fn post_before_the_hypercall_page_is_enabled_is_denied() {
    let host = Loopback::new(1, RAM_BYTES).expect("loopback");
    let guest = host.guest(PAGES);
    assert_eq!(guest.post(1, b"early"), Ok(6));
    guest.enable().expect("pages in ram");
    assert_eq!(guest.post(1, b"in time"), Ok(0));
    assert_eq!(host.inbox().len(), 1);
}

#[test]
fn pages_outside_ram_fault_the_guest() {
    let host = Loopback::new(1, RAM_BYTES).expect("loopback");
    let guest = host.guest(GuestPages::at(RAM_BYTES as u64));
    assert!(guest.enable().is_err());
    assert!(guest.post(1, b"x").is_err());
    assert!(guest.take_message(0, Sint::VMBUS).is_err());
}

/// The pending flag protocol across two threads: no message is lost, doubled or swapped, and the retry timer
/// is never needed. Messages come in pairs, so that no later post repairs a wakeup that was lost: the second
/// of a pair meets the guest as it frees the slot of the first.
#[test]
fn racing_guest_and_host_lose_no_message_without_retry() {
    const PAIRS: u32 = 60_000;
    const PATIENCE: Duration = Duration::from_secs(20);
    let host = Loopback::new(1, RAM_BYTES).expect("loopback");
    let guest = host.guest(PAGES);
    guest.enable().expect("pages in ram");
    let (synic, taken) = (host.synic().clone(), Arc::new(AtomicU32::new(0)));
    let seen = taken.clone();
    let poster = thread::spawn(move || {
        for first in (0..PAIRS * 2).step_by(2) {
            for number in [first, first + 1] {
                synic.post_message(0, VMBUS, &number.to_le_bytes())?;
            }
            let deadline = Instant::now() + PATIENCE;
            while seen.load(Ordering::Acquire) < first + 2 && Instant::now() < deadline {
                thread::yield_now();
            }
        }
        Ok::<(), SignalError>(())
    });
    let mut deadline = Instant::now() + PATIENCE;
    let mut expected = 0;
    while expected < PAIRS * 2 && Instant::now() < deadline {
        if let Some(message) = guest.take_message(0, Sint::VMBUS).expect("in ram") {
            assert_eq!(*message.payload, u32::to_le_bytes(expected));
            expected += 1;
            taken.store(expected, Ordering::Release);
            deadline = Instant::now() + PATIENCE;
        } else {
            thread::yield_now();
        }
    }
    assert_eq!(expected, PAIRS * 2, "messages taken");
    assert_eq!(poster.join().expect("no panic"), Ok(()));
    assert_eq!(host.synic().stats().snapshot().messages_delivered, u64::from(PAIRS * 2));
}
