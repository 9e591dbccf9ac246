//! What reaches the surface, what does not, and what is counted.

use std::sync::Mutex;

use proptest::prelude::*;
use synthvid::PixelFormat;

use super::*;

/// VRAM that a test draws into.
struct Vram(Mutex<Vec<u8>>);

impl Vram {
    fn new(bytes: usize) -> Self {
        Self(Mutex::new(vec![0; bytes]))
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn draw(&self, situation: &Situation, x: u32, y: u32, pixel: u32) {
        let bytes = pixel.to_le_bytes();
        let offset = situation.vram_offset_of(x, y).unwrap();
        self.put(offset, &bytes[..situation.format.bytes() as usize]);
    }
}

impl VramBytes for Vram {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), VramError> {
        let limit = self.len();
        let vram = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let Some(bytes) = vram.get(start..start + buf.len()) else {
            return Err(VramError::OutOfRange { offset, bytes: buf.len() as u64, limit });
        };
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

fn situation(width: u32, height: u32, pitch_bytes: u32) -> Situation {
    Situation { active: true, vram_offset: 0, format: PixelFormat::Xrgb8888, width, height, pitch_bytes }
}

#[test]
fn surface_is_black_until_something_is_declared() {
    let surface = Surface::with_size(Size::new(3, 2));
    assert_eq!(surface.pixels(), [0; 6]);
    assert_eq!(surface.pixel(2, 1), Some(0));
    assert_eq!(surface.pixel(3, 0), None);
    assert_eq!(surface.pixel(0, 2), None);
    assert_eq!(surface.row(2), None);
}

#[test]
fn only_declared_pixels_reach_the_surface() {
    let vram = Vram::new(8 * 8 * 4);
    let situation = situation(8, 8, 32);
    let mut surface = Surface::with_size(situation.size());
    vram.draw(&situation, 1, 1, 0x11);
    vram.draw(&situation, 6, 6, 0x66);
    let applied = surface.apply(&vram, &situation, Rect::new(0, 0, 4, 4)).unwrap();
    assert_eq!(applied, Applied { copied_px: 16, changed_px: 1 });
    assert_eq!(surface.pixel(1, 1), Some(0x11));
    assert_eq!(surface.pixel(6, 6), Some(0), "nobody declared it");
}

#[test]
fn second_copy_of_the_same_pixels_changes_none() {
    let vram = Vram::new(8 * 8 * 4);
    let situation = situation(8, 8, 32);
    let mut surface = Surface::with_size(situation.size());
    vram.draw(&situation, 3, 3, 0x00ab_cdef);
    surface.apply(&vram, &situation, situation.bounds()).unwrap();
    let again = surface.apply(&vram, &situation, situation.bounds()).unwrap();
    assert_eq!(again, Applied { copied_px: 64, changed_px: 0 });
}

#[test]
fn byte_without_meaning_is_not_a_change() {
    let vram = Vram::new(16);
    let situation = situation(4, 1, 16);
    let mut surface = Surface::with_size(situation.size());
    vram.draw(&situation, 0, 0, 0xff00_0000);
    assert_eq!(surface.apply(&vram, &situation, situation.bounds()).unwrap().changed_px, 0);
    vram.draw(&situation, 0, 0, 0xff00_0001);
    assert_eq!(surface.apply(&vram, &situation, situation.bounds()).unwrap().changed_px, 1);
    assert_eq!(surface.pixel(0, 0), Some(1));
}

#[test]
fn rectangle_beyond_the_screen_is_clipped() {
    let vram = Vram::new(8 * 8 * 4);
    let situation = situation(8, 8, 32);
    let mut surface = Surface::with_size(situation.size());
    let all = Rect::new(i32::MIN, i32::MIN, i32::MAX, i32::MAX);
    assert_eq!(surface.apply(&vram, &situation, all).unwrap().copied_px, 64);
    assert_eq!(surface.apply(&vram, &situation, Rect::new(8, 0, 20, 8)).unwrap(), Applied::default());
    assert_eq!(surface.apply(&vram, &situation, Rect::new(5, 5, 2, 2)).unwrap(), Applied::default());
}

#[test]
fn pitch_and_offset_are_honoured() {
    let vram = Vram::new(4096);
    let situation = Situation { vram_offset: 100, ..situation(5, 4, 37) };
    let mut surface = Surface::with_size(situation.size());
    for y in 0..4 {
        for x in 0..5 {
            vram.draw(&situation, x, y, y * 16 + x + 1);
        }
    }
    surface.apply(&vram, &situation, situation.bounds()).unwrap();
    for y in 0..4 {
        assert_eq!(surface.row(y).unwrap(), [1, 2, 3, 4, 5].map(|x| y * 16 + x));
    }
}

#[test]
fn pixels_of_16_bits_are_widened() {
    let vram = Vram::new(8);
    let situation = Situation { format: PixelFormat::Rgb565, ..situation(3, 1, 8) };
    let mut surface = Surface::with_size(situation.size());
    for (x, pixel) in [(0, 0xf800), (1, 0x07e0), (2, 0x001f)] {
        vram.draw(&situation, x, 0, pixel);
    }
    let applied = surface.apply(&vram, &situation, situation.bounds()).unwrap();
    assert_eq!(applied, Applied { copied_px: 3, changed_px: 3 });
    assert_eq!(surface.pixels(), [0x00ff_0000, 0x0000_ff00, 0x0000_00ff]);
}

#[test]
fn row_longer_than_a_chunk_is_copied_whole() {
    let width = u32::try_from(CHUNK_PX * 2 + 7).unwrap();
    let vram = Vram::new(width as usize * 2 * 4 + 64);
    for pitch in [width * 4, width * 4 + 4] {
        let situation = situation(width, 2, pitch);
        let mut surface = Surface::with_size(situation.size());
        vram.draw(&situation, width - 1, 1, 0x77);
        vram.draw(&situation, 0, 1, 0x78);
        let applied = surface.apply(&vram, &situation, situation.bounds()).unwrap();
        assert_eq!(applied.copied_px, situation.size().area());
        assert_eq!((surface.pixel(0, 1), surface.pixel(width - 1, 1)), (Some(0x78), Some(0x77)));
    }
}

#[test]
fn vram_that_is_too_small_is_an_error_and_not_a_panic() {
    let vram = Vram::new(8 * 4 * 4);
    let situation = situation(8, 8, 32);
    let mut surface = Surface::with_size(situation.size());
    let error = surface.apply(&vram, &situation, situation.bounds()).unwrap_err();
    assert!(matches!(error, VramError::OutOfRange { limit: 128, .. }), "{error}");
    assert_eq!(surface.apply(&vram, &situation, Rect::new(0, 0, 8, 4)).unwrap().copied_px, 32);
}

#[test]
fn situation_of_another_size_is_an_error() {
    let vram = Vram::new(4096);
    let mut surface = Surface::with_size(Size::new(4, 4));
    let error = surface.apply(&vram, &situation(8, 4, 32), Rect::new(0, 0, 1, 1)).unwrap_err();
    assert_eq!(error.to_string(), "surface of 4x4 for a situation of 8x4");
}

#[test]
fn screen_that_is_off_copies_nothing() {
    let vram = Vram::new(4096);
    let off = Situation { active: false, ..situation(8, 8, 32) };
    let mut surface = Surface::with_size(off.size());
    assert_eq!(surface.apply(&vram, &off, Rect::new(0, 0, 8, 8)).unwrap(), Applied::default());
}

#[test]
fn other_size_turns_black_and_the_same_size_stays() {
    let vram = Vram::new(64);
    let situation = situation(4, 4, 16);
    let mut surface = Surface::with_size(situation.size());
    vram.draw(&situation, 0, 0, 5);
    surface.apply(&vram, &situation, situation.bounds()).unwrap();
    assert!(!surface.resize(Size::new(4, 4)));
    assert_eq!(surface.pixel(0, 0), Some(5));
    assert!(surface.resize(Size::new(2, 8)));
    assert_eq!(surface.pixels(), [0; 16]);
}

#[test]
fn undeclared_pixels_are_found_and_left_alone() {
    let vram = Vram::new(16 * 16 * 4);
    let situation = situation(16, 16, 64);
    let mut surface = Surface::with_size(situation.size());
    vram.draw(&situation, 2, 3, 9);
    vram.draw(&situation, 12, 7, 9);
    let part = surface.compare(&vram, &situation, Rect::new(0, 0, 8, 16)).unwrap();
    assert_eq!(part, Difference { px: 1, bounds: Rect::new(0, 3, 8, 4) });
    let all = surface.compare(&vram, &situation, situation.bounds()).unwrap();
    assert_eq!(all.px, 2);
    assert!(all.bounds.contains(2, 3) && all.bounds.contains(12, 7));
    assert_eq!(surface.pixels(), [0; 256]);
    surface.apply(&vram, &situation, situation.bounds()).unwrap();
    let clean = surface.compare(&vram, &situation, situation.bounds()).unwrap();
    assert_eq!(clean, Difference::default());
}

#[test]
fn copy_of_a_surface_takes_the_rectangle_only() {
    let vram = Vram::new(64);
    let situation = situation(4, 4, 16);
    let mut source = Surface::with_size(situation.size());
    vram.draw(&situation, 0, 0, 5);
    vram.draw(&situation, 3, 3, 6);
    source.apply(&vram, &situation, situation.bounds()).unwrap();
    let mut copy = Surface::with_size(situation.size());
    let applied = copy.copy_from(&source, Rect::new(2, 2, 9, 9));
    assert_eq!(applied, Applied { copied_px: 4, changed_px: 1 });
    assert_eq!((copy.pixel(0, 0), copy.pixel(3, 3)), (Some(0), Some(6)));
    assert_eq!(
        Surface::with_size(Size::new(2, 2)).copy_from(&source, situation.bounds()),
        Applied::default()
    );
}

#[test]
fn rows_are_cut_to_the_rectangle() {
    let vram = Vram::new(64);
    let situation = situation(4, 4, 16);
    let mut surface = Surface::with_size(situation.size());
    for index in 0..16 {
        vram.draw(&situation, index % 4, index / 4, index);
    }
    surface.apply(&vram, &situation, situation.bounds()).unwrap();
    let rows: Vec<_> = surface.rows(Rect::new(1, 2, 3, 99)).collect();
    assert_eq!(rows, [[9, 10], [13, 14]]);
    assert_eq!(surface.rows(Rect::new(4, 0, 9, 9)).count(), 0);
    assert_eq!(Surface::new().rows(Rect::new(0, 0, 9, 9)).count(), 0);
}

proptest! {
    #[test]
    fn apply_agrees_with_a_copy_pixel_by_pixel(
        width in 1..40u32,
        height in 1..40u32,
        padding in 0..9u32,
        offset in 0..50u32,
        is_565 in any::<bool>(),
        edges in any::<[i8; 4]>(),
        seed in any::<u32>(),
    ) {
        let format = if is_565 { PixelFormat::Rgb565 } else { PixelFormat::Xrgb8888 };
        let pitch_bytes = width * format.bytes() + padding;
        let situation = Situation { active: true, vram_offset: offset, format, width, height, pitch_bytes };
        let vram = Vram::new(usize::try_from(situation.vram_end()).unwrap());
        let mut noise = seed;
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of the pixels stay black.
            vram.draw(&situation, x, y, if noise >> 31 == 0 { noise } else { 0 });
        }
        let rect = Rect::new(edges[0].into(), edges[1].into(), edges[2].into(), edges[3].into());
        let mut full = Surface::with_size(situation.size());
        full.apply(&vram, &situation, situation.bounds()).unwrap();
        let mut part = Surface::with_size(situation.size());
        let difference = part.compare(&vram, &situation, rect).unwrap();
        let applied = part.apply(&vram, &situation, rect).unwrap();

        let (mut copied_px, mut changed_px) = (0, 0);
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let inside = rect.contains(i32::try_from(x).unwrap(), i32::try_from(y).unwrap());
            let expected = if inside { full.pixel(x, y) } else { Some(0) };
            prop_assert_eq!(part.pixel(x, y), expected, "pixel ({}, {})", x, y);
            copied_px += u64::from(inside);
            changed_px += u64::from(inside && full.pixel(x, y) != Some(0));
        }
        prop_assert_eq!(applied, Applied { copied_px, changed_px });
        prop_assert_eq!(difference.px, changed_px);
    }
}
