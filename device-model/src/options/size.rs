//! Byte sizes as a person types them.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// A number of bytes, written as decimal digits with an optional K, M or G (1024, 1024 squared, cubed).
///
/// Displayed with the largest suffix that leaves a whole number: 8388608 is `8M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// Not digits with an optional suffix.
    #[error("\"{0}\" is not a size, expected digits with an optional K, M or G")]
    Syntax(String),
    /// More bytes than 64 bits can count.
    #[error("\"{0}\" does not fit 64 bits")]
    TooLarge(String),
}

const SUFFIXES: [(char, u32); 3] = [('G', 30), ('M', 20), ('K', 10)];

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let last = text.chars().next_back().unwrap_or(' ').to_ascii_uppercase();
        let shift = SUFFIXES.iter().find(|(suffix, _)| *suffix == last).map_or(0, |(_, shift)| *shift);
        let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SizeError::Syntax(text.to_owned()));
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, shift) in SUFFIXES {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024_in_either_case() {
        for (text, bytes) in [("512", 512), ("4k", 4096), ("8M", 8 << 20), ("2g", 2 << 30), ("0", 0)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_text() {
        for text in ["", "M", "8MB", "-1", "8 M", "0x10", "1.5G", "M8"] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError::Syntax(text.to_owned())));
        }
        for text in ["99999999999999999999", "17179869184G"] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError::TooLarge(text.to_owned())));
        }
    }

    #[test]
    fn display_reads_back_as_the_same_number() {
        for bytes in [0, 1, 1023, 1024, 3 << 20, 8 << 20, 5 << 30, 4097] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(3 << 20).to_string(), "3M");
    }
}
