//! Storms of random guest actions over the whole bus: registers, hypercalls, messages, memory, rings, video messages.
//!
//! The seed is fixed. A storm may do what it likes to its own guest; the host must neither panic nor stall nor hold more than
//! its bounds, and the next well-behaved guest in the same machine must find everything as on the first day.

use std::time::{Duration, Instant};

use hv_abi::{hypercall, msr};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use synic::Sint;
use synthvid::Rect;
use tests::in_process::{InProcess, RING_GPA, RING_PAGES, SYNIC_GPA, VPS, VRAM_BYTES, VRAM_GPA, WINDOW_GPA};
use vm_memory::{Bytes, GuestAddress};
use vmbus::message::MessageType;

const SEED: [u8; 32] = *b"any bytes in any ring or message";
const STORMS: u32 = 2000;
const MAX_ACTIONS: usize = 80;
/// A turn of the host takes microseconds; this is for machines that do a lot else.
const LONGEST_TURN: Duration = Duration::from_secs(10);
/// The first GPADL handle of Linux, which ours takes too.
const FIRST_GPADL: u32 = 0xe1e10;
const PAGE: u64 = 4096;

/// One thing that a hostile guest does.
#[derive(Clone, Debug)]
enum Action {
    Post {
        vp: u32,
        connection: u32,
        message: Vec<u8>,
    },
    Signal(u32),
    Hypercall {
        control: u64,
        rdx: u64,
        r8: u64,
    },
    ReadMsr {
        vp: u32,
        index: u32,
    },
    WriteMsr {
        vp: u32,
        index: u32,
        value: u64,
    },
    /// Bytes into the guest's own memory: SynIC pages and rings are where the host looks.
    Scribble {
        gpa: u64,
        bytes: Vec<u8>,
    },
    /// A word of a ring's header.
    RingHeader {
        to_host: bool,
        offset: u64,
        value: u32,
    },
    /// Bytes where the next packet goes.
    RawPacket(Vec<u8>),
    TakeMessage {
        vp: u32,
        sint: u8,
    },
    FreeSlot {
        vp: u32,
        sint: u8,
    },
    TakeFlags {
        vp: u32,
        sint: u8,
    },
    Wait(u64),
    /// Behaves for once, so that what follows meets an open channel.
    Boot,
}

/// Numbers that mean something somewhere, their neighbours, and any other.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..8_u32,
        2 => prop::sample::select(vec![FIRST_GPADL, FIRST_GPADL + 1, 16, 63, 64, 128, 2047, 2048, 4096, 8190, 65535]),
        1 => prop::sample::select(vec![0x7fff_ffff, 0x8000_0000, u32::MAX - 7, u32::MAX]),
        2 => any::<u32>(),
    ]
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(number(), 0..50)
        .prop_map(|words| words.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// A message of the table, as long as it has to be, with any body; sometimes cut, sometimes too long.
fn control_message() -> impl Strategy<Value = Vec<u8>> {
    let whole = (prop::sample::select(MessageType::ALL.to_vec()), words(), prop::bool::weighted(0.8));
    prop_oneof![
        6 => whole.prop_map(|(kind, body, exact)| {
            let mut message = (kind as u32).to_le_bytes().to_vec();
            message.extend([0; 4]);
            message.extend(body);
            if exact || message.len() > 240 {
                message.resize(kind.size(), 0);
            }
            message
        }),
        2 => gpadl_header(),
        1 => prop::collection::vec(any::<u8>(), 0..=300),
    ]
}

/// GPADL_HEADERs that get past the first checks more often than noise does.
fn gpadl_header() -> impl Strategy<Value = Vec<u8>> {
    (number(), 1..=200_u16, prop::collection::vec(any::<u16>(), 0..=26)).prop_map(|(handle, pages, gpns)| {
        let mut message: Vec<u8> =
            [8, 0, 1, handle].iter().flat_map(|word| u32::to_le_bytes(*word)).collect();
        message.extend((8 + 8 * pages).to_le_bytes());
        message.extend(1_u16.to_le_bytes());
        message.extend((u32::from(pages) * 4096).to_le_bytes());
        message.extend([0; 4]);
        message.extend(gpns.iter().flat_map(|gpn| u64::from(*gpn).to_le_bytes()));
        message
    })
}

/// A packet as it lies in the ring: descriptor, payload, padding, trailer; mostly with a length that is right.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![6 => video_message(), 1 => words()];
    let descriptor = (
        prop_oneof![9 => Just(6_u16), 1 => any::<u16>()],
        prop_oneof![9 => Just(2_u16), 1 => any::<u16>()],
        prop_oneof![9 => Just(None), 1 => any::<u16>().prop_map(Some)],
        prop_oneof![9 => Just(0_u16), 1 => any::<u16>()],
    );
    (descriptor, payload).prop_map(|((kind, offset8, len8, flags), payload)| {
        let right = u16::try_from(2 + payload.len().div_ceil(8)).unwrap_or(u16::MAX);
        let fields = [kind, offset8, len8.unwrap_or(right), flags];
        let mut packet: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        packet.extend([0; 8]);
        packet.extend(payload);
        packet.resize(packet.len().next_multiple_of(8) + 8, 0);
        packet
    })
}

