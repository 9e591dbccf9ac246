//! Guests that never stop and never read: the host's memory does not grow with what they send, and the next guest is served.

use std::fs;

use anyhow::{Context, Result, ensure};
use synic::Sint;
use synthvid::Rect;
use synthvid::wire::{self, MessageType};
use tests::in_process::{InProcess, VRAM_GPA};

/// Messages of a flood. What one leaves behind in the host times this would be hundreds of MiB.
const FLOOD: u32 = 100_000;
/// How much more memory the process may have afterwards; the tables of the bus, filled to their bounds, are 17 MiB.
const GROWTH_BYTES: u64 = 32 << 20;
/// Messages after which the host has a turn: more than its inbox holds.
const BETWEEN_TURNS: u32 = 200;
/// Connection of control messages from VMBus 5.0 on.
const CONTROL: u32 = 4;

/// Bytes of this process that are in memory.
fn resident() -> Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).context("statm has seven fields")?.parse()?;
    Ok(pages * 4096)
}

/// A guest of its own for each flood, with every page that it will use touched.
fn guest() -> Result<InProcess> {
    let mut guest = InProcess::new()?;
    guest.boot()?;
    Ok(guest)
}

/// The memory of this process has not grown with the flood, and the machine has a host that works.
fn assert_bounded(guest: &mut InProcess, before: u64) -> Result<()> {
    let after = resident()?;
    println!("{} KiB before, {} KiB after", before >> 10, after >> 10);
    ensure!(after.saturating_sub(before) < GROWTH_BYTES, "{before:#x} bytes before, {after:#x} after");
    let (waiting, capacity) = guest.inbox();
    ensure!(waiting <= capacity, "{waiting} messages wait, limit is {capacity}");
    guest.boot()?;
    guest.draw(3, 5, 0x0012_3456)?;
    guest.send_dirt(&[Rect::new(0, 0, 8, 8)])?;
    guest.host_turn();
    ensure!(guest.video().surface().pixel(3, 5) == Some(0x0012_3456), "the next guest's pixel is not there");
    Ok(())
}

/// Posts `FLOOD` messages without reading an answer; the host works in between.
fn flood_of_messages(message: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut guest = guest()?;
    let before = resident()?;
    for number in 0..FLOOD {
        guest.cpu.post(CONTROL, &message(number))?;
        if number % BETWEEN_TURNS == 0 {
            guest.host_turn();
        }
    }
    assert_bounded(&mut guest, before)
}

/// Posts `FLOOD` messages and reads every answer, so that nothing but the bounds of its tables holds the host back.
fn polite_flood_of_messages(message: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut guest = guest()?;
    let before = resident()?;
    for number in 0..FLOOD {
        guest.cpu.post(CONTROL, &message(number))?;
        guest.host_turn();
        while guest.cpu.take_message(0, Sint::VMBUS)?.is_some() {
            guest.host_turn();
        }
    }
    assert_bounded(&mut guest, before)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// GPADL_HEADER with handle `handle` for `pages` pages, of which it brings `given` along.
fn gpadl_header(handle: u32, pages: u32, given: u32) -> Vec<u8> {
    let mut message = words(&[8, 0, 1, handle, (8 + 8 * pages) | 1 << 16, pages * 4096, 0]);
    message.extend((0..given).flat_map(|page| u64::from(0x300 + page).to_le_bytes()));
    message
}

/// Message `number` of a flood of page lists, each as long as one can be: a header and 292 bodies.
fn longest_page_lists(number: u32) -> Vec<u8> {
    const MESSAGES: u32 = 293;
    let (handle, part) = (1 + number / MESSAGES, number % MESSAGES);
    if part == 0 {
        return gpadl_header(handle, 8190, 26);
    }
    let pages: u32 = if part == MESSAGES - 1 { 16 } else { 28 };
    let mut message = words(&[9, 0, part, handle]);
    message.extend((0..pages).flat_map(|page| u64::from(0x300 + page).to_le_bytes()));
    message
}

/// Floods a machine of its own and looks at what is left.
type Flood = fn() -> Result<()>;

/// One test after the other: each looks at the memory of the whole process.
#[test]
fn floods_leave_bounded_memory_and_a_host_that_serves_the_next_guest() -> Result<()> {
    let floods: [(&str, Flood); 9] = [
        ("page lists that are never finished", || {
            polite_flood_of_messages(|n| gpadl_header(n + 1, 8190, 26))
        }),
        ("page lists that nobody takes back", || polite_flood_of_messages(longest_page_lists)),
        ("page lists whose answers are not read", || flood_of_messages(|n| gpadl_header(n + 1, 26, 26))),
        ("requests whose refusals are not read", || flood_of_messages(|n| gpadl_header(n % 7, 1, 0))),
        ("channels opened and closed", || {
            flood_of_messages(|n| if n % 2 == 0 { open_channel(n) } else { words(&[7, 0, 1]) })
        }),
        ("contacts", || flood_of_messages(|_| words(&[14, 0, 0x0005_0003, 0, 2, 0, 0, 0, 0, 0]))),
        ("video requests whose answers are not read", flood_of_video_requests),
        ("doorbells without a packet", flood_of_doorbells),
        ("VRAM that moves and screens that change", flood_of_screens),
    ];
    for (name, flood) in floods {
        println!("{name}");
        flood().with_context(|| format!("flood of {name}"))?;
    }
    Ok(())
}

fn open_channel(number: u32) -> Vec<u8> {
    let mut message = words(&[5, 0, 1, number, 0xe1e10, 0, 64]);
    message.resize(148, 0);
    message
}

fn flood_of_video_requests() -> Result<()> {
    let mut guest = guest()?;
    let before = resident()?;
    let mut message = [0; 64];
    let len = wire::encode(&mut message, MessageType::ResolutionRequest, &[&[64]]).context("it fits")?;
    let message = message.get(..len).context("it fits")?;
    for _ in 0..FLOOD {
        // Once the guest's own ring is full the host has stopped reading, as it should.
        if guest.send(message).is_err() {
            break;
        }
        guest.host_turn();
    }
    assert_bounded(&mut guest, before)
}

fn flood_of_doorbells() -> Result<()> {
    let mut guest = guest()?;
    let (_, connection) = guest.video_channel().context("the channel is open")?;
    let before = resident()?;
    for number in 0..FLOOD {
        guest.cpu.signal(connection.0);
        if number % BETWEEN_TURNS == 0 {
            guest.host_turn();
        }
    }
    assert_bounded(&mut guest, before)
}

fn flood_of_screens() -> Result<()> {
    let mut guest = guest()?;
    let before = resident()?;
    let mut message = [0; 64];
    for number in 0..FLOOD / 10 {
        let gpa = VRAM_GPA.to_le_bytes();
        let vram = [&gpa[..], &[1], &gpa].concat();
        let (width, height) = (64 + number % 900, 64 + number % 700);
        let shape = words(&[width, height, width * 4]);
        let situation = [&[0; 8][..], &[1, 1], &[0; 4], &[32], &shape].concat();
        for (kind, body) in [(MessageType::VramLocation, &vram), (MessageType::SituationUpdate, &situation)] {
            let len = wire::encode(&mut message, kind, &[body]).context("it fits")?;
            if guest.send(message.get(..len).context("it fits")?).is_err() {
                return assert_bounded(&mut guest, before);
            }
        }
        guest.host_turn();
        guest.wait(200_000_000);
    }
    assert_bounded(&mut guest, before)
}
