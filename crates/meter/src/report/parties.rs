//! Who took part in a run, what its console said, and what was checked.

use serde::{Deserialize, Serialize};

/// The machine's side of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Where the guest's code ran.
    pub kvm: Kvm,
    /// What moved the clock of the emulated machine; none where there was none.
    pub lab_clock: Option<LabClock>,
    /// Which SynIC served the guest.
    pub synic: Synic,
    /// Version of this program.
    pub version: String,
    /// Release of the kernel that the program ran on, as `uname -r` says it.
    pub kernel: Option<String>,
    /// Virtual processors of the guest.
    pub vcpus: Option<u32>,
    /// Guest RAM in bytes.
    pub ram_bytes: Option<u64>,
    /// From the start of the guest to the end of the run; virtual time for a simulated guest.
    pub duration_ms: Option<u64>,
    /// Resident memory of the process when the guest had done its part, in KiB, without guest RAM and VRAM.
    pub vmm_memory_kib: Option<u64>,
}

/// Where the guest's code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kvm {
    /// The host's own KVM.
    Host,
    /// KVM inside an emulated machine.
    Lab,
    /// Nowhere: the simulated guest runs in this process.
    Sim,
}

/// What moved the clock of an emulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabClock {
    /// The host's time.
    Host,
    /// Its processor, a nanosecond an instruction.
    Instructions,
}

/// Which SynIC served the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synic {
    /// KVM's.
    Kernel,
    /// Ours, behind an MSR filter.
    User,
    /// Ours, in one process with a simulated guest.
    Loopback,
}

/// The guest of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Kernel release, as the guest's `uname -r` or its image says it.
    pub kernel: Option<String>,
    /// Video driver that did the handshake.
    pub driver: Option<String>,
    /// Distribution package that the kernel is from.
    pub package: Option<String>,
    /// Version of that package.
    pub version: Option<String>,
    /// SHA-256 of the package file or, without a package, of the kernel image; 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// SHA-256 of the video driver's module, unpacked, where it is not the kernel's own; 64 hexadecimal digits.
    pub driver_sha256: Option<String>,
    /// This is the guest that the program simulates, not a real one.
    pub simulated: bool,
    /// From the start of the kernel to its first program, by the guest's own clock.
    pub boot_ms: Option<u64>,
    /// Times its machine was reset and run on.
    pub resets: u64,
}

/// One check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Short name, stable from version to version.
    pub name: String,
    /// Its outcome.
    pub passed: bool,
    /// What was expected and what was found.
    pub detail: String,
}

/// The guest's text console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Its last lines, oldest first; null if nobody listened.
    pub tail: Option<Vec<String>>,
}

impl Console {
    /// Lines that [`Self::of_text`] keeps.
    pub const TAIL_LINES: usize = 40;
    /// Bytes of a line that [`Self::of_text`] keeps, at least.
    pub const LINE_BYTES: usize = 400;

    /// The last lines of `text`, without control characters; longer lines are cut.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let lines: Vec<_> = text.lines().rev().take(Self::TAIL_LINES).map(clean).collect();
        Self { tail: Some(lines.into_iter().rev().collect()) }
    }
}

fn clean(line: &str) -> String {
    let mut clean = String::new();
    for letter in line.chars().filter(|letter| !letter.is_control()) {
        if clean.len() >= Console::LINE_BYTES {
            break;
        }
        clean.push(letter);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_keeps_the_last_lines_without_control_characters() {
        let text: String = (0..100).map(|n| format!("line {n}\x1b\r\n")).collect();
        let tail = Console::of_text(&text).tail.expect("a tail");
        assert_eq!(tail.len(), Console::TAIL_LINES);
        assert_eq!(tail.first().map(String::as_str), Some("line 60"));
        assert_eq!(tail.last().map(String::as_str), Some("line 99"));
    }

    #[test]
    fn endless_line_is_cut() {
        let tail = Console::of_text(&"\u{e4}".repeat(10_000)).tail.expect("a tail");
        assert_eq!(tail.len(), 1);
        assert!(tail[0].len() <= Console::LINE_BYTES + 1, "{}", tail[0].len());
    }
}
