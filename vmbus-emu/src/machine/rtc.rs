//! The CMOS clock (MC146818), read-only, from the host's clock in UTC.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::bus::{PortDevice, PowerRequest};

/// Index and data port.
pub(super) const PORTS: RangeInclusive<u16> = 0x70..=0x71;
/// CMOS byte with the century, which the FADT names.
pub(super) const CENTURY: u8 = 0x32;

/// Divider on, 1024 Hz rate; "update in progress" never shows.
const STATUS_A: u8 = 0x26;
/// 24-hour mode, BCD.
const STATUS_B: u8 = 0x02;
/// Battery good. Without it Linux takes the time for garbage.
const STATUS_D: u8 = 0x80;

/// The clock. Writes to time, alarm and memory bytes are accepted and forgotten.
pub(super) struct CmosClock {
    index: Mutex<u8>,
    now: fn() -> SystemTime,
}

impl CmosClock {
    pub(super) fn new() -> Self {
        Self { index: Mutex::new(0), now: SystemTime::now }
    }

    fn byte(&self, index: u8) -> u8 {
        let seconds = (self.now)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let time = CivilTime::from_unix(seconds);
        match index {
            0x00 => bcd(time.second),
            0x02 => bcd(time.minute),
            0x04 => bcd(time.hour),
            0x06 => bcd(time.weekday),
            0x07 => bcd(time.day),
            0x08 => bcd(time.month),
            0x09 => bcd(time.year % 100),
            0x0a => STATUS_A,
            0x0b => STATUS_B,
            0x0d => STATUS_D,
            CENTURY => bcd(time.year / 100),
            _ => 0,
        }
    }
}

impl PortDevice for CmosClock {
    fn read(&self, port: u16, data: &mut [u8]) {
        let index = *self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for (byte, port) in data.iter_mut().zip(port..) {
            *byte = if port == *PORTS.end() { self.byte(index) } else { 0xff };
        }
    }

    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        const NMI_DISABLE: u8 = 0x80;
        if let (true, Some(index)) = (port == *PORTS.start(), data.first()) {
            *self.index.lock().unwrap_or_else(PoisonError::into_inner) = index & !NMI_DISABLE;
        }
        None
    }
}

/// A moment in the Gregorian calendar, UTC.
#[derive(Debug, PartialEq, Eq)]
struct CivilTime {
    year: u64,
    month: u64,
    day: u64,
    /// 1 is Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl CivilTime {
    fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400;
        // Count from 1 March of year 0, so that the leap day ends a year and 400 years are one cycle.
        let shifted = days + 719_468;
        let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: cycle * 400 + year_of_cycle + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            weekday: (days + 4) % 7 + 1,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

fn bcd(value: u64) -> u8 {
    let two_digits = value % 100;
    u8::try_from(two_digits / 10 * 16 + two_digits % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn civil(seconds: u64) -> (u64, u64, u64, u64) {
        let time = CivilTime::from_unix(seconds);
        (time.year, time.month, time.day, time.weekday)
    }

    #[test]
    fn leap_days_and_century_ends_are_right() {
        assert_eq!(civil(0), (1970, 1, 1, 5));
        assert_eq!(civil(951_782_400), (2000, 2, 29, 3));
        assert_eq!(civil(4_107_542_399), (2100, 2, 28, 1));
        assert_eq!(civil(4_107_542_400), (2100, 3, 1, 2));
        assert_eq!(civil(1_735_689_599), (2024, 12, 31, 3));
    }

    #[test]
    fn registers_are_bcd_of_the_host_clock() {
        let clock =
            CmosClock { index: Mutex::new(0), now: || UNIX_EPOCH + Duration::from_secs(1_735_689_599) };
        let read = |index: u8| {
            clock.write(0x70, &[index | 0x80]);
            let mut data = [0];
            clock.read(0x71, &mut data);
            data[0]
        };
        let time = [0x09, 0x08, 0x07, 0x04, 0x02, 0x00, CENTURY].map(read);
        assert_eq!(time, [0x24, 0x12, 0x31, 0x23, 0x59, 0x59, 0x20]);
        assert_eq!([0x0a, 0x0b, 0x0d].map(read), [STATUS_A, STATUS_B, STATUS_D]);
    }
}
