//! What KVM's dirty log costs the event thread: a harvest of 8 MiB of VRAM that no page was written of, and one of 8 MiB that a guest
//! wrote in each page, which KVM must protect again. Beside it a memcpy of the same bytes and their comparison, in turns, the fastest
//! of many each.
//!
//! `cargo bench -p oracle` has the other half, the look at what the log names. The guest is the one without a kernel, so this runs on any
//! /dev/kvm; without one it says so and measures nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hv_kvm::SynicMode;
use hv_kvm::dirty_log::{DirtyLog, DirtyPages};
use hv_kvm::vram::{Aperture, KvmVramMapper};
use surface::{VramBytes, VramMapper as _};
use tests::bare_metal::program::Opcode;
use tests::bare_metal::{BareMetal, VRAM_WINDOW};

const VRAM: u64 = VRAM_WINDOW.start;
const VRAM_BYTES: u64 = 8 << 20;
const PAGE: u64 = 0x1000;
const TURNS: u64 = 50;

fn main() -> Result<()> {
    let Some(mut guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let aperture = Aperture::new(VRAM_BYTES)?;
    let mut mapper = KvmVramMapper::new(Arc::clone(guest.slots()), aperture);
    let vram = mapper.map(VRAM, VRAM_BYTES)?;
    let mut log = DirtyLog::start(Arc::clone(guest.slots()), &(VRAM..VRAM + VRAM_BYTES))?;
    let mut pages = DirtyPages::default();
    let mut copy = vec![0; usize::try_from(VRAM_BYTES)?];
    let [mut clean, mut full, mut copied] = [Duration::MAX; 3];
    for turn in 1..=TURNS {
        for page in 0..VRAM_BYTES / PAGE {
            guest.command(0, Opcode::Store, &[VRAM + page * PAGE, turn])?;
        }
        full = full.min(harvest(&mut log, &mut pages)?);
        ensure!(pages.count() == VRAM_BYTES / PAGE, "{} pages of the log", pages.count());
        clean = clean.min(harvest(&mut log, &mut pages)?);
        ensure!(pages.count() == 0, "{} pages of a clean log", pages.count());
        copied = copied.min(copy_and_compare(&*vram, &mut copy)?);
    }
    println!(
        "8 MiB: harvest of a clean log {clean:.1?}, of {} written pages {full:.0?}, {:.2} of memcpy and compare ({copied:.1?})",
        VRAM_BYTES / PAGE,
        full.as_secs_f64() / copied.as_secs_f64(),
    );
    Ok(())
}

fn harvest(log: &mut DirtyLog, pages: &mut DirtyPages) -> Result<Duration> {
    let started = Instant::now();
    log.collect_into(pages)?;
    Ok(started.elapsed())
}

/// Page by page, with a copy that is kept.
fn copy_and_compare(vram: &dyn VramBytes, kept: &mut [u8]) -> Result<Duration> {
    let mut page = [0; 4096];
    let started = Instant::now();
    for (kept, offset) in kept.chunks_mut(page.len()).zip((0..).step_by(page.len())) {
        vram.read(offset, &mut page)?;
        if *kept != page {
            kept.copy_from_slice(&page);
        }
    }
    Ok(started.elapsed())
}
