//! Memory slots, VRAM and the dirty log on this host's KVM, with a guest CPU that does the writing.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use hv_kvm::SynicMode;
use hv_kvm::dirty_log::DirtyLog;
use hv_kvm::vram::{Aperture, FirstDeclared, KvmVramMapper};
use surface::{VramKind, VramMapError, VramMapper};
use tests::bare_metal::memory::RAM_BYTES;
use tests::bare_metal::program::Opcode;
use tests::bare_metal::{BareMetal, VRAM_WINDOW};

const VRAM_BYTES: u64 = 8 << 20;
const VRAM: u64 = VRAM_WINDOW.start + (1 << 20);
const MAPPED: Range<u64> = VRAM..VRAM + VRAM_BYTES;

struct Fixture {
    guest: BareMetal,
    aperture: Arc<Aperture>,
    mapper: KvmVramMapper,
}

impl Fixture {
    fn new() -> Result<Option<Self>> {
        let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(None) };
        let aperture = Aperture::new(VRAM_BYTES)?;
        let mapper = KvmVramMapper::new(Arc::clone(guest.slots()), Arc::clone(&aperture));
        Ok(Some(Self { guest, aperture, mapper }))
    }

    fn guest_store(&mut self, gpa: u64, value: u64) -> Result<()> {
        self.guest.command(0, Opcode::Store, &[gpa, value]).map(drop)
    }

    fn guest_load(&mut self, gpa: u64) -> Result<u64> {
        self.guest.command(0, Opcode::Load, &[gpa]).map(|[value, ..]| value)
    }
}

#[test]
fn guest_writes_reach_the_window_until_it_is_unmapped() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    assert_eq!(fixture.mapper.kind(), None);
    let vram = fixture.mapper.map(VRAM, VRAM_BYTES)?;
    assert_eq!((fixture.mapper.kind(), vram.len()), (Some(VramKind::Mmio), VRAM_BYTES));
    assert_eq!(fixture.aperture.location().context("location")?.gpa, MAPPED);
    // The back end's exit counter would not see MMIO, but `command` fails on any exit it does not know.
    fixture.guest_store(VRAM + 0x3008, 0x00ff_0000_0000_00ff)?;
    let mut pixels = [0; 8];
    vram.read(0x3008, &mut pixels)?;
    assert_eq!(u64::from_le_bytes(pixels), 0x00ff_0000_0000_00ff);
    fixture.mapper.unmap();
    assert_eq!((fixture.mapper.kind(), fixture.aperture.location()), (None, None));
    let error = fixture.guest_store(VRAM, 1).unwrap_err().to_string();
    assert!(error.contains("MmioWrite"), "{error}");
    vram.read(0x3008, &mut pixels)?;
    assert_eq!(pixels[0], 0xff, "a window that is still held stays readable");
    Ok(())
}

#[test]
fn vram_declared_at_the_same_place_again_keeps_its_slot() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    fixture.mapper.map(VRAM, VRAM_BYTES)?;
    let mut log = DirtyLog::start(Arc::clone(fixture.guest.slots()), &MAPPED)?;
    let slots = fixture.guest.slots().count();
    let vram = fixture.mapper.map(VRAM, VRAM_BYTES)?;
    fixture.guest_store(VRAM + 0x5000, 9)?;
    // A log of a slot that went and came again would be an error.
    assert_eq!(log.collect()?.iter().collect::<Vec<_>>(), [5]);
    let mut pixel = [0; 1];
    vram.read(0x5000, &mut pixel)?;
    assert_eq!((pixel[0], fixture.guest.slots().count()), (9, slots));
    assert_eq!(fixture.aperture.location().context("location")?.gpa, MAPPED);
    Ok(())
}

#[test]
fn content_moves_with_the_aperture_and_goes_with_a_reset() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    fixture.mapper.map(VRAM, VRAM_BYTES)?;
    fixture.guest_store(VRAM + 16, 7)?;
    fixture.mapper.map(VRAM_WINDOW.start, VRAM_BYTES)?;
    assert_eq!(fixture.guest_load(VRAM_WINDOW.start + 16)?, 7);
    fixture.aperture.zero()?;
    assert_eq!(fixture.guest_load(VRAM_WINDOW.start + 16)?, 0);
    fixture.guest_store(VRAM_WINDOW.start + 16, 8)?;
    assert_eq!(fixture.guest_load(VRAM_WINDOW.start + 16)?, 8);
    Ok(())
}

