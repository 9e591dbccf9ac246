//! Test equipment: a host that does on purpose what no good host does, so that it can be seen what a driver makes of it.

use core::fmt;

use super::spec::ValueError;

/// Longest delay of an acknowledgement, in seconds: several times what Linux waits (`VSP_TIMEOUT`, 10 s).
const LATE_MAX_SECS: u64 = 60;
/// Last DIRT at which a stall may begin.
const STALL_DIRT_MAX: u64 = 10_000_000;
/// Longest stall, in milliseconds.
const STALL_MAX_MS: u64 = 60_000;

/// How the host answers VRAM_LOCATION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VramAck {
    /// As soon as the memory is backed, with the guest's own context.
    #[default]
    Normal,
    /// So many seconds after that, 1 to 60.
    Late(u64),
    /// At once, with a context that the guest did not give.
    WrongContext,
    /// Not at all, though the memory is backed.
    Never,
}

impl VramAck {
    /// Reads `normal`, `late:SECONDS`, `wrong-context` or `never`.
    pub(super) fn parse(value: &str) -> Result<Self, ValueError> {
        match value {
            "normal" => Ok(Self::Normal),
            "wrong-context" => Ok(Self::WrongContext),
            "never" => Ok(Self::Never),
            _ => match value.strip_prefix("late:") {
                Some(digits) => Ok(Self::Late(number("seconds", digits, LATE_MAX_SECS)?)),
                None => Err(ValueError::not_one_of(&["normal", "late:SECONDS", "wrong-context", "never"])),
            },
        }
    }
}

impl fmt::Display for VramAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Late(seconds) => write!(f, "late:{seconds}"),
            Self::WrongContext => f.write_str("wrong-context"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Once in a run, the host does not look into the video channel's ring for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The DIRT after which it begins, counted from 1.
    pub at_dirt: u64,
    /// How long it lasts, 1 to 60000.
    pub ms: u64,
}

impl Stall {
    /// Reads `off` or `DIRT:MS`.
    pub(super) fn parse(value: &str) -> Result<Option<Self>, ValueError> {
        if value == "off" {
            return Ok(None);
        }
        let (at_dirt, ms) = value
            .split_once(':')
            .ok_or_else(|| ValueError::new(format!("\"{value}\" is neither off nor DIRT:MS")))?;
        let at_dirt = number("DIRT", at_dirt, STALL_DIRT_MAX)?;
        Ok(Some(Self { at_dirt, ms: number("milliseconds", ms, STALL_MAX_MS)? }))
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at_dirt, self.ms)
    }
}

fn number(what: &str, digits: &str, max: u64) -> Result<u64, ValueError> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let found = if plain { digits.parse().ok() } else { None };
    found
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| ValueError::new(format!("{what} {digits} is outside 1 to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["normal", "late:12", "wrong-context", "never"] {
            assert_eq!(VramAck::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Stall::parse("off").unwrap(), None);
        assert_eq!(Stall::parse("2000:5000").unwrap().unwrap().to_string(), "2000:5000");
    }

    #[test]
    fn values_out_of_range_name_the_limit() {
        for (text, part) in [
            ("late:0", "seconds 0 is outside 1 to 60"),
            ("late:61", "outside 1 to 60"),
            ("late:", "outside 1 to 60"),
            ("late:+1", "outside 1 to 60"),
            ("soon", "not a known value"),
        ] {
            let error = VramAck::parse(text).unwrap_err();
            assert!(format!("{error:?}").contains(part), "{text}: {error:?}");
        }
        for (text, part) in [
            ("on", "is neither off nor DIRT:MS"),
            ("0:5", "DIRT 0 is outside 1 to 10000000"),
            ("5:60001", "milliseconds 60001 is outside 1 to 60000"),
            ("5:99999999999999999999999", "outside 1 to 60000"),
        ] {
            let error = Stall::parse(text).unwrap_err();
            assert!(format!("{error:?}").contains(part), "{text}: {error:?}");
        }
    }
}
