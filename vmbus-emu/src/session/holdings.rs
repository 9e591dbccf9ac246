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
    Some(resident_kib(&fs::read_to_string("/proc/self/smaps").ok()?, |mapping| !mapping.is_the_guests()))
}

/// Smallest guest RAM in KiB; a mapping of that size is the guest's.
const GUEST_RAM_KIB: u64 = 128 << 10;

/// What VRAM is called among the mappings.
const VRAM: &str = "/memfd:vram";

/// A mapping of this process.
#[derive(Clone, Copy, Debug, Default)]
struct Mapping<'a> {
    /// Addresses, permissions, and the file if there is one.
    head: &'a str,
    size_kib: u64,
}

impl Mapping<'_> {
    fn has_file(&self) -> bool {
        self.head.contains('/')
    }

    fn is_the_guests(&self) -> bool {
        self.head.contains(VRAM) || (!self.has_file() && self.size_kib >= GUEST_RAM_KIB)
    }
}

/// Resident memory in KiB of mappings without a file that are too small to be a guest's.
fn memory_kib(smaps: &str) -> u64 {
    resident_kib(smaps, |mapping| !mapping.has_file() && !mapping.is_the_guests())
}

/// Resident memory in KiB of the mappings that count.
fn resident_kib(smaps: &str, counts: impl Fn(&Mapping<'_>) -> bool) -> u64 {
    let number = |text: &str| text.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    let mut mapping = Mapping::default();
    let mut sum = 0_u64;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Size:") {
            mapping.size_kib = number(size);
        } else if let Some(resident) = line.strip_prefix("Rss:") {
            sum = sum.saturating_add(if counts(&mapping) { number(resident) } else { 0 });
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            mapping = Mapping { head: line, size_kib: 0 };
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
    fn neither_files_nor_guest_ram_count() {
        let smaps = "5500-5600 rw-p 0 00:00 0    [heap]\nSize: 200 kB\nRss:                 132 kB\nPss: 1 kB\n\
                     7f00-7f10 rw-p 0 00:00 0 \nSize: 10 kB\nRss: 8 kB\n\
                     7f20-7f30 rw-p 0 00:00 0 \nSize: 524288 kB\nRss: 999 kB\n\
                     7f40-7f50 rw-s 0 00:01 7 /memfd:vram (deleted)\nSize: 8192 kB\nRss: 4096 kB\n";
        assert_eq!(memory_kib(smaps), 140);
    }

    #[test]
    fn memory_of_the_program_is_all_but_guest_ram_and_vram() {
        let smaps = "5400-5500 r-xp 0 00:01 5 /usr/bin/vmbus-emu\nSize: 9000 kB\nRss: 3000 kB\n\
                     5500-5600 rw-p 0 00:00 0    [heap]\nSize: 200 kB\nRss: 132 kB\n\
                     7f20-7f30 rw-p 0 00:00 0 \nSize: 131072 kB\nRss: 131072 kB\n\
                     7f40-7f50 rw-s 0 00:01 7 /memfd:vram (deleted)\nSize: 8192 kB\nRss: 4096 kB\n";
        assert_eq!(resident_kib(smaps, |mapping| !mapping.is_the_guests()), 3132);
        let own = vmm_memory_kib().unwrap();
        assert!((100..GUEST_RAM_KIB).contains(&own), "{own}");
    }
}