#[test]
fn vram_in_ram_is_read_in_place() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    let gpa = 8 << 20;
    let vram = fixture.mapper.map(gpa, 4 << 20)?;
    assert_eq!(fixture.mapper.kind(), Some(VramKind::Ram));
    fixture.guest_store(gpa + 8, 0x1234)?;
    let mut pixels = [0; 8];
    vram.read(8, &mut pixels)?;
    assert_eq!(u64::from_le_bytes(pixels), 0x1234);
    Ok(())
}

#[test]
fn vram_in_ram_is_refused_by_a_mapper_for_windows_only() -> Result<()> {
    let Some(fixture) = Fixture::new()? else { return Ok(()) };
    let mut mapper = fixture.mapper.in_windows_only();
    for gpa in [0, 8 << 20, RAM_BYTES - 0x1000] {
        let error = mapper.map(gpa, 0x1000).map(drop).unwrap_err();
        assert!(matches!(error, VramMapError::InRam { .. }), "{gpa:#x}: {error}");
        assert_eq!(mapper.kind(), None);
    }
    mapper.map(VRAM, VRAM_BYTES)?;
    assert_eq!(mapper.kind(), Some(VramKind::Mmio));
    Ok(())
}

#[test]
fn vram_is_refused_where_it_must_not_be() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    let mut refused = |gpa, len| fixture.mapper.map(gpa, len).map(drop).unwrap_err();
    for (gpa, len) in [(VRAM + 1, 0x1000), (VRAM, 0x1001), (VRAM, 0), (u64::MAX, 0x1000)] {
        let error = refused(gpa, len);
        assert!(matches!(error, VramMapError::Unaligned { .. }), "{gpa:#x}+{len:#x}: {error}");
    }
    let outside = [
        (0xe000_0000, 0x1000, "no window is there"),
        (VRAM_WINDOW.end - 0x1000, 0x2000, "runs out of its window"),
        (VRAM, VRAM_BYTES + 0x1000, "longer than the aperture"),
        (RAM_BYTES - 0x1000, 0x2000, "starts in RAM and runs out of it"),
        (0xfee0_0000, 0x1000, "LAPIC"),
        (u64::MAX - 0xfff, 0x1000, "ends at the end of the address space"),
        (VRAM, u64::MAX - 0xfff, "wraps"),
    ];
    for (gpa, len, why) in outside {
        let error = refused(gpa, len);
        assert!(matches!(error, VramMapError::NotAllowed { .. }), "{why}: {error}");
    }
    assert_eq!(fixture.mapper.kind(), None);
    fixture.mapper.map(VRAM, VRAM_BYTES)?;
    Ok(())
}

#[test]
fn dirty_log_names_the_written_pages_once() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    let _vram = fixture.mapper.map(VRAM, VRAM_BYTES)?;
    let mut log = DirtyLog::start(Arc::clone(fixture.guest.slots()), &MAPPED)?;
    assert_eq!(log.collect()?.count(), 0);
    for page in [0, 3, 64, VRAM_BYTES / 0x1000 - 1] {
        fixture.guest_store(VRAM + page * 0x1000 + 8, 1)?;
    }
    let dirty = log.collect()?;
    assert_eq!(dirty.iter().collect::<Vec<_>>(), [0, 3, 64, VRAM_BYTES / 0x1000 - 1]);
    assert_eq!(log.collect()?.count(), 0, "collected pages are clean");
    fixture.guest_store(VRAM + 3 * 0x1000, 2)?;
    assert_eq!(log.collect()?.iter().collect::<Vec<_>>(), [3], "a page is caught again after it was cleared");
    Ok(())
}

