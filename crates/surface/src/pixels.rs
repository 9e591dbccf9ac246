//! The inner loops: turning a chunk of VRAM into pixels of the surface, and counting what changed.
//!
//! They are plain loops, compiled for the processor's widest vectors as well and chosen at run time: with those that
//! every x86-64 has, a full-screen copy that counts has three quarters of memcpy's throughput, with AVX2 nine tenths.

use pulp::Arch;
use zerocopy::IntoBytes;

use synthvid::PixelFormat;

/// Pixels in one chunk: 4 KiB, so that it is still in the first-level cache when it is compared. Larger chunks
/// measured slower.
pub const CHUNK_PX: usize = 1024;

/// Red, green and blue of a surface pixel.
pub const RGB_MASK: u32 = 0x00ff_ffff;

/// Room for one chunk, in either format; kept so that no copy allocates.
pub struct Scratch {
    words: Box<[u32; CHUNK_PX]>,
    halves: Box<[u16; CHUNK_PX]>,
}

impl Scratch {
    /// Room for one chunk.
    #[must_use]
    pub fn new() -> Self {
        Self { words: Box::new([0; CHUNK_PX]), halves: Box::new([0; CHUNK_PX]) }
    }

    /// Fills `count` pixels of the chunk, [`CHUNK_PX`] at most, with bytes that `read` provides, and gives them as
    /// XRGB8888, whose X means nothing.
    ///
    /// *Errors*: those of `read`.
    pub fn load<E>(
        &mut self,
        format: PixelFormat,
        count: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<&[u32], E> {
        let count = count.min(CHUNK_PX);
        let (words, _) = self.words.split_at_mut(count);
        match format {
            PixelFormat::Xrgb8888 => {
                read(words.as_mut_bytes())?;
                if cfg!(target_endian = "big") {
                    words.iter_mut().for_each(|word| *word = u32::from_le(*word));
                }
            }
            PixelFormat::Rgb565 => {
                let (halves, _) = self.halves.split_at_mut(count);
                read(halves.as_mut_bytes())?;
                for (word, half) in words.iter_mut().zip(halves.iter()) {
                    *word = expand_565(u16::from_le(*half));
                }
            }
        }
        Ok(words)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Compares and copies pixels with the widest vectors that this machine has.
#[derive(Clone, Copy)]
pub struct PixelLoops(Arch);

impl PixelLoops {
    /// Asks the processor.
    #[must_use]
    pub fn new() -> Self {
        Self(Arch::new())
    }

    /// Makes `target` equal to `source` and gives the number of pixels whose colour changed.
    pub fn copy_changed(self, target: &mut [u32], source: &[u32]) -> u32 {
        self.0.dispatch(|| copy_changed(target, source))
    }

    /// The number of pixels whose colours differ; X counts for nothing.
    #[must_use]
    pub fn count_changed(self, target: &[u32], source: &[u32]) -> u32 {
        self.0.dispatch(|| count_changed(target, source))
    }
}

impl Default for PixelLoops {
    fn default() -> Self {
        Self::new()
    }
}

/// One pass without a branch, which becomes vector code: it touches the target's memory once, as a plain copy would.
#[inline(always)]
fn copy_changed(target: &mut [u32], source: &[u32]) -> u32 {
    let mut changed = 0;
    for (target, source) in target.iter_mut().zip(source) {
        let pixel = source & RGB_MASK;
        changed += u32::from(*target != pixel);
        *target = pixel;
    }
    changed
}

#[inline(always)]
fn count_changed(target: &[u32], source: &[u32]) -> u32 {
    target.iter().zip(source).map(|(target, source)| u32::from((target ^ source) & RGB_MASK != 0)).sum()
}

/// Widens 5, 6 and 5 bits to 8 each, so that full stays full.
fn expand_565(pixel: u16) -> u32 {
    let pixel = u32::from(pixel);
    let (red, green, blue) = (pixel >> 11, pixel >> 5 & 0x3f, pixel & 0x1f);
    let widen5 = |value: u32| value << 3 | value >> 2;
    let widen6 = |value: u32| value << 2 | value >> 4;
    widen5(red) << 16 | widen6(green) << 8 | widen5(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_colours_of_16_bits_become_full_colours_of_32() {
        assert_eq!(expand_565(0xffff), 0x00ff_ffff);
        assert_eq!(expand_565(0xf800), 0x00ff_0000);
        assert_eq!(expand_565(0x07e0), 0x0000_ff00);
        assert_eq!(expand_565(0x001f), 0x0000_00ff);
        assert_eq!(expand_565(0), 0);
    }

    #[test]
    fn change_in_the_meaningless_byte_is_no_change() {
        let mut target = [0x0011_2233, 0];
        assert_eq!(PixelLoops::new().copy_changed(&mut target, &[0xff11_2233, 0xff00_0001]), 1);
        assert_eq!(target, [0x0011_2233, 1]);
    }

    #[test]
    fn wide_vectors_count_and_copy_what_single_pixels_do() {
        let (wide, single) = (PixelLoops::new(), PixelLoops(Arch::Scalar));
        for len in [0, 1, 7, 16, 31, 255, CHUNK_PX] {
            let old: Vec<u32> =
                (0..len).map(|at| (u32::try_from(at).unwrap() * 0x0001_0203) & RGB_MASK).collect();
            let new: Vec<u32> = old
                .iter()
                .zip(0..)
                .map(|(old, at)| old ^ if at % 3 == 0 { at } else { 0xff << 24 })
                .collect();
            let (mut by_wide, mut by_single) = (old.clone(), old.clone());
            assert_eq!(wide.count_changed(&old, &new), single.count_changed(&old, &new), "{len}");
            assert_eq!(
                wide.copy_changed(&mut by_wide, &new),
                single.copy_changed(&mut by_single, &new),
                "{len}"
            );
            assert_eq!(by_wide, by_single, "{len}");
        }
    }
}
