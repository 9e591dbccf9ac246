//! What this process holds of the system's, before and after something that must leave nothing behind.

use std::fs;

use meter::report::Check;

use super::checks;

/// Most that the process may have grown, in KiB: an allocator keeps what it was given, a leaked surface or guest would be more.
const GROWTH_MAX_KIB: u64 = 8 << 10;

/// Open file descriptors, threads and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Resident memory of its own: neither of a file, nor guest RAM, nor VRAM.
    memory_kib: u64,
}

impl Holdings {
    /// Of this process, now. `None` where /proc does not say.
    pub(super) fn now() -> Option<Self> {
        let count = |directory: &str| Some(fs::read_dir(directory).ok()?.count());
        Some(Self {
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            memory_kib: memory_kib(&fs::read_to_string("/proc/self/smaps").ok()?),
        })
    }

    /// How much more memory is held now than in `self`.
    pub(super) fn grown_kib(self) -> Option<u64> {
        Some(Self::now()?.memory_kib.saturating_sub(self.memory_kib))
    }

    /// Whether no more is held now than in `before`, after `what`.
    pub(super) fn check(before: Option<Self>, what: &str) -> Check {
        let (Some(before), Some(now)) = (before, Self::now()) else {
            return checks::check("no_leak", false, "/proc does not say what this process holds");
        };
        let grown = now.memory_kib.saturating_sub(before.memory_kib);
        let passed =
            now.descriptors <= before.descriptors && now.threads <= before.threads && grown <= GROWTH_MAX_KIB;
        let detail = format!(
            "{what}: {} file descriptors before, {} after; {} and {} threads; memory grown by {grown} KiB, \
             limit is {GROWTH_MAX_KIB}",
            before.descriptors, now.descriptors, before.threads, now.threads
        );
        checks::check("no_leak", passed, detail)
    }
}

/// Resident memory of this process in KiB, now, without guest RAM and VRAM. `None` where /proc does not say.
pub(super) fn vmm_memory_kib() -> Option<u64> {
    Some(own_kib(&fs::read_to_string("/proc/self/smaps").ok()?))
}

/// What guest RAM and VRAM are called among the mappings.
const OF_THE_GUEST: [&str; 2] = ["/memfd:guest-ram", "/memfd:vram"];

/// Resident memory in KiB of mappings without a file.
fn memory_kib(smaps: &str) -> u64 {
    resident_kib(smaps, |head| !head.contains('/'))
}

/// Resident memory in KiB of mappings that are not the guest's.
fn own_kib(smaps: &str) -> u64 {
    resident_kib(smaps, |head| !OF_THE_GUEST.iter().any(|name| head.contains(name)))
}

/// Resident memory in KiB of the mappings that count by their first line: addresses, permissions, and the file if there is one.
fn resident_kib(smaps: &str, counts: impl Fn(&str) -> bool) -> u64 {
    let number = |text: &str| text.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    let mut counted = false;
    let mut sum = 0_u64;
    for line in smaps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            sum = sum.saturating_add(if counted { number(resident) } else { 0 });
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            counted = counts(line);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn descriptor_that_stays_open_is_a_leak() {
        let before = Holdings::now();
        assert!(before.is_some());
        // Other tests open files at the same time, so far more than they could.
        let files: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let check = Holdings::check(before, "200 files");
        assert!(!check.passed, "{}", check.detail);
        drop(files);
    }

    #[test]
    fn neither_files_nor_the_guests_memory_count() {
        let smaps = "5400-5500 r-xp 0 00:01 5    /usr/bin/vmbus-emu\nSize: 9000 kB\nRss: 3000 kB\n\
                     5500-5600 rw-p 0 00:00 0    [heap]\nSize: 200 kB\nRss:                 132 kB\nPss: 1 kB\n\
                     7f00-7f10 rw-p 0 00:00 0 \nSize: 10 kB\nRss: 8 kB\n\
                     7f20-7f30 rw-s 0 00:01 6    /memfd:guest-ram (deleted)\nSize: 524288 kB\nRss: 999 kB\n\
                     7f40-7f50 rw-s 0 00:01 7    /memfd:vram (deleted)\nSize: 8192 kB\nRss: 4096 kB\n";
        assert_eq!((memory_kib(smaps), own_kib(smaps)), (140, 3140));
        assert!(vmm_memory_kib().is_some_and(|own| own > 100));
    }
}
