//! A DIRT message from the guest's ring to the host's surface, through the real bus and device: what one message costs the host's
//! event thread, and how that grows with its rectangles of 16 by 16 pixels.
//!
//! `from_ring_to_surface` is all of it: packet, pipe, protocol, clipping, pixels, observer. `copy_alone` copies the same pixels with
//! nothing around it; the difference is what a message costs beside its pixels.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use surface::{GuestRamWindow, Surface};
use synthvid::Rect;
use tests::in_process::{InProcess, VRAM_BYTES, VRAM_GPA};

const RECTS: [u32; 3] = [1, 8, 255];
/// Edge of a rectangle, in pixels.
const EDGE: i32 = 16;
/// Rectangles side by side on a screen of 1024 pixels.
const COLUMNS: u32 = 64;

fn main() {
    divan::main();
}

/// `count` rectangles that do not touch, spread over the screen as a hyperv_drm guest's cursor and text are.
fn rects(count: u32) -> Vec<Rect> {
    let place = |index: u32| {
        // 7 has no factor in common with 64, so no place of a row comes twice.
        let (column, row) = (index * 7 % COLUMNS, index / 8);
        let px = |place: u32| i32::try_from(place).expect("it is on the screen") * EDGE;
        (px(column), px(row))
    };
    (0..count).map(place).map(|(x, y)| Rect::new(x, y, x + EDGE, y + EDGE)).collect()
}

#[divan::bench(args = RECTS)]
fn from_ring_to_surface(bencher: Bencher<'_, '_>, count: u32) {
    let mut guest = InProcess::new().expect("memory for a guest");
    guest.boot().expect("a handshake");
    let rects = rects(count);
    let done = |guest: &InProcess| guest.meter.with(|meter| meter.counters().dirt_messages);
    let before = done(&guest);
    let mut sent = 0;
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        guest.send_dirt(black_box(&rects)).expect("the ring has room");
        guest.host_turn();
        sent += 1;
    });
    assert_eq!(done(&guest) - before, sent, "every message must have been carried out");
}

#[divan::bench(args = RECTS)]
fn copy_alone(bencher: Bencher<'_, '_>, count: u32) {
    let mut guest = InProcess::new().expect("memory for a guest");
    guest.boot().expect("a handshake");
    let rects = rects(count);
    let situation = *guest.video().situation().expect("the handshake declared one");
    let vram = GuestRamWindow::new((**guest.memory.ram()).clone(), VRAM_GPA, VRAM_BYTES).expect("it is RAM");
    let mut surface = Surface::with_size(situation.size());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for rect in black_box(&rects) {
            surface.apply(&vram, &situation, *rect).expect("inside of VRAM");
        }
    });
}
