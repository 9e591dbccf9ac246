//! Arguments that are one of a few words.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// Which SynIC the guest gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynicChoice {
    /// In the kernel where KVM has one, otherwise in user space.
    #[default]
    Auto,
    /// KVM's own (KVM_CAP_HYPERV_SYNIC2).
    Kernel,
    /// This program's, by MSR filter and a hypercall page of its own.
    User,
}

/// Which KVM runs the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KvmChoice {
    /// The host's, if it can really run a guest, otherwise the lab's.
    #[default]
    Auto,
    /// The host's /dev/kvm.
    Host,
    /// A KVM inside QEMU's emulator.
    Lab,
}

/// What the guest agent does before the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Loads the driver, draws a pattern by deferred I/O, prints 200 console lines; both pictures are checked.
    Demo,
    /// Loads the driver and powers off.
    Boot,
    /// Nothing: the guest decides when it is done.
    None,
}

/// How progress is shown on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A bar for each phase on a terminal, otherwise a line.
    #[default]
    Auto,
    /// A line for each phase.
    Lines,
    /// Lines for another instance of this program to read.
    Relay,
    /// Nothing.
    None,
}

macro_rules! display_as_typed {
    ($($choice:ty),+) => {$(
        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
            }
        }
    )+};
}
display_as_typed!(SynicChoice, KvmChoice, Scenario, ProgressStyle);

/// The highest VMBus version that the host accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VmbusVersion {
    /// Upper half of the number on the wire.
    pub(crate) major: u16,
    /// Lower half.
    pub(crate) minor: u16,
}

impl VmbusVersion {
    /// Versions that Linux asks for, highest first (Linux `drivers/hv/connection.c`, `vmbus_versions`).
    pub(crate) const KNOWN: [Self; 8] = [
        Self::new(5, 3),
        Self::new(5, 2),
        Self::new(5, 1),
        Self::new(5, 0),
        Self::new(4, 1),
        Self::new(4, 0),
        Self::new(3, 0),
        Self::new(2, 4),
    ];

    const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The number on the wire: 5.3 is 0x0005_0003.
    pub(crate) const fn wire(self) -> u32 {
        (self.major as u32) << 16 | self.minor as u32
    }
}

impl Default for VmbusVersion {
    fn default() -> Self {
        Self::KNOWN[0]
    }
}

impl fmt::Display for VmbusVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for VmbusVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::KNOWN.into_iter().find(|version| version.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = Self::KNOWN.iter().map(ToString::to_string).collect();
            format!("known versions: {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_5_3_has_the_number_on_the_wire() {
        assert_eq!("5.3".parse::<VmbusVersion>().unwrap().wire(), 0x0005_0003);
        assert_eq!("2.4".parse::<VmbusVersion>().unwrap().wire(), 0x0002_0004);
    }

    #[test]
    fn unknown_version_is_answered_with_the_known() {
        for text in ["6.0", "5", "", "5.03", "5.3.1"] {
            let error = text.parse::<VmbusVersion>().unwrap_err();
            assert!(error.starts_with("known versions: 5.3, 5.2"), "{text}: {error}");
        }
    }
}
