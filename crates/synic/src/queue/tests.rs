use std::sync::atomic::{AtomicU32, Ordering};

use hv_abi::sint::VMBUS;
use vm_memory::{Bytes, GuestMemoryMmap};

use super::*;
use crate::page::on_atomic;

const SIMP: GuestAddress = GuestAddress(0x1000);
const SLOT_TYPE: GuestAddress = GuestAddress(0x1200);

fn ram() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)]).expect("ram")
}

fn payload(byte: u8) -> Payload {
    Payload::try_from(&[byte][..]).expect("fits")
}

fn free_slot(memory: &GuestMemoryMmap) {
    on_atomic(memory, SLOT_TYPE, |kind: &AtomicU32| kind.store(0, Ordering::Release)).expect("in ram");
}

fn in_slot(memory: &GuestMemoryMmap) -> u8 {
    memory.read_obj(GuestAddress(0x1210)).expect("in ram")
}

#[test]
fn second_message_follows_when_the_slot_is_free() {
    let (memory, mut queue) = (ram(), SintQueue::new(8));
    queue.push(payload(1)).expect("room");
    queue.push(payload(2)).expect("room");
    let progress = queue.deliver(&memory, SIMP, Sint::VMBUS);
    assert_eq!(progress, Ok(Progress { delivered: 1, busy: true }));
    assert_eq!((in_slot(&memory), queue.len()), (1, 1));
    free_slot(&memory);
    let progress = queue.deliver(&memory, SIMP, Sint::VMBUS);
    assert_eq!(progress, Ok(Progress { delivered: 1, busy: false }));
    assert_eq!((in_slot(&memory), queue.len()), (2, 0));
}

#[test]
fn full_queue_refuses_and_keeps_what_it_has() {
    let mut queue = SintQueue::new(2);
    assert_eq!(queue.push(payload(1)), Ok(()));
    assert_eq!(queue.push(payload(2)), Ok(()));
    assert_eq!(queue.push(payload(3)), Err(QueueFull { limit: 2 }));
    assert_eq!((queue.len(), queue.clear(), queue.is_empty()), (2, 2, true));
}

#[test]
fn message_for_a_page_outside_ram_stays_queued() {
    let (memory, mut queue) = (ram(), SintQueue::new(2));
    queue.push(payload(1)).expect("room");
    let fault = queue.deliver(&memory, GuestAddress(0x9000), Sint::VMBUS);
    assert_eq!(fault, Err(PageFault { gpa: 0x9200 }));
    assert_eq!(queue.len(), 1);
}

#[test]
fn vp_queues_count_queued_delivered_busy_and_dropped() {
    let (memory, stats) = (ram(), SynicStats::default());
    let mut queues = VpQueues::new(3, 2);
    queues.push(Sint::VMBUS, payload(1), &stats).expect("room");
    queues.push(Sint::VMBUS, payload(2), &stats).expect("room");
    assert_eq!(
        queues.push(Sint::VMBUS, payload(3), &stats),
        Err(SignalError::QueueFull { vp: 3, sint: VMBUS, limit: 2 })
    );
    assert_eq!(queues.deliver(&memory, SIMP, Sint::VMBUS, &stats), Ok(true));
    assert_eq!(queues.deliver(&memory, SIMP, Sint::VMBUS, &stats), Ok(false));
    assert!(queues.is_waiting(Sint::VMBUS) && queues.any_waiting());
    assert!(queues.deliver(&memory, GuestAddress(0x9000), Sint::VMBUS, &stats).is_err());
    queues.clear(&stats);
    assert!(!queues.any_waiting());

    let seen = stats.snapshot();
    assert_eq!((seen.messages_queued, seen.messages_delivered, seen.messages_dropped), (2, 1, 1));
    assert_eq!((seen.slot_busy, seen.page_faults), (2, 1));
}
