//! The description of the monitor that goes with the modes: an EDID 1.4 base block.
//!
//! Linux ignores it; other guests read the monitor's name and preferred timing from it.
//!
//! Source: VESA E-EDID Standard, Release A2 (EDID 1.4), section 3; timings after VESA CVT 1.2, reduced blanking.

use crate::modes::Mode;

/// Bytes of an EDID base block.
pub const EDID_BYTES: usize = 128;

/// Largest width or height that a detailed timing can carry: 12 bits.
const MAX_TIMING_PX: u16 = 0xfff;

/// A 128-byte EDID block with a good checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edid([u8; EDID_BYTES]);

impl Edid {
    /// The monitor whose preferred timing is `mode` at 60 Hz.
    ///
    /// A width or height of more than 4095 cannot be said in an EDID base block and is cut to that; a pixel clock
    /// above 655.35 MHz lowers the refresh rate instead.
    #[must_use]
    pub fn for_mode(mode: Mode) -> Self {
        let mut writer = Writer { block: [0; EDID_BYTES], at: 0 };
        // Fixed header pattern.
        writer.put(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
        // "MSH" product 0x062e, the identity of Hyper-V's own monitor; no serial number; week 0 of 2010.
        writer.put(&manufacturer(*b"MSH"));
        writer.put(&[0x2e, 0x06, 0, 0, 0, 0, 0, 20]);
        // EDID 1.4.
        writer.put(&[1, 4]);
        // Digital, 8 bits a colour; no size in centimetres; gamma 2.2; RGB 4:4:4, sRGB, preferred timing is native.
        writer.put(&[0xa0, 0, 0, 120, 0x06]);
        // Chromaticity of sRGB.
        writer.put(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
        // Established timings: 640x480, 800x600 and 1024x768, all at 60 Hz.
        writer.put(&[0x21, 0x08, 0x00]);
        // No standard timings.
        writer.put(&[0x01; 16]);
        writer.put(&detailed_timing(mode));
        writer.put(&text_descriptor(0xfc, b"synthvid\n    "));
        writer.put(&RANGE_LIMITS);
        writer.put(&DUMMY_DESCRIPTOR);
        // No extension blocks.
        writer.put(&[0]);
        writer.finish()
    }

    /// The block.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; EDID_BYTES] {
        &self.0
    }
}

/// 24 to 120 Hz, 15 to 200 kHz, up to 660 MHz; the preferred timing says the rest.
const RANGE_LIMITS: [u8; 18] =
    [0, 0, 0, 0xfd, 0, 24, 120, 15, 200, 66, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20];

const DUMMY_DESCRIPTOR: [u8; 18] = [0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

struct Writer {
    block: [u8; EDID_BYTES],
    at: usize,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        for (place, byte) in self.block.iter_mut().skip(self.at).zip(bytes) {
            *place = *byte;
        }
        self.at += bytes.len();
    }

    fn finish(mut self) -> Edid {
        debug_assert_eq!(self.at, EDID_BYTES - 1, "every byte but the checksum is written");
        let sum = self.block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        self.put(&[sum.wrapping_neg()]);
        Edid(self.block)
    }
}

/// Three letters, five bits each, big endian.
const fn manufacturer(letters: [u8; 3]) -> [u8; 2] {
    let [a, b, c] = letters;
    let code = ((a & 0x1f) as u16) << 10 | ((b & 0x1f) as u16) << 5 | (c & 0x1f) as u16;
    code.to_be_bytes()
}

const fn text_descriptor(tag: u8, text: &[u8; 13]) -> [u8; 18] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m] = *text;
    [0, 0, 0, tag, 0, a, b, c, d, e, f, g, h, i, j, k, l, m]
}