#[test]
fn dirty_log_of_a_part_leaves_the_rest_for_others() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    let _vram = fixture.mapper.map(VRAM, VRAM_BYTES)?;
    let slots = fixture.guest.slots();
    if !slots.manual_clear() {
        println!("skipped: this KVM clears the log of a whole slot at once");
        return Ok(());
    }
    let mut whole = DirtyLog::start(Arc::clone(slots), &MAPPED)?;
    let mut part = DirtyLog::start(Arc::clone(slots), &(VRAM + 70 * 0x1000..VRAM + 75 * 0x1000))?;
    for page in [69, 70, 74, 75] {
        fixture.guest_store(VRAM + page * 0x1000, 1)?;
    }
    let dirty = part.collect()?;
    assert_eq!((dirty.iter().collect::<Vec<_>>(), dirty.pages()), (vec![0, 4], 5));
    assert_eq!(whole.collect()?.iter().collect::<Vec<_>>(), [69, 75]);
    drop(part);
    fixture.guest_store(VRAM, 1)?;
    assert_eq!(whole.collect()?.count(), 1, "logging goes on for the log that is left");
    Ok(())
}

#[test]
fn dirty_log_of_a_slot_that_is_gone_is_an_error() -> Result<()> {
    let Some(mut fixture) = Fixture::new()? else { return Ok(()) };
    fixture.mapper.map(VRAM, VRAM_BYTES)?;
    let mut log = DirtyLog::start(Arc::clone(fixture.guest.slots()), &MAPPED)?;
    fixture.mapper.map(VRAM_WINDOW.start, VRAM_BYTES)?;
    assert!(log.collect().is_err(), "KVM's slot number is in use again, but for another slot");
    let nothing = DirtyLog::start(Arc::clone(fixture.guest.slots()), &(VRAM_WINDOW.end..VRAM_WINDOW.end + 1));
    assert!(nothing.is_err());
    Ok(())
}

#[test]
fn firmware_screen_is_mapped_before_any_driver_and_again_where_the_driver_moves_it() -> Result<()> {
    const MOVED: u64 = VRAM + VRAM_BYTES / 2;
    let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let aperture = Aperture::new(VRAM_BYTES)?;
    let mapper = KvmVramMapper::new(Arc::clone(guest.slots()), Arc::clone(&aperture));
    let mapper = mapper.in_windows_only().mapped_by_firmware(VRAM, VRAM_BYTES, 0x2000)?;
    let mut fixture = Fixture { guest, aperture, mapper };
    let before = (fixture.mapper.kind(), fixture.aperture.location(), fixture.aperture.first_declared());
    assert_eq!(before, (None, None, None), "for the device nothing is mapped");
    // Two pixels of the screen's last row, one of them black, and two behind its end.
    fixture.guest_store(VRAM + 0x1ff8, 0x0000_0000_00ff_ffff)?;
    fixture.guest_store(VRAM + 0x2000, 0x00ff_ffff_00ff_ffff)?;

    let vram = fixture.mapper.map(MOVED, VRAM_BYTES)?;
    assert_eq!(fixture.aperture.first_declared(), Some(FirstDeclared { gpa: MOVED, drawn_px: 1 }));
    assert_eq!(fixture.aperture.location().context("location")?.gpa, MOVED..MOVED + VRAM_BYTES);
    fixture.guest_store(MOVED, 7)?;
    let mut word = [0; 8];
    vram.read(0, &mut word)?;
    assert_eq!(u64::from_le_bytes(word), 7);
    let error = fixture.guest_store(VRAM, 1).unwrap_err().to_string();
    assert!(error.contains("MmioWrite"), "{error}");
    Ok(())
}

#[test]
fn aperture_of_a_machine_with_firmware_stays_where_the_driver_left_it() -> Result<()> {
    let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let aperture = Aperture::new(VRAM_BYTES)?;
    let mapper = KvmVramMapper::new(Arc::clone(guest.slots()), Arc::clone(&aperture));
    let mapper = mapper.in_windows_only().mapped_by_firmware(VRAM, VRAM_BYTES, 0x2000)?;
    let mut fixture = Fixture { guest, aperture, mapper };
    let slots = fixture.guest.slots().count();
    fixture.mapper.map(VRAM, VRAM_BYTES)?;
    fixture.mapper.unmap();
    assert_eq!((fixture.mapper.kind(), fixture.aperture.location()), (None, None));
    fixture.guest_store(VRAM + 8, 5)?;
    assert_eq!(fixture.guest_load(VRAM + 8)?, 5);
    assert_eq!(fixture.guest.slots().count(), slots, "declared in place, it is the same slot");
    let slots = Arc::clone(fixture.guest.slots());
    let with_aperture = slots.count();
    drop(fixture.mapper);
    assert_eq!(slots.count(), with_aperture - 1);
    Ok(())
}
