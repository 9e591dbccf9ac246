//! What this process holds of the system's, before and after something that must leave nothing behind.

use std::fs;

use meter::report::Check;

use super::checks;

/// Most that the process may have grown, in KiB: an allocator keeps what it was given, a leaked surface or guest would be more.
const GROWTH_MAX_KIB: u64 = 8 << 10;
/// The same for a few resets. One was seen to add 9 MiB, ten no more than 12, and none in their second half: few do not tell what
/// an allocator keeps from a leak, many do.
const FEW_GROWTH_MAX_KIB: u64 = 16 << 10;
/// The same for the second half of many rounds, in which an allocator has all that it will ever keep, and a leak goes on.
const LATE_GROWTH_MAX_KIB: u64 = 2 << 10;

/// Open file descriptors, threads and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Resident memory of its own: neither of a file, nor guest RAM, nor VRAM.
    memory_kib: u64,
    /// Size of what is mapped as guest RAM, resident or not.
    guest_ram_kib: u64,
}

impl Holdings {
    /// Of this process, now. `None` where /proc does not say.
    pub(super) fn now() -> Option<Self> {
        let count = |directory: &str| Some(fs::read_dir(directory).ok()?.count());
        let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
        Some(Self {
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            memory_kib: memory_kib(&smaps),
            guest_ram_kib: guest_ram_kib(&smaps),
        })
    }

    /// Whether no more is held now than in `before`, after `what`.
    pub(super) fn check(before: Option<Self>, what: &str) -> Check {
        match (before, Self::now()) {
            (Some(before), Some(now)) => now.judged(before, None, GROWTH_MAX_KIB, what),
            _ => unknown(),
        }
    }

    /// As [`Self::check`], for a few resets.
    pub(super) fn check_few(before: Option<Self>, what: &str) -> Check {
        match (before, Self::now()) {
            (Some(before), Some(now)) => now.judged(before, None, FEW_GROWTH_MAX_KIB, what),
            _ => unknown(),
        }
    }

    /// As [`Self::check`], for so many rounds that what was held after half of them tells an allocator from a leak.
    pub(super) fn check_halves(before: Option<Self>, half: Option<Self>, what: &str) -> Check {
        match (before, half, Self::now()) {
            (Some(before), Some(half), Some(now)) => {
                now.judged(before, Some(half), LATE_GROWTH_MAX_KIB, what)
            }
            _ => unknown(),
        }
    }

    /// `limit` is for the growth of memory since `half`, if that is known, and else since `before`.
    fn judged(self, before: Self, half: Option<Self>, limit: u64, what: &str) -> Check {
        let grown_since = |then: Self| self.memory_kib.saturating_sub(then.memory_kib);
        let (grown, late) = (grown_since(before), half.map(grown_since));
        let passed = late.unwrap_or(grown) <= limit
            && self.descriptors <= before.descriptors
            && self.guest_ram_kib <= before.guest_ram_kib
            && self.threads <= before.threads;
        let memory = match late {
            Some(late) => {
                format!("{grown} KiB, {late} KiB of it in the second half, limit of that is {limit}")
            }
            None => format!("{grown} KiB, limit is {limit}"),
        };
        let detail = format!(
            "{what}: {} file descriptors before, {} after; {} and {} threads; {} and {} KiB mapped as guest RAM; memory grown by {memory}",
            before.descriptors,
            self.descriptors,
            before.threads,
            self.threads,
            before.guest_ram_kib,
            self.guest_ram_kib
        );
        checks::check("no_leak", passed, detail)
    }
}

fn unknown() -> Check {
    checks::check("no_leak", false, "/proc does not say what this process holds")
}

/// Resident memory of this process in KiB, now, without guest RAM and VRAM. `None` where /proc does not say.
pub(super) fn vmm_memory_kib() -> Option<u64> {
    Some(own_kib(&fs::read_to_string("/proc/self/smaps").ok()?))
}

/// What guest RAM and VRAM are called among the mappings, where they are files.
const RAM_FILE: &str = "/memfd:guest-ram";
const VRAM_FILE: &str = "/memfd:vram";
/// Among a mapping's flags: huge pages were asked for. `machine/memory.rs` does that for guest RAM, and nothing else here does; an
/// allocator that was told to (glibc.malloc.hugetlb) would be taken for it.
const HUGE_PAGES: &str = "hg";

/// Resident memory in KiB of mappings without a file, but for guest RAM.
fn memory_kib(smaps: &str) -> u64 {
    mappings(smaps)
        .filter(|one| !one.head.contains('/') && !one.is_guest_ram())
        .map(|one| one.resident_kib)
        .sum()
}

