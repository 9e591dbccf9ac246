//! What a report of the mouse looks like, in words of HID.

/// Greatest value of an axis.
pub const AXIS_MAX: u16 = 32767;

/// Describes [`super::wire::Report`] (HID 1.11, 6.2.2): five buttons, two absolute axes, a relative wheel.
///
/// Byte 14 must not be 0x25: Linux takes that for a mistake of old hosts, and changes it.
pub const REPORT_DESCRIPTOR: [u8; 65] = [
    0x05, 0x01, // usage page: generic desktop
    0x09, 0x02, // usage: mouse
    0xa1, 0x01, // collection: application
    0x09, 0x01, //   usage: pointer
    0xa1, 0x00, //   collection: physical
    0x05, 0x09, //     usage page: button
    0x19, 0x01, //     usage minimum: 1
    0x29, 0x05, //     usage maximum: 5
    0x15, 0x00, //     logical minimum: 0
    0x25, 0x01, //     logical maximum: 1
    0x95, 0x05, //     report count: 5
    0x75, 0x01, //     report size: 1 bit
    0x81, 0x02, //     input: data, variable, absolute
    0x95, 0x01, //     report count: 1
    0x75, 0x03, //     report size: 3 bits
    0x81, 0x03, //     input: constant
    0x05, 0x01, //     usage page: generic desktop
    0x09, 0x30, //     usage: X
    0x09, 0x31, //     usage: Y
    0x15, 0x00, //     logical minimum: 0
    0x26, 0xff, 0x7f, //     logical maximum: 32767
    0x75, 0x10, //     report size: 16 bits
    0x95, 0x02, //     report count: 2
    0x81, 0x02, //     input: data, variable, absolute
    0x09, 0x38, //     usage: wheel
    0x16, 0x01, 0x80, //     logical minimum: -32767
    0x26, 0xff, 0x7f, //     logical maximum: 32767
    0x75, 0x10, //     report size: 16 bits
    0x95, 0x01, //     report count: 1
    0x81, 0x06, //     input: data, variable, relative
    0xc0, //   end of collection
    0xc0, // end of collection
];

/// A mouse button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Button {
    /// Usually under the index finger.
    Left,
    /// Usually for menus.
    Right,
    /// The wheel.
    Middle,
    /// At the side, backwards.
    Side,
    /// At the side, forwards.
    Extra,
}

/// A word that names no button.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown button, known are left, right, middle, side, extra")]
pub struct UnknownButton;

impl Button {
    /// Every button with its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("left", Self::Left),
        ("right", Self::Right),
        ("middle", Self::Middle),
        ("side", Self::Side),
        ("extra", Self::Extra),
    ];

    /// Its bit in a report.
    #[must_use]
    pub const fn bit(self) -> u8 {
        match self {
            Self::Left => 1 << 0,
            Self::Right => 1 << 1,
            Self::Middle => 1 << 2,
            Self::Side => 1 << 3,
            Self::Extra => 1 << 4,
        }
    }
}

impl core::str::FromStr for Button {
    type Err = UnknownButton;

    fn from_str(name: &str) -> Result<Self, UnknownButton> {
        let found = Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, button)| *button).ok_or(UnknownButton)
    }
}

/// A place on the screen, whatever its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// 0 to [`AXIS_MAX`], left to right.
    pub x: u16,
    /// 0 to [`AXIS_MAX`], top to bottom.
    pub y: u16,
}

impl Position {
    /// The place of pixel (`x`, `y`) of a screen of `width` by `height`; what lies outside goes to the edge.
    ///
    /// The first pixel is at 0, the last at [`AXIS_MAX`].
    #[must_use]
    pub fn of_pixel((x, y): (u32, u32), (width, height): (u32, u32)) -> Self {
        let axis = |at: u32, len: u32| {
            let last = u64::from(len.saturating_sub(1)).max(1);
            let scaled = u64::from(at).min(last) * u64::from(AXIS_MAX) / last;
            u16::try_from(scaled).unwrap_or(AXIS_MAX).min(AXIS_MAX)
        };
        Self { x: axis(x, width), y: axis(y, height) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_escapes_the_repair_of_old_hosts_and_describes_seven_bytes() {
        assert_ne!(REPORT_DESCRIPTOR[14], 0x25);
        // Every item here has one or two bytes of data, as its two low bits say; count * size of each input.
        let (mut at, mut size, mut count, mut bits) = (0, 0_u32, 0_u32, 0_u32);
        while at < REPORT_DESCRIPTOR.len() {
            let item = REPORT_DESCRIPTOR[at];
            let data = REPORT_DESCRIPTOR.get(at + 1).copied().unwrap_or(0);
            match item & 0xfc {
                0x74 => size = data.into(),
                0x94 => count = data.into(),
                0x80 => bits += size * count,
                _ => {}
            }
            at += 1 + usize::from(item & 3);
        }
        assert_eq!(bits, 7 * 8);
        assert_eq!(at, REPORT_DESCRIPTOR.len());
    }

    #[test]
    fn corners_of_a_screen_are_the_ends_of_the_axes() {
        let screen = (1024, 768);
        assert_eq!(Position::of_pixel((0, 0), screen), Position { x: 0, y: 0 });
        assert_eq!(Position::of_pixel((1023, 767), screen), Position { x: AXIS_MAX, y: AXIS_MAX });
        assert_eq!(Position::of_pixel((u32::MAX, 0), screen), Position { x: AXIS_MAX, y: 0 });
        for empty in [(0, 0), (1, 1)] {
            assert_eq!(Position::of_pixel((0, 0), empty), Position { x: 0, y: 0 });
        }
        let sizes = Position::of_pixel((u32::MAX - 1, 1), (u32::MAX, 3));
        assert_eq!(sizes, Position { x: AXIS_MAX, y: AXIS_MAX / 2 });
    }

    #[test]
    fn every_button_reads_back_from_its_name_and_has_its_own_bit() {
        let mut seen = 0;
        for (name, button) in Button::NAMES {
            assert_eq!(name.parse(), Ok(button));
            assert_eq!(seen & button.bit(), 0);
            seen |= button.bit();
        }
        assert_eq!(seen, 0x1f);
        assert_eq!("wheel".parse::<Button>(), Err(UnknownButton));
    }
}