/// A pipe frame around a video header around a body.
fn video_message() -> impl Strategy<Value = Vec<u8>> {
    let pipe_kind = prop_oneof![19 => Just(1_u32), 1 => number()];
    let lie = prop_oneof![19 => Just(0_u32), 1 => number()];
    (pipe_kind, lie, 0..18_u32, video_body()).prop_map(|(pipe_kind, lie, number, body)| {
        let len = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
        let header = [pipe_kind, len.wrapping_add(lie), number, len];
        let mut message: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        message.extend(body);
        message
    })
}

fn video_body() -> impl Strategy<Value = Vec<u8>> {
    let edge = prop_oneof![4 => -10..1100_i32, 1 => any::<i32>()];
    let rects = prop::collection::vec((edge.clone(), edge.clone(), edge.clone(), edge), 0..20);
    let dirt = (any::<bool>(), rects, any::<u8>()).prop_map(|(lie, rects, count)| {
        let mut body = vec![0, if lie { count } else { rects.len().to_le_bytes()[0] }];
        let edges = rects.iter().flat_map(|(left, top, right, bottom)| [left, top, right, bottom]);
        body.extend(edges.flat_map(|edge| edge.to_le_bytes()));
        body
    });
    let situation = (number(), number(), number(), number(), prop::sample::select(vec![0_u8, 8, 16, 24, 32]));
    let situation = situation.prop_map(|(offset, width, height, pitch, depth)| {
        let mut body = vec![0; 8];
        body.extend([1, 1]);
        body.extend(offset.to_le_bytes());
        body.push(depth);
        body.extend([width, height, pitch].iter().flat_map(|word| word.to_le_bytes()));
        body
    });
    let places =
        vec![VRAM_GPA, 0, SYNIC_GPA, RING_GPA, WINDOW_GPA, WINDOW_GPA + VRAM_BYTES, 1 << 40, u64::MAX - 4095];
    let vram = (prop_oneof![4 => prop::sample::select(places), 1 => any::<u64>()], 0..3_u8)
        .prop_map(|(gpa, given)| [&gpa.to_le_bytes()[..], &[given], &gpa.to_le_bytes()].concat());
    let pointer = (0..4_u8, 0..100_u32, 0..100_u32, words()).prop_map(|(format, width, height, pixels)| {
        let mut body = vec![format, 1];
        body.extend([width, height, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
        body.extend(pixels);
        body
    });
    prop_oneof![dirt, situation, vram, pointer, words(), prop::collection::vec(any::<u8>(), 0..64)]
}

fn synthetic_msr() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => prop::sample::select(vec![
            msr::GUEST_OS_ID, msr::HYPERCALL, msr::RESET, msr::SCONTROL, msr::SIEFP, msr::SIMP, msr::EOM,
            msr::SINT0, msr::SINT0 + 2, msr::SINT15, msr::CRASH_CTL, msr::REFERENCE_TSC, msr::VP_ASSIST_PAGE,
        ]),
        1 => msr::BASE..msr::BASE + msr::COUNT,
        1 => any::<u32>(),
    ]
}