/// Resident memory in KiB of mappings that are not the guest's.
fn own_kib(smaps: &str) -> u64 {
    let own = mappings(smaps).filter(|one| !one.head.contains(VRAM_FILE) && !one.is_guest_ram());
    own.map(|one| one.resident_kib).sum()
}

/// Size in KiB of guest RAM.
fn guest_ram_kib(smaps: &str) -> u64 {
    mappings(smaps).filter(Mapping::is_guest_ram).map(|one| one.size_kib).sum()
}

/// One mapping, as smaps describes it.
#[derive(Debug, Default)]
struct Mapping<'a> {
    /// The first line: addresses, permissions, and the file if there is one.
    head: &'a str,
    size_kib: u64,
    resident_kib: u64,
    huge_pages: bool,
}

impl Mapping<'_> {
    fn is_guest_ram(&self) -> bool {
        self.huge_pages || self.head.contains(RAM_FILE)
    }
}

/// A mapping begins with a line of two addresses; each of the others has a name, a colon and a value.
fn mappings(smaps: &str) -> impl Iterator<Item = Mapping<'_>> {
    let is_head = |line: &str| line.split(' ').next().is_some_and(|range| range.contains('-'));
    let number = |text: &str| text.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    let mut lines = smaps.lines().peekable();
    std::iter::from_fn(move || {
        let mut one = Mapping { head: lines.find(|line| is_head(line))?, ..Mapping::default() };
        while let Some(line) = lines.next_if(|line| !is_head(line)) {
            match line.split_once(':') {
                Some(("Size", value)) => one.size_kib = number(value),
                Some(("Rss", value)) => one.resident_kib = number(value),
                Some(("VmFlags", flags)) => {
                    one.huge_pages = flags.split_whitespace().any(|flag| flag == HUGE_PAGES);
                }
                _ => {}
            }
        }
        Some(one)
    })
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
    fn memory_that_an_allocator_keeps_is_told_from_a_leak_by_the_second_half() {
        let held = |memory_kib| Holdings { descriptors: 9, threads: 4, memory_kib, guest_ram_kib: 524_288 };
        let judged =
            |half, now| held(now).judged(held(1_000), Some(held(half)), LATE_GROWTH_MAX_KIB, "12 resets");
        let kept = judged(11_400, 11_488);
        assert!(kept.passed && kept.detail.contains("10488 KiB, 88 KiB of it"), "{}", kept.detail);
        let leak = judged(6_000, 11_488);
        assert!(!leak.passed && leak.detail.contains("5488 KiB of it"), "{}", leak.detail);
        let few = |now| held(now).judged(held(1_000), None, FEW_GROWTH_MAX_KIB, "2 resets");
        let kept = few(1_000 + FEW_GROWTH_MAX_KIB);
        assert!(kept.passed && kept.detail.contains("16384 KiB, limit is 16384"), "{}", kept.detail);
        assert!(!few(1_001 + FEW_GROWTH_MAX_KIB).passed);
    }

    #[test]
    fn guest_ram_that_outlives_its_machine_is_a_leak_though_nothing_of_it_is_resident() {
        let held = |guest_ram_kib| Holdings { descriptors: 9, threads: 4, memory_kib: 1_000, guest_ram_kib };
        let check = |now| held(now).judged(held(524_288), None, GROWTH_MAX_KIB, "a reset");
        assert!(check(524_288).passed);
        let leak = check(2 * 524_288);
        assert!(!leak.passed && leak.detail.contains("524288 and 1048576 KiB"), "{}", leak.detail);
    }

    #[test]
    fn neither_files_nor_the_guests_memory_count() {
        let smaps = "5400-5500 r-xp 0 00:01 5    /usr/bin/vmbus-emu\nSize: 9000 kB\nRss: 3000 kB\n\
                     5500-5600 rw-p 0 00:00 0    [heap]\nSize: 200 kB\nRss:                 132 kB\nPss: 1 kB\n\
                     7f00-7f10 rw-p 0 00:00 0 \nSize: 10 kB\nRss: 8 kB\nVmFlags: rd wr mr mw me ac sd \n\
                     7f10-7f20 rw-p 0 00:00 0 \nSize: 524288 kB\nRss: 70000 kB\nVmFlags: rd wr mr mw me ac nr hg \n\
                     7f20-7f30 rw-s 0 00:01 6    /memfd:guest-ram (deleted)\nSize: 524288 kB\nRss: 999 kB\n\
                     7f40-7f50 rw-s 0 00:01 7    /memfd:vram (deleted)\nSize: 8192 kB\nRss: 4096 kB\n";
        assert_eq!((memory_kib(smaps), own_kib(smaps)), (140, 3140));
        assert_eq!(guest_ram_kib(smaps), 2 * 524_288);
        assert!(vmm_memory_kib().is_some_and(|own| own > 100));
    }
}
