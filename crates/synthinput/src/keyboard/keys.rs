//! Keys by name, and the scan codes (set 1) that stand for them.

use super::Keystroke;

/// A key of a US keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Make code, below 0x80.
    pub(super) code: u8,
    /// Its code has prefix 0xE0.
    pub(super) extended: bool,
}

const fn plain(name: &'static str, code: u8) -> Key {
    Key { name, code, extended: false }
}

const fn extended(name: &'static str, code: u8) -> Key {
    Key { name, code, extended: true }
}

/// Every key that has a name here.
///
/// Source: the AT keyboard's scan code set 1, as Linux's atkbd reads it in translated mode.
pub const KEYS: &[Key] = &[
    plain("esc", 0x01),
    plain("1", 0x02),
    plain("2", 0x03),
    plain("3", 0x04),
    plain("4", 0x05),
    plain("5", 0x06),
    plain("6", 0x07),
    plain("7", 0x08),
    plain("8", 0x09),
    plain("9", 0x0a),
    plain("0", 0x0b),
    plain("minus", 0x0c),
    plain("equal", 0x0d),
    plain("backspace", 0x0e),
    plain("tab", 0x0f),
    plain("q", 0x10),
    plain("w", 0x11),
    plain("e", 0x12),
    plain("r", 0x13),
    plain("t", 0x14),
    plain("y", 0x15),
    plain("u", 0x16),
    plain("i", 0x17),
    plain("o", 0x18),
    plain("p", 0x19),
    plain("leftbracket", 0x1a),
    plain("rightbracket", 0x1b),
    plain("enter", 0x1c),
    plain("ctrl", 0x1d),
    plain("a", 0x1e),
    plain("s", 0x1f),
    plain("d", 0x20),
    plain("f", 0x21),
    plain("g", 0x22),
    plain("h", 0x23),
    plain("j", 0x24),
    plain("k", 0x25),
    plain("l", 0x26),
    plain("semicolon", 0x27),
    plain("apostrophe", 0x28),
    plain("grave", 0x29),
    plain("shift", 0x2a),
    plain("backslash", 0x2b),
    plain("z", 0x2c),
    plain("x", 0x2d),
    plain("c", 0x2e),
    plain("v", 0x2f),
    plain("b", 0x30),
    plain("n", 0x31),
    plain("m", 0x32),
    plain("comma", 0x33),
    plain("dot", 0x34),
    plain("slash", 0x35),
    plain("rightshift", 0x36),
    plain("alt", 0x38),
    plain("space", 0x39),
    plain("capslock", 0x3a),
    plain("f1", 0x3b),
    plain("f2", 0x3c),
    plain("f3", 0x3d),
    plain("f4", 0x3e),
    plain("f5", 0x3f),
    plain("f6", 0x40),
    plain("f7", 0x41),
    plain("f8", 0x42),
    plain("f9", 0x43),
    plain("f10", 0x44),
    plain("numlock", 0x45),
    plain("scrolllock", 0x46),
    plain("f11", 0x57),
    plain("f12", 0x58),
    extended("rightctrl", 0x1d),
    extended("sysrq", 0x37),
    extended("rightalt", 0x38),
    extended("home", 0x47),
    extended("up", 0x48),
    extended("pageup", 0x49),
    extended("left", 0x4b),
    extended("right", 0x4d),
    extended("end", 0x4f),
    extended("down", 0x50),
    extended("pagedown", 0x51),
    extended("insert", 0x52),
    extended("del", 0x53),
    extended("meta", 0x5b),
    extended("menu", 0x5d),
];

impl Key {
    /// The key called `name`; case does not count.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name)).copied()
    }
}

/// Most keys that are held down together.
pub const CHORD_MAX: usize = 8;

/// Keys that are pressed one after the other and released in the opposite order: `ctrl+alt+del`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chord {
    keys: [Option<Key>; CHORD_MAX],
}

/// A chord that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChordError<'a> {
    /// A key has no such name.
    #[error("unknown key \"{0}\"")]
    UnknownKey(&'a str),
    /// There are too many keys.
    #[error("\"{0}\" has more than {CHORD_MAX} keys")]
    TooMany(&'a str),
    /// A key is in it twice.
    #[error("key \"{0}\" is in the chord twice")]
    Twice(&'static str),
}

impl Chord {
    /// Reads names with `+` between them.
    ///
    /// # Errors
    /// The first name that is none, a key that comes twice, or more than [`CHORD_MAX`] of them.
    pub fn parse(text: &str) -> Result<Self, ChordError<'_>> {
        let mut chord = Self { keys: [None; CHORD_MAX] };
        for (at, name) in text.split('+').enumerate() {
            let key = Key::named(name).ok_or(ChordError::UnknownKey(name))?;
            if chord.keys().any(|held| held == key) {
                return Err(ChordError::Twice(key.name));
            }
            *chord.keys.get_mut(at).ok_or(ChordError::TooMany(text))? = Some(key);
        }
        Ok(chord)
    }

    /// Its keys, in the order in which they are pressed.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = Key> + '_ {
        self.keys.iter().copied().flatten()
    }

    /// What the keyboard says while the chord is played.
    pub fn strokes(&self) -> impl Iterator<Item = Keystroke> + '_ {
        self.keys().map(Keystroke::press).chain(self.keys().rev().map(Keystroke::release))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_name_and_every_code_is_there_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(key.code < 0x80, "{key:?}");
            for other in &KEYS[at + 1..] {
                assert_ne!(key.name, other.name);
                assert_ne!(
                    (key.code, key.extended),
                    (other.code, other.extended),
                    "{} {}",
                    key.name,
                    other.name
                );
            }
        }
    }

    #[test]
    fn chord_is_released_in_the_opposite_order() {
        let chord = Chord::parse("Ctrl+alt+DEL").unwrap();
        let strokes: Vec<_> = chord.strokes().map(|stroke| (stroke.key().name, stroke.is_press())).collect();
        let (down, up) = (true, false);
        assert_eq!(
            strokes,
            [("ctrl", down), ("alt", down), ("del", down), ("del", up), ("alt", up), ("ctrl", up)]
        );
    }

    #[test]
    fn chords_that_are_none_are_refused_with_the_part_at_fault() {
        assert_eq!(Chord::parse("ctrl+entre"), Err(ChordError::UnknownKey("entre")));
        assert_eq!(Chord::parse(""), Err(ChordError::UnknownKey("")));
        assert_eq!(Chord::parse("a+"), Err(ChordError::UnknownKey("")));
        assert_eq!(Chord::parse("a+b+a"), Err(ChordError::Twice("a")));
        assert_eq!(Chord::parse("1+2+3+4+5+6+7+8+9"), Err(ChordError::TooMany("1+2+3+4+5+6+7+8+9")));
        assert_eq!(Chord::parse("1+2+3+4+5+6+7+8").unwrap().keys().count(), 8);
    }
}
