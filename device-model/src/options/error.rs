//! What can be wrong with a `--device` text, told so that the reader can mend it without the manual.

use core::fmt;
use core::ops::Range;

use super::nearest;

/// A mistake in a `--device` text, with the text and the place.
///
/// Displayed over several lines: what is wrong, the text, a caret line below it, what is known, and the
/// nearest known word where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    text: String,
    span: Range<usize>,
    mistake: OptionMistake,
}

/// The mistake itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionMistake {
    /// The text does not start with a device that exists.
    UnknownDevice {
        /// Devices that do.
        known: &'static [&'static str],
    },
    /// The device has no such key.
    UnknownKey {
        /// Keys that it has.
        known: Vec<&'static str>,
    },
    /// A key stands alone where `key=value` belongs.
    MissingValue {
        /// The form that belongs there.
        form: String,
    },
    /// Nothing stands between two commas, or after the last.
    Empty,
    /// A key appears twice.
    Duplicate,
    /// A bracket is opened and not closed, or closed and not opened.
    UnbalancedBracket,
    /// The key exists, its value does not do.
    BadValue {
        /// Why not, with the limit.
        reason: String,
        /// The words that would do, if the value is one of a few words.
        known: &'static [&'static str],
    },
    /// Each value is right alone, together they are not.
    Conflict {
        /// What does not go together, with both numbers.
        reason: String,
    },
}

impl OptionError {
    pub(super) fn new(text: &str, span: Range<usize>, mistake: OptionMistake) -> Self {
        Self { text: text.to_owned(), span, mistake }
    }

    /// The whole text as typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the text that is wrong.
    pub fn quoted(&self) -> &str {
        self.text.get(self.span.clone()).unwrap_or_default()
    }

    /// The mistake.
    pub fn mistake(&self) -> &OptionMistake {
        &self.mistake
    }

    fn known_words(&self) -> (&'static str, Vec<&'static str>) {
        match &self.mistake {
            OptionMistake::UnknownDevice { known } => ("known devices", known.to_vec()),
            OptionMistake::UnknownKey { known } => ("known keys", known.clone()),
            OptionMistake::BadValue { known, .. } => ("known values", known.to_vec()),
            _ => ("", Vec::new()),
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = self.quoted();
        match &self.mistake {
            OptionMistake::UnknownDevice { .. } => write!(f, "unknown device \"{quoted}\"")?,
            OptionMistake::UnknownKey { known } if known.is_empty() => {
                write!(f, "unknown key \"{quoted}\", this device has none")?;
            }
            OptionMistake::UnknownKey { .. } => write!(f, "unknown key \"{quoted}\"")?,
            OptionMistake::MissingValue { form } => write!(f, "\"{quoted}\" has no value, expected {form}")?,
            OptionMistake::Empty => write!(f, "a key is missing after a comma")?,
            OptionMistake::Duplicate => write!(f, "key \"{quoted}\" is given twice")?,
            OptionMistake::UnbalancedBracket => write!(f, "bracket without its partner in \"{quoted}\"")?,
            OptionMistake::BadValue { reason, .. } => write!(f, "bad value \"{quoted}\": {reason}")?,
            OptionMistake::Conflict { reason } => write!(f, "{reason}")?,
        }
        let before = self.text.get(..self.span.start).unwrap_or_default().chars().count();
        let carets = quoted.chars().count().max(1);
        write!(f, "\n  {}\n  {:before$}{:^<carets$}", self.text, "", "")?;
        let (title, known) = self.known_words();
        if !known.is_empty() {
            write!(f, "\n{title}: {}", known.join(", "))?;
        }
        if let Some(word) = nearest(quoted, known) {
            write!(f, "\ndid you mean {word}?")?;
        }
        Ok(())
    }
}

impl core::error::Error for OptionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caret_line_counts_letters_not_bytes() {
        let error = OptionError::new("däv,x", 5..6, OptionMistake::UnknownKey { known: vec!["vram"] });
        assert_eq!(error.to_string(), "unknown key \"x\"\n  däv,x\n      ^\nknown keys: vram");
    }

    #[test]
    fn empty_place_still_gets_a_caret() {
        let error = OptionError::new("dev,,a=1", 4..4, OptionMistake::Empty);
        assert_eq!(error.to_string(), "a key is missing after a comma\n  dev,,a=1\n      ^");
    }
}
