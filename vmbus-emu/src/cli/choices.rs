//! Arguments that are one of a few words.

use std::fmt;

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

/// Which Hyper-V machine the guest takes this for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generation {
    /// A PC with PCI; VRAM in the guest's RAM or in the MMIO window.
    #[default]
    #[value(name = "1")]
    One,
    /// Booted by EFI, no PCI; VRAM in the MMIO window only.
    #[value(name = "2")]
    Two,
}

impl Generation {
    /// Its number, as Hyper-V counts.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
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

/// What moves the clock of the KVM lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabClock {
    /// The host's time, in which an emulated processor is slow and uneven.
    #[default]
    Host,
    /// The emulated processor itself, a nanosecond an instruction; takes a QEMU that cargo xtask lab-qemu builds.
    Instructions,
}

impl From<LabClock> for guest_kit::lab::LabClock {
    fn from(clock: LabClock) -> Self {
        match clock {
            LabClock::Host => Self::Host,
            LabClock::Instructions => Self::Instructions,
        }
    }
}

/// What the guest agent does before the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Loads the driver, draws a pattern by deferred I/O, prints 200 console lines; both pictures are checked.
    Demo,
    /// Loads the driver, waits for its first DIRT, and powers off.
    Boot,
    /// Reboots, once or --repeat times, and after each draws and prints as demo does; nothing may be left behind.
    Reboot,
    /// Types and points, and compares what the guest's drivers report. Needs a keyboard or a mouse.
    Input,
    /// Unbinds the driver and binds it again, 50 or --repeat times, while text is printed; nothing may be left behind.
    Rebind,
    /// Removes the driver's module and loads it again, 5 or --repeat times, while text is printed.
    Reload,
    /// Takes the device away from the guest and gives it back, twice or --repeat times, while text is printed.
    Rescind,
    /// Starts the same kernel anew by kexec; its screen must be right as well.
    Kexec,
    /// Hibernates up to the image, which freezes and thaws the driver, once or --repeat times.
    Suspend,
    /// Crashes the kernel and looks for its last words on the screen.
    Panic,
    /// Powers off while text is printed and a picture is drawn.
    Poweroff,
    /// Nothing: the guest decides when it is done.
    None,
}

impl Scenario {
    /// Whether `--repeat` means anything for it.
    pub(crate) const fn repeats(self) -> bool {
        matches!(self, Self::Reboot | Self::Rebind | Self::Reload | Self::Rescind | Self::Suspend)
    }
}

/// Which verdict of a comparison is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// B does worse in some number.
    Worse,
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
display_as_typed!(SynicChoice, Generation, KvmChoice, LabClock, Scenario, ProgressStyle);
