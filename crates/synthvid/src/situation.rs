//! How the guest's screen lies in VRAM.

use crate::fault::ProtocolFault;
use crate::geometry::{Rect, Size};
use crate::wire;

/// Largest width or height of a screen that is accepted.
pub const MAX_SCREEN_PX: u32 = 16384;

/// How a pixel lies in VRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// 32 bits, little endian: blue, green, red, and a byte without meaning.
    Xrgb8888,
    /// 16 bits, little endian: 5 bits of red on top, 6 of green, 5 of blue (Linux `hyperv_fb.c`, `hvfb_probe`).
    Rgb565,
}

impl PixelFormat {
    /// The format that a depth means, if one does.
    #[must_use]
    pub const fn from_depth(bits: u8) -> Option<Self> {
        match bits {
            32 => Some(Self::Xrgb8888),
            16 => Some(Self::Rgb565),
            _ => None,
        }
    }

    /// Bytes a pixel.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Xrgb8888 => 4,
            Self::Rgb565 => 2,
        }
    }

    /// Bits a pixel, as the wire says it.
    #[must_use]
    pub const fn depth_bits(self) -> u8 {
        match self {
            Self::Xrgb8888 => 32,
            Self::Rgb565 => 16,
        }
    }
}

/// A situation that was checked: the screen has pixels and rows do not overlap.
///
/// *Shape*: of an active situation, width and height are 1 to [`MAX_SCREEN_PX`], and `pitch_bytes` is at least a
/// row. The [`crate::Vsp`] also checks that it lies inside of VRAM. Of one that is off, nothing but `active` means
/// anything, and [`Self::bounds`] is empty.
///
/// A copy that was saved goes through `TryFrom<wire::SituationOutput>` again when it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// The screen is on.
    pub active: bool,
    /// Bytes from the start of VRAM to the first pixel.
    pub vram_offset: u32,
    /// How a pixel lies in VRAM.
    pub format: PixelFormat,
    /// Pixels.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch_bytes: u32,
}

impl Situation {
    /// Width and height; 0 by 0 while the screen is off.
    #[must_use]
    pub const fn size(&self) -> Size {
        if self.active { Size::new(self.width, self.height) } else { Size::new(0, 0) }
    }

    /// The screen's pixels; empty while it is off.
    #[must_use]
    pub const fn bounds(&self) -> Rect {
        self.size().rect()
    }

    /// Byte of VRAM at which the last row ends, padding included.
    #[must_use]
    pub fn vram_end(&self) -> u64 {
        u64::from(self.vram_offset) + u64::from(self.pitch_bytes) * u64::from(self.height)
    }

    /// Byte of VRAM at which the pixel (`x`, `y`) starts, or `None` outside of the screen.
    #[must_use]
    pub fn vram_offset_of(&self, x: u32, y: u32) -> Option<u64> {
        let inside = self.active && x < self.width && y < self.height;
        inside.then(|| {
            u64::from(self.vram_offset)
                + u64::from(y) * u64::from(self.pitch_bytes)
                + u64::from(x) * u64::from(self.format.bytes())
        })
    }

    /// Checks that the screen lies in `vram_bytes` of VRAM.
    ///
    /// *Errors*: [`ProtocolFault::SituationOutsideVram`].
    pub fn check_vram(&self, vram_bytes: u64) -> Result<(), ProtocolFault> {
        let end = self.vram_end();
        if self.active && end > vram_bytes {
            return Err(ProtocolFault::SituationOutsideVram { end, vram_bytes });
        }
        Ok(())
    }
}

impl TryFrom<wire::SituationOutput> for Situation {
    type Error = ProtocolFault;

    fn try_from(output: wire::SituationOutput) -> Result<Self, ProtocolFault> {
        let active = output.active != 0;
        if !active {
            let format = PixelFormat::Xrgb8888;
            return Ok(Self { active, vram_offset: 0, format, width: 0, height: 0, pitch_bytes: 0 });
        }
        let Some(format) = PixelFormat::from_depth(output.depth_bits) else {
            return Err(ProtocolFault::SituationDepth(output.depth_bits));
        };
        let (width, height) = (output.width_pixels.get(), output.height_pixels.get());
        let limits = 1..=MAX_SCREEN_PX;
        if !limits.contains(&width) || !limits.contains(&height) {
            return Err(ProtocolFault::SituationSize(Size::new(width, height)));
        }
        // Cannot overflow: the width is at most MAX_SCREEN_PX.
        let need = width * format.bytes();
        let pitch = output.pitch_bytes.get();
        if pitch < need {
            return Err(ProtocolFault::SituationPitch { pitch, width, need });
        }
        let vram_offset = output.vram_offset.get();
        Ok(Self { active, vram_offset, format, width, height, pitch_bytes: pitch })
    }
}