fn msr_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..0x900_u64, 0..2_u64).prop_map(|(page, enable)| (page * PAGE) | enable),
        2 => prop::sample::select(vec![0, 1, 0xf3, 0x1_00f3, 0x2_00f3, 0x1_0000, u64::MAX]),
        1 => any::<u64>(),
    ]
}

/// Addresses at which the host looks for something, and a few where there is nothing.
fn address() -> impl Strategy<Value = u64> {
    let pages = vec![
        SYNIC_GPA + PAGE,
        SYNIC_GPA + 2 * PAGE,
        SYNIC_GPA + 3 * PAGE,
        RING_GPA,
        RING_GPA + PAGE,
        RING_GPA + RING_PAGES * PAGE,
        RING_GPA + (RING_PAGES + 1) * PAGE,
        VRAM_GPA,
    ];
    (prop::sample::select(pages), 0..PAGE).prop_map(|(page, offset)| page + offset)
}

fn action() -> impl Strategy<Value = Action> {
    let vp = 0..VPS;
    let sint = prop_oneof![6 => Just(2_u8), 1 => 0..16_u8];
    let place = (vp.clone(), sint);
    prop_oneof![
        12 => (vp.clone(), prop_oneof![8 => prop::sample::select(vec![1_u32, 4]), 1 => number()], control_message())
            .prop_map(|(vp, connection, message)| Action::Post { vp, connection, message }),
        3 => number().prop_map(Action::Signal),
        3 => (prop_oneof![Just(u64::from(hypercall::POST_MESSAGE)), Just(u64::from(hypercall::SIGNAL_EVENT)), any::<u64>()],
              prop_oneof![address(), any::<u64>()], any::<u64>())
            .prop_map(|(control, rdx, r8)| Action::Hypercall { control, rdx, r8 }),
        1 => (vp.clone(), synthetic_msr()).prop_map(|(vp, index)| Action::ReadMsr { vp, index }),
        3 => (vp, synthetic_msr(), msr_value()).prop_map(|(vp, index, value)| Action::WriteMsr { vp, index, value }),
        4 => (address(), prop::collection::vec(any::<u8>(), 1..300)).prop_map(|(gpa, bytes)| Action::Scribble { gpa, bytes }),
        4 => (any::<bool>(), 0..80_u64, number()).prop_map(|(to_host, word, value)| Action::RingHeader { to_host, offset: word * 4, value }),
        24 => packet().prop_map(Action::RawPacket),
        6 => place.clone().prop_map(|(vp, sint)| Action::TakeMessage { vp, sint }),
        1 => place.clone().prop_map(|(vp, sint)| Action::FreeSlot { vp, sint }),
        2 => place.prop_map(|(vp, sint)| Action::TakeFlags { vp, sint }),
        2 => (0..2_000_000_000_u64).prop_map(Action::Wait),
        3 => Just(Action::Boot),
    ]
}

/// What the host answers is of no interest here, only that it does.
fn perform(guest: &mut InProcess, action: &Action) -> Result<(), TestCaseError> {
    match action {
        Action::Post { vp, connection, message } => {
            let _ = guest.cpu.post_from(*vp, *connection, message);
        }
        Action::Signal(connection) => {
            let _ = guest.cpu.signal(*connection);
        }
        Action::Hypercall { control, rdx, r8 } => {
            let _ = guest.cpu.hypercall(*control, *rdx, *r8);
        }
        Action::ReadMsr { vp, index } => {
            let _ = guest.cpu.read_msr(*vp, *index);
        }
        Action::WriteMsr { vp, index, value } => {
            let _ = guest.cpu.write_msr(*vp, *index, *value);
        }
        Action::Scribble { gpa, bytes } => {
            // A guest that writes where there is no memory has not done anything.
            let _ = guest.memory.ram().write_slice(bytes, GuestAddress(*gpa));
        }
        Action::RingHeader { to_host, offset, value } => {
            let ring = RING_GPA + if *to_host { 0 } else { RING_PAGES * PAGE };
            let _ = guest.memory.ram().write_slice(&value.to_le_bytes(), GuestAddress(ring + offset));
        }
        Action::RawPacket(packet) => guest.send_raw(packet),
        Action::TakeMessage { vp, sint } => {
            let _ = Sint::new(*sint).map(|sint| guest.cpu.take_message(*vp, sint));
        }
        Action::FreeSlot { vp, sint } => {
            let _ = Sint::new(*sint).map(|sint| guest.cpu.free_slot(*vp, sint));
        }
        Action::TakeFlags { vp, sint } => {
            let _ = Sint::new(*sint).map(|sint| guest.cpu.take_flags(*vp, sint));
        }
        Action::Wait(ns) => guest.wait(*ns),
        Action::Boot => well_behaved_guest_draws(guest)?,
    }
    Ok(())
}

