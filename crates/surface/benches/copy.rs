//! What a copy into the surface costs beside a plain copy of the same bytes from the same memory.
//!
//! `memcpy` reads the guest's memory into a buffer of our own, and does nothing else. `apply` does that, counts the
//! pixels that changed, and keeps them. Read the two medians of a size side by side: the counting copy should reach
//! at least half of the plain one's throughput.

use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use surface::{RegionWindow, Surface, VramBytes};
use synthvid::{PixelFormat, Situation};
use vm_memory::{MmapRegion, VolatileMemory};

const SIZES: [(u32, u32); 2] = [(1024, 768), (1920, 1080)];

fn main() {
    divan::main();
}

fn situation((width, height): (u32, u32)) -> Situation {
    let pitch_bytes = width * 4;
    Situation { active: true, vram_offset: 0, format: PixelFormat::Xrgb8888, width, height, pitch_bytes }
}

/// VRAM whose bytes all have the value `fill`.
fn vram(situation: &Situation, fill: u8) -> RegionWindow {
    let bytes = usize::try_from(situation.vram_end()).expect("a screen fits");
    let region = MmapRegion::new(bytes).expect("anonymous memory");
    region.get_slice(0, bytes).expect("the whole region").copy_from(&vec![fill; bytes]);
    RegionWindow::whole(Arc::new(region))
}

#[divan::bench(args = SIZES)]
fn memcpy(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    let situation = situation(size);
    // Two sources in turn, as below, so that both find their memory equally cold.
    let screens = [vram(&situation, 1), vram(&situation, 2)];
    let mut target = vec![0; usize::try_from(situation.vram_end()).expect("a screen fits")];
    let mut next = 0;
    bencher.counter(BytesCount::new(situation.vram_end())).bench_local(|| {
        next ^= 1;
        black_box(&screens[next]).read(0, black_box(&mut target)).expect("inside of VRAM");
    });
}

#[divan::bench(args = SIZES)]
fn apply_all_changed(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    let situation = situation(size);
    let screens = [vram(&situation, 1), vram(&situation, 2)];
    let mut surface = Surface::with_size(situation.size());
    let mut next = 0;
    bencher.counter(BytesCount::new(situation.vram_end())).bench_local(|| {
        next ^= 1;
        let applied = surface.apply(black_box(&screens[next]), &situation, situation.bounds());
        assert_eq!(applied.expect("inside of VRAM").changed_px, situation.size().area());
    });
}

#[divan::bench(args = SIZES)]
fn apply_none_changed(bencher: Bencher<'_, '_>, size: (u32, u32)) {
    let situation = situation(size);
    let vram = vram(&situation, 1);
    let mut surface = Surface::with_size(situation.size());
    surface.apply(&vram, &situation, situation.bounds()).expect("inside of VRAM");
    bencher.counter(BytesCount::new(situation.vram_end())).bench_local(|| {
        let applied = surface.apply(black_box(&vram), &situation, situation.bounds());
        assert_eq!(applied.expect("inside of VRAM").changed_px, 0);
    });
}
