//! What a look costs, beside a memcpy and compare of the same bytes.
//!
//! 8 MiB of VRAM that a screen of 2048 by 1024 fills. *Clean*: no page was written. *Same*: every page was, with the values
//! that were there. *Changed*: every pixel has another colour; each look is followed by a DIRT that covers it, so that
//! the next one finds the same work. The last lines put them in relation, measured in turns, the fastest of many each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use device_model::Observer;
use device_model::observer::DirtEvent;
use device_model::video::{MappedVram, Scanout};
use divan::{Bencher, black_box};
use oracle::{Oracle, OracleSettings, WriteLog, WriteLogError, WrittenPages};
use surface::{RegionWindow, VramBytes, VramError};
use synthvid::{PixelFormat, Situation};
use vm_memory::{MmapRegion, VolatileMemory};

const WIDTH: u32 = 2048;
const HEIGHT: u32 = 1024;
const VRAM_BYTES: usize = 8 << 20;
const TURNS: u32 = 100;

/// Two VRAMs of different colours, of which one is shown.
struct Vram {
    screens: [RegionWindow; 2],
    second: Arc<AtomicBool>,
}

impl VramBytes for Vram {
    fn len(&self) -> u64 {
        VRAM_BYTES as u64
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        self.screens[usize::from(self.second.load(Ordering::Relaxed))].read(offset, buf)
    }
}

/// A log in which every page was written, or none.
struct Log(Arc<AtomicBool>);

impl WriteLog for Log {
    fn restart(&mut self, _vram: Option<Range<u64>>) -> Result<(), WriteLogError> {
        Ok(())
    }

    fn collect(&mut self, written: &mut WrittenPages) -> Result<(), WriteLogError> {
        if self.0.load(Ordering::Relaxed) {
            written.insert_all();
        }
        Ok(())
    }
}

struct Fixture {
    oracle: Oracle,
    dirty: Arc<AtomicBool>,
    second: Arc<AtomicBool>,
    now_ns: u64,
}

impl Fixture {
    fn new() -> Self {
        let (dirty, second) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut oracle = Oracle::new(OracleSettings::default(), Box::new(Log(dirty.clone())));
        let screens = [window(0x11), window(0x22)];
        let bytes = Arc::new(Vram { screens, second: second.clone() });
        let situation = Situation {
            active: true,
            vram_offset: 0,
            format: PixelFormat::Xrgb8888,
            width: WIDTH,
            height: HEIGHT,
            pitch_bytes: WIDTH * 4,
        };
        let scanout = Scanout {
            vram: Some(MappedVram { bytes, gpa: 0xf800_0000, kind: None, mapping: 1 }),
            situation: Some(situation),
            dirt_wanted: true,
            repaint_due_ns: None,
        };
        oracle.scanout(0, &scanout);
        Self { oracle, dirty, second, now_ns: 0 }
    }

    fn look(&mut self, dirty: bool) {
        self.now_ns += 1_000_000;
        self.dirty.store(dirty, Ordering::Relaxed);
        self.oracle.sample(black_box(self.now_ns));
    }

    /// Gives every pixel another colour.
    fn flip(&self) {
        self.second.fetch_xor(true, Ordering::Relaxed);
    }

    fn cover(&mut self) {
        let rect = synthvid::Size::new(WIDTH, HEIGHT).rect();
        self.oracle.dirt(&DirtEvent {
            doorbell_ns: self.now_ns,
            done_ns: self.now_ns,
            rects: 1,
            rejected_rects: 0,
            declared_px: rect.area(),
            changed_px: 0,
            accepted: &[rect],
        });
    }
}

/// What the looks are measured by: a copy of all of VRAM, chunk by chunk, and a comparison of each with a copy kept.
struct Plain {
    vram: RegionWindow,
    copy: Vec<u8>,
    chunk: Vec<u8>,
}

impl Plain {
    fn new() -> Self {
        Self { vram: window(0x11), copy: vec![0x11; VRAM_BYTES], chunk: vec![0; 4096] }
    }

    fn copy_and_compare(&mut self) -> bool {
        let mut same = true;
        for (index, kept) in self.copy.chunks(self.chunk.len()).enumerate() {
            self.vram.read((index * 4096) as u64, &mut self.chunk).expect("inside of VRAM");
            same &= black_box(&self.chunk[..]) == kept;
        }
        same
    }
}

fn window(fill: u8) -> RegionWindow {
    let region = MmapRegion::new(VRAM_BYTES).expect("anonymous memory");
    region.get_slice(0, VRAM_BYTES).expect("the whole region").copy_from(&vec![fill; VRAM_BYTES]);
    RegionWindow::whole(Arc::new(region))
}

fn main() {
    divan::main();
    let (mut fixture, mut plain) = (Fixture::new(), Plain::new());
    let [mut copied, mut clean, mut same, mut changed] = [Duration::MAX; 4];
    let fastest = |best: &mut Duration, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        *best = started.elapsed().min(*best);
    };
    for _ in 0..TURNS {
        fastest(&mut copied, &mut || assert!(plain.copy_and_compare()));
        fastest(&mut clean, &mut || fixture.look(false));
        fastest(&mut same, &mut || fixture.look(true));
        fixture.flip();
        fastest(&mut changed, &mut || fixture.look(true));
        fixture.cover();
    }
    let ratio = |time: Duration| time.as_secs_f64() / copied.as_secs_f64();
    println!(
        "8 MiB: clean {clean:.1?}; memcpy and compare {copied:.0?}, written with the same values {:.2} of it, changed \
         throughout {:.2} of it",
        ratio(same),
        ratio(changed),
    );
}

#[divan::bench]
fn memcpy_and_compare(bencher: Bencher<'_, '_>) {
    let mut plain = Plain::new();
    bencher.bench_local(|| plain.copy_and_compare());
}

#[divan::bench]
fn clean(bencher: Bencher<'_, '_>) {
    let mut fixture = Fixture::new();
    bencher.bench_local(|| fixture.look(false));
}

#[divan::bench]
fn same(bencher: Bencher<'_, '_>) {
    let mut fixture = Fixture::new();
    bencher.bench_local(|| fixture.look(true));
}

#[divan::bench]
fn changed_and_covered(bencher: Bencher<'_, '_>) {
    let mut fixture = Fixture::new();
    bencher.bench_local(|| {
        fixture.flip();
        fixture.look(true);
        fixture.cover();
    });
}