/// Contact, offer, rings, handshake; then a pixel gets to the host's surface by a DIRT, and nothing beside it does.
fn well_behaved_guest_draws(guest: &mut InProcess) -> Result<(), TestCaseError> {
    guest
        .boot()
        .map_err(|error| TestCaseError::fail(format!("a well-behaved guest does not come up: {error:#}")))?;
    let colour = u32::try_from(guest.clock.now_ns() & 0x00ff_ffff).unwrap_or(0) | 1;
    let drawn = guest.draw(500, 300, colour).and_then(|()| guest.send_dirt(&[Rect::new(500, 300, 501, 301)]));
    drawn.map_err(|error| TestCaseError::fail(format!("a well-behaved guest cannot draw: {error:#}")))?;
    guest.host_turn();
    prop_assert_eq!(guest.video().surface().pixel(500, 300), Some(colour));
    Ok(())
}

fn host_turn_within_bounds(guest: &mut InProcess) -> Result<(), TestCaseError> {
    let started = Instant::now();
    guest.host_turn();
    prop_assert!(started.elapsed() < LONGEST_TURN, "a turn of the host took {:?}", started.elapsed());
    let (waiting, capacity) = guest.inbox();
    prop_assert!(waiting <= capacity);
    // 16 bits a pixel in VRAM are 32 in the surface.
    let surface_bytes = guest.video().surface().size().area() * 4;
    prop_assert!(surface_bytes <= 2 * VRAM_BYTES, "the surface has {} bytes", surface_bytes);
    Ok(())
}

#[test]
fn random_storms_leave_a_host_that_serves_the_next_guest() {
    let config =
        Config { cases: STORMS, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let storm = prop::collection::vec(action(), 1..MAX_ACTIONS);
    // Every storm meets what the storms before it left behind.
    let machine = std::cell::RefCell::new(InProcess::new().expect("memory for a guest"));
    let outcome = runner.run(&storm, |actions| {
        let mut guest = machine.borrow_mut();
        well_behaved_guest_draws(&mut guest)?;
        for action in &actions {
            perform(&mut guest, action)?;
            host_turn_within_bounds(&mut guest)?;
        }
        well_behaved_guest_draws(&mut guest)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Storms that break nothing prove nothing: every layer must have seen some.
    let faults = machine.borrow().meter.with(|meter| meter.counters().faults);
    println!("{faults:?}");
    for (layer, count) in
        [("control", faults.control), ("ring", faults.ring), ("pipe", faults.pipe), ("device", faults.device)]
    {
        assert!(count > 20, "the storms broke only {count} rules of layer {layer}");
    }
}

#[test]
fn machine_reset_in_the_middle_of_a_storm_forgets_the_guest() {
    let config = Config { cases: STORMS / 4, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let storm = prop::collection::vec(action(), 1..MAX_ACTIONS / 2);
    let outcome = runner.run(&storm, |actions| {
        let mut guest = InProcess::new().map_err(|error| TestCaseError::fail(error.to_string()))?;
        for action in &actions {
            perform(&mut guest, action)?;
        }
        guest.reset();
        host_turn_within_bounds(&mut guest)?;
        prop_assert_eq!(guest.inbox().0, 0);
        prop_assert!(guest.video().situation().is_none());
        well_behaved_guest_draws(&mut guest)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
