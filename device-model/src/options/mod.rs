//! The text of one `--device` option, `NAME[,KEY=VALUE...]`, read by a table that also writes its own help.
//!
//! A device's keys live in one [`DeviceSpec`]: name, value syntax, default, meaning and the function that takes
//! the value. Parsing, the help text, the table in the README and the list in an error message all come from
//! it, so they cannot disagree. Text is untrusted only in the sense that a person typed it: every mistake
//! becomes an [`OptionError`] that quotes the text, points at the place and says what would have been right.
//!
//! Grammar: keys are separated by commas, a list is written in square brackets, nothing is quoted or escaped.
//!
//! ```
//! use device_model::options::{DeviceOptions, SynthvidOptions};
//!
//! let video = SynthvidOptions::parse("hyperv-synthvid,vram=4M,mode=800x600")?;
//! assert_eq!(video.vram_bytes, 4 << 20);
//! assert_eq!("hyperv-mouse".parse(), Ok(DeviceOptions::Mouse));
//!
//! let error = "hyperv-synthvid,vrma=4M".parse::<DeviceOptions>().unwrap_err();
//! assert!(error.to_string().contains("did you mean vram?"));
//! # Ok::<(), device_model::options::OptionError>(())
//! ```

mod error;
mod input;
mod misbehaviour;
mod nearest;
mod set;
mod size;
mod spec;
mod video;

use core::fmt::Write as _;
use core::str::FromStr;

pub use error::{OptionError, OptionMistake};
pub use input::{KEYBOARD, MOUSE, NoKeys};
pub use misbehaviour::{Stall, VramAck};
pub use nearest::nearest;
pub use set::{DeviceSet, DeviceSetError};
pub use size::{ByteSize, SizeError};
pub use spec::{DeviceSpec, KeySpec, ValueError};
pub use video::{Repaint, SYNTHVID, SynthvidKeys, SynthvidOptions, screen_size};

/// What one `--device` option asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceOptions {
    /// `hyperv-synthvid`: the synthetic video device.
    Synthvid(SynthvidOptions),
    /// `hyperv-keyboard`: the synthetic keyboard.
    Keyboard,
    /// `hyperv-mouse`: the synthetic mouse.
    Mouse,
}

impl DeviceOptions {
    /// The names that a `--device` option may start with.
    pub const NAMES: &'static [&'static str] = &[SYNTHVID.name, KEYBOARD.name, MOUSE.name];
}

impl FromStr for DeviceOptions {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let name = text.split(',').next().unwrap_or_default();
        if name == SYNTHVID.name {
            return SynthvidOptions::parse(text).map(Self::Synthvid);
        }
        for (spec, device) in [(&KEYBOARD, Self::Keyboard), (&MOUSE, Self::Mouse)] {
            if name == spec.name {
                return spec.parse(text).map(|_| device);
            }
        }
        Err(OptionError::new(text, 0..name.len(), OptionMistake::UnknownDevice { known: Self::NAMES }))
    }
}

/// One row of a key table, for help texts and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Device the key belongs to.
    pub device: &'static str,
    /// Key.
    pub key: &'static str,
    /// Syntax of its value.
    pub value: &'static str,
    /// Value that holds when the key is absent.
    pub default: &'static str,
    /// What it does, in one sentence without a full stop.
    pub doc: &'static str,
}

/// Every key of every device, in the order of the tables.
pub fn key_rows() -> Vec<KeyRow> {
    SYNTHVID
        .keys
        .iter()
        .map(|key| KeyRow {
            device: SYNTHVID.name,
            key: key.name,
            value: key.value,
            default: key.default,
            doc: key.doc,
        })
        .collect()
}

/// What `--device help` prints.
pub fn help() -> String {
    let rows = key_rows();
    let left = |row: &KeyRow| format!("{}={}", row.key, row.value);
    let width = rows.iter().map(|row| left(row).len()).max().unwrap_or_default();
    let mut text = format!("{}: {}\n", SYNTHVID.name, SYNTHVID.doc);
    for row in &rows {
        let _ = writeln!(text, "  {:width$}  {} [default: {}]", left(row), row.doc, row.default);
    }
    for spec in [&KEYBOARD, &MOUSE] {
        let _ = writeln!(text, "{}: {}", spec.name, spec.doc);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_device_is_quoted_pointed_at_and_answered_with_the_nearest() {
        let error = "hyperv-synthvit,vram=4M".parse::<DeviceOptions>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown device \"hyperv-synthvit\"\n\
             \x20 hyperv-synthvit,vram=4M\n\
             \x20 ^^^^^^^^^^^^^^^\n\
             known devices: hyperv-synthvid, hyperv-keyboard, hyperv-mouse\n\
             did you mean hyperv-synthvid?"
        );
    }

    #[test]
    fn empty_device_text_names_the_known_devices() {
        let error = "".parse::<DeviceOptions>().unwrap_err();
        assert!(error.to_string().contains("known devices: hyperv-synthvid"), "{error}");
    }

    #[test]
    fn help_names_every_device() {
        let help = help();
        for name in DeviceOptions::NAMES {
            assert!(help.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name} in\n{help}");
        }
        assert_eq!("hyperv-keybord".parse::<DeviceOptions>().unwrap_err().quoted(), "hyperv-keybord");
    }

    #[test]
    fn help_has_a_line_for_every_key_with_its_default() {
        let help = help();
        for row in key_rows() {
            let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{}=", row.key)));
            let line = line.unwrap_or_else(|| panic!("no line for {} in\n{help}", row.key));
            assert!(line.contains(&format!("[default: {}]", row.default)), "{line}");
        }
    }
}