/// An 18-byte detailed timing descriptor at 60 Hz.
fn detailed_timing(mode: Mode) -> [u8; 18] {
    // CVT with reduced blanking fixes the horizontal blanking and asks for 460 us of vertical blanking.
    const H_BLANK: u16 = 160;
    const H_FRONT: u16 = 48;
    const H_SYNC: u8 = 32;
    const V_FRONT: u8 = 3;
    const V_SYNC: u8 = 6;
    const V_BLANK_MIN: u64 = 16;
    const REFRESH_HZ: u64 = 60;
    const V_BLANK_US: u64 = 460;

    let width = mode.width.min(MAX_TIMING_PX);
    let height = mode.height.min(MAX_TIMING_PX);
    let line_budget_us = 1_000_000 / REFRESH_HZ - V_BLANK_US;
    let blank_lines = (V_BLANK_US * u64::from(height) / line_budget_us + 1).max(V_BLANK_MIN);
    let v_blank = u16::try_from(blank_lines).unwrap_or(MAX_TIMING_PX);
    let total_px = (u64::from(width) + u64::from(H_BLANK)) * (u64::from(height) + u64::from(v_blank));
    let clock_10khz = u16::try_from(total_px * REFRESH_HZ / 10_000).unwrap_or(u16::MAX);

    let [clock_low, clock_high] = clock_10khz.to_le_bytes();
    let [width_low, width_high] = width.to_le_bytes();
    let [height_low, height_high] = height.to_le_bytes();
    let [h_blank_low, h_blank_high] = H_BLANK.to_le_bytes();
    let [v_blank_low, v_blank_high] = v_blank.to_le_bytes();
    let [h_front_low, _] = H_FRONT.to_le_bytes();
    [
        clock_low,
        clock_high,
        width_low,
        h_blank_low,
        width_high << 4 | h_blank_high,
        height_low,
        v_blank_low,
        height_high << 4 | v_blank_high,
        h_front_low,
        H_SYNC,
        V_FRONT << 4 | V_SYNC,
        0, // upper bits of the four above
        0,
        0,
        0, // no size in millimetres
        0,
        0,    // no border
        0x1a, // not interlaced; digital separate sync, horizontal positive as CVT-RB has it
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(edid: &Edid) -> u8 {
        edid.as_bytes().iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn header_and_checksum_are_good_for_any_mode() {
        for (width, height) in
            [(640, 480), (1024, 768), (1920, 1080), (4095, 4095), (1, 1), (u16::MAX, u16::MAX)]
        {
            let edid = Edid::for_mode(Mode::new(width, height));
            assert_eq!(sum(&edid), 0, "{width}x{height}");
            assert_eq!(edid.as_bytes()[..8], [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
        }
    }

    #[test]
    fn manufacturer_reads_back_as_letters() {
        let edid = Edid::for_mode(Mode::new(1024, 768));
        let code = u16::from_be_bytes([edid.as_bytes()[8], edid.as_bytes()[9]]);
        let letters = [code >> 10 & 0x1f, code >> 5 & 0x1f, code & 0x1f].map(|five_bits| five_bits + 0x40);
        assert_eq!(letters, [u16::from(b'M'), u16::from(b'S'), u16::from(b'H')]);
    }

    #[test]
    fn detailed_timing_holds_the_mode_at_60_hz() {
        let edid = Edid::for_mode(Mode::new(1920, 1080));
        let timing: [u16; 18] = core::array::from_fn(|index| u16::from(edid.as_bytes()[54 + index]));
        assert_eq!(timing[2] | (timing[4] & 0xf0) << 4, 1920);
        assert_eq!(timing[5] | (timing[7] & 0xf0) << 4, 1080);
        let h_total = 1920 + u32::from(timing[3] | (timing[4] & 0xf) << 8);
        let v_total = 1080 + u32::from(timing[6] | (timing[7] & 0xf) << 8);
        let clock_hz = u32::from(timing[0] | timing[1] << 8) * 10_000;
        let refresh_mhz = u64::from(clock_hz) * 1000 / u64::from(h_total * v_total);
        assert!((59_900..=60_000).contains(&refresh_mhz), "{refresh_mhz} mHz");
        // 1920x1080 with reduced blanking is 2080 by 1111 in the CVT table.
        assert_eq!((h_total, v_total), (2080, 1111));
    }

    #[test]
    fn oversized_mode_is_cut_to_twelve_bits() {
        let edid = Edid::for_mode(Mode::new(u16::MAX, 8192));
        assert_eq!(edid.as_bytes()[56], 0xff);
        assert_eq!(edid.as_bytes()[58] >> 4, 0xf);
        assert_eq!(edid.as_bytes()[59], 0xff);
    }

    #[test]
    fn four_descriptors_fill_the_block_to_the_checksum() {
        let edid = Edid::for_mode(Mode::new(1024, 768));
        let tags = [72, 90, 108].map(|at| edid.as_bytes()[at + 3]);
        assert_eq!(tags, [0xfc, 0xfd, 0x10]);
        assert_eq!(&edid.as_bytes()[77..85], b"synthvid");
        assert_eq!(edid.as_bytes()[126], 0);
    }
}
