//! The time that the guest's processors were busy.

use std::fs;

/// Milliseconds in one step of `/proc/stat` (`USER_HZ` is 100 on x86).
const TICK_MS: u64 = 10;

/// Milliseconds since the start that all processors together spent in programs, in the kernel and in interrupts.
pub(super) fn busy_ms() -> Option<u64> {
    busy_ticks(&fs::read_to_string("/proc/stat").ok()?)?.checked_mul(TICK_MS)
}

/// The sum over user, nice, system, irq and softirq of the line for all processors.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, _idle, _iowait, irq, softirq, ..] = fields.as_slice() else { return None };
    [user, nice, system, irq, softirq].into_iter().try_fold(0, u64::checked_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 1000 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n"), Some(31));
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
        assert_eq!(busy_ticks(""), None);
    }
}