impl From<Situation> for wire::SituationOutput {
    fn from(situation: Situation) -> Self {
        Self {
            active: u8::from(situation.active),
            vram_offset: situation.vram_offset.into(),
            depth_bits: situation.format.depth_bits(),
            width_pixels: situation.width.into(),
            height_pixels: situation.height.into(),
            pitch_bytes: situation.pitch_bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xga() -> wire::SituationOutput {
        wire::SituationOutput {
            active: 1,
            vram_offset: 0.into(),
            depth_bits: 32,
            width_pixels: 1024.into(),
            height_pixels: 768.into(),
            pitch_bytes: 4096.into(),
        }
    }

    #[test]
    fn situation_survives_the_wire() {
        let situation = Situation::try_from(xga()).unwrap();
        assert_eq!(wire::SituationOutput::from(situation), xga());
        assert_eq!(situation.bounds(), Rect::new(0, 0, 1024, 768));
    }

    #[test]
    fn depth_of_24_bits_is_a_fault() {
        let output = wire::SituationOutput { depth_bits: 24, ..xga() };
        assert_eq!(Situation::try_from(output), Err(ProtocolFault::SituationDepth(24)));
    }

    #[test]
    fn depth_of_16_bits_needs_half_the_pitch() {
        let output = wire::SituationOutput { depth_bits: 16, pitch_bytes: 2048.into(), ..xga() };
        assert_eq!(Situation::try_from(output).unwrap().format, PixelFormat::Rgb565);
    }

    #[test]
    fn width_and_height_have_limits() {
        for (width, height) in [(0, 768), (1024, 0), (16385, 1), (1, u32::MAX)] {
            let output = wire::SituationOutput {
                width_pixels: width.into(),
                height_pixels: height.into(),
                pitch_bytes: u32::MAX.into(),
                ..xga()
            };
            assert_eq!(
                Situation::try_from(output),
                Err(ProtocolFault::SituationSize(Size::new(width, height)))
            );
        }
    }

    #[test]
    fn pitch_below_a_row_is_a_fault() {
        let output = wire::SituationOutput { pitch_bytes: 4095.into(), ..xga() };
        let fault = ProtocolFault::SituationPitch { pitch: 4095, width: 1024, need: 4096 };
        assert_eq!(Situation::try_from(output), Err(fault));
    }

    #[test]
    fn situation_that_fills_vram_fits_and_one_more_byte_does_not() {
        let bytes = 1024 * 768 * 4;
        let full = Situation::try_from(xga()).unwrap();
        assert_eq!(full.check_vram(bytes), Ok(()));
        let beyond = Situation { vram_offset: 1, ..full };
        assert_eq!(
            beyond.check_vram(bytes),
            Err(ProtocolFault::SituationOutsideVram { end: bytes + 1, vram_bytes: bytes })
        );
    }

    #[test]
    fn widest_offset_and_pitch_do_not_overflow() {
        let output = wire::SituationOutput {
            vram_offset: u32::MAX.into(),
            pitch_bytes: u32::MAX.into(),
            height_pixels: MAX_SCREEN_PX.into(),
            ..xga()
        };
        let situation = Situation::try_from(output).unwrap();
        assert_eq!(situation.vram_end(), u64::from(u32::MAX) * (u64::from(MAX_SCREEN_PX) + 1));
    }

    #[test]
    fn screen_that_is_off_has_no_pixels_and_no_limits() {
        let output = wire::SituationOutput { active: 0, depth_bits: 7, width_pixels: 0.into(), ..xga() };
        let situation = Situation::try_from(output).unwrap();
        assert!(situation.bounds().is_empty());
        assert_eq!(situation.check_vram(0), Ok(()));
        assert_eq!(situation.vram_offset_of(0, 0), None);
    }

    #[test]
    fn pixel_offset_counts_pitch_and_depth() {
        let situation = Situation { vram_offset: 16, ..Situation::try_from(xga()).unwrap() };
        assert_eq!(situation.vram_offset_of(3, 2), Some(16 + 2 * 4096 + 12));
        assert_eq!(situation.vram_offset_of(1024, 0), None);
    }
}
