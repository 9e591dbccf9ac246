//! What a copy into the surface costs beside a plain copy of the same bytes from the same memory.
//!
//! `memcpy` reads the guest's memory into a buffer of our own, and does nothing else. `apply` does that, counts the
//! pixels that changed, and keeps them. The last lines put both in relation: the counting copy should reach at least
//! half of the plain one's throughput. There the two take turns, and the fastest of many counts, so that a machine
//! which does something else now and then hits neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use surface::{RegionWindow, Surface, VramBytes};
use synthvid::{PixelFormat, Situation};
use vm_memory::{MmapRegion, VolatileMemory};

const SIZES: [(u32, u32); 2] = [(1024, 768), (1920, 1080)];

/// Turns of each; enough for both to find a quiet moment.
const TURNS: u32 = 400;

fn main() {
    divan::main();
    for size in SIZES {
        print_ratios(size);
    }
}

/// Prints what share of plain memcpy's throughput the copy into the surface has.
fn print_ratios(size: (u32, u32)) {
    let situation = situation(size);
    let screens = [vram(&situation, 1), vram(&situation, 2)];
    let mut buffer = vec![0; usize::try_from(situation.vram_end()).expect("a screen fits")];
    let mut surface = Surface::with_size(situation.size());
    let fastest = |best: &mut Duration, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        *best = started.elapsed().min(*best);
    };
    let [mut plain, mut changed, mut unchanged] = [Duration::MAX; 3];
    for turn in 0..TURNS {
        let screen = &screens[usize::from(turn % 2 == 0)];
        fastest(&mut plain, &mut || screen.read(0, black_box(&mut buffer)).expect("inside of VRAM"));
        for best in [&mut changed, &mut unchanged] {
            fastest(best, &mut || {
                black_box(surface.apply(screen, &situation, situation.bounds()).expect("inside of VRAM"));
            });
        }
    }
    let share = |time: Duration| plain.as_secs_f64() / time.as_secs_f64();
    println!(
        "{}: apply of changed pixels at {:.2} of memcpy, of unchanged ones at {:.2} (memcpy takes {plain:.0?})",
        situation.size(),
        share(changed),
        share(unchanged),
    );
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
