//! What the machine is made of, and the checks that need neither KVM nor guest memory.

use std::ops::Range;
use std::path::PathBuf;

use device_model::platform::PciVideoFunction;
use hv_kvm::SynicMode;
use hv_kvm::layout::{MmioWindows, WindowError, ram_ranges};
use vm_memory::GuestAddress;

use super::console::ConsoleSink;

/// Fewest MiB that a Debian kernel and a small initramfs start in.
pub(crate) const MIN_RAM_MIB: u64 = 96;
/// Most MiB: the high MMIO window starts at 64 GiB and RAM has a hole of 1 GiB below 4 GiB.
pub(super) const MAX_RAM_MIB: u64 = 63 << 10;
/// Most virtual processors; the SynIC's tables and 8-bit APIC ids are sized for it.
pub(crate) const MAX_VCPUS: u32 = 64;
/// Longest command line that fits its place in low memory, terminator included.
pub(super) const MAX_CMDLINE_BYTES: usize = 4096;
/// Smallest BAR 0 of the video function: hv_vmbus reserves MMIO space in units of 1 MiB.
pub(super) const MIN_BAR_BYTES: u32 = 1 << 20;

/// The window below 4 GiB that VMBus drivers take MMIO space from; Hyper-V has it there too.
pub(crate) const LOW_WINDOW: Range<u64> = 0xf800_0000..0xfc00_0000;
/// The window above RAM, for guests that want more than the low one holds.
pub(crate) const HIGH_WINDOW: Range<u64> = 0x10_0000_0000..0x11_0000_0000;

/// Which SynIC to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SynicChoice {
    /// The kernel's where KVM has all of it, else the one in user space.
    #[default]
    Auto,
    /// This one, or fail.
    Only(SynicMode),
}

/// What kind of Hyper-V machine the guest takes this for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// A PC: PCI with the video function, or with none, which hyperv_fb does not forgive.
    One {
        /// The function that hyperv_fb looks for.
        video: Option<PciVideoFunction>,
    },
    /// Booted by EFI, without any PCI. VRAM lies in the MMIO windows and nowhere else.
    ///
    /// The command line must have [`crate::machine::EFI_CMDLINE`].
    Two {
        /// The screen that a firmware left for the kernel to draw on.
        screen: Option<FirmwareScreen>,
    },
}

impl Generation {
    /// The first generation as Hyper-V sets it up.
    pub(crate) const ONE: Self =
        Self::One { video: Some(PciVideoFunction { device: 8, bar0_base: 0xf800_0000, bar0_len: 64 << 20 }) };

    /// Whether there is a PCI bus.
    pub(super) const fn has_pci(self) -> bool {
        matches!(self, Self::One { .. })
    }
}

/// A frame buffer of 32 bits a pixel without gaps between rows, which the guest finds mapped and running.
///
/// It lies where Hyper-V's firmware has it, at the start of the first MMIO window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirmwareScreen {
    /// Pixels in a row; a row's bytes must fit 16 bits.
    pub(crate) width: u16,
    /// Rows.
    pub(crate) height: u16,
}

impl FirmwareScreen {
    /// Widest screen that `screen_info` can say.
    pub(crate) const WIDTH_MAX: u16 = u16::MAX / 4;

    /// First address.
    pub(crate) const fn gpa(self) -> u64 {
        LOW_WINDOW.start
    }

    /// Bytes of a row.
    pub(crate) const fn pitch(self) -> u32 {
        self.width as u32 * 4
    }

    /// Bytes of all rows.
    pub(crate) const fn bytes(self) -> u64 {
        self.pitch() as u64 * self.height as u64
    }

    /// Bytes that the firmware has mapped of `vram` bytes: all that the first window holds, as for a driver that declares the same.
    pub(crate) fn mapped_bytes(vram: u64) -> u64 {
        vram.min(LOW_WINDOW.end - LOW_WINDOW.start)
    }
}

/// Everything that decides how a machine looks to its guest.
///
/// Plain data; [`Self::plan`] checks it. Building the same configuration again gives the same machine,
/// which is how a guest is rebooted.
#[derive(Clone, Debug)]
pub(crate) struct MachineConfig {
    /// RAM in MiB, [`MIN_RAM_MIB`] to [`MAX_RAM_MIB`].
    pub(crate) ram_mib: u64,
    /// Virtual processors, 1 to [`MAX_VCPUS`].
    pub(crate) vcpus: u32,
    /// Linux bzImage with a 64-bit entry.
    pub(crate) kernel: PathBuf,
    /// Initial RAM disk, in any format that the kernel unpacks.
    pub(crate) initrd: Option<PathBuf>,
    /// Kernel command line.
    pub(crate) cmdline: String,
    /// Which SynIC.
    pub(crate) synic: SynicChoice,
    /// PC or EFI machine.
    pub(crate) generation: Generation,
    /// Address ranges for VMBus devices, ascending; the first lies below 4 GiB.
    pub(crate) windows: Vec<Range<u64>>,
    /// Who gets the console's output beside the tail that the machine keeps.
    pub(crate) console: ConsoleSink,
}

impl MachineConfig {
    /// A machine with 512 MiB, one processor and the first generation's devices, that boots `kernel`.
    pub(crate) fn new(kernel: impl Into<PathBuf>) -> Self {
        Self {
            ram_mib: 512,
            vcpus: 1,
            kernel: kernel.into(),
            initrd: None,
            cmdline: "console=ttyS0 panic=-1".to_owned(),
            synic: SynicChoice::default(),
            generation: Generation::ONE,
            windows: vec![LOW_WINDOW, HIGH_WINDOW],
            console: ConsoleSink::default(),
        }
    }

    /// Checks everything that can be checked without a host.
    ///
    /// # Errors
    /// One [`ConfigError`] for the first thing that is wrong.
    pub(super) fn plan(&self) -> Result<Plan, ConfigError> {
        if !(MIN_RAM_MIB..=MAX_RAM_MIB).contains(&self.ram_mib) {
            return Err(ConfigError::Ram(self.ram_mib));
        }
        if !(1..=MAX_VCPUS).contains(&self.vcpus) {
            return Err(ConfigError::Vcpus(self.vcpus));
        }
        check_cmdline(&self.cmdline)?;
        let windows = MmioWindows::new(&self.windows)?;
        let ram = ram_ranges(self.ram_mib << 20);
        check_windows(&self.windows, &ram)?;
        if let Generation::One { video: Some(video) } = &self.generation {
            check_video(video, &self.windows)?;
        }
        if let Generation::Two { screen: Some(screen) } = self.generation {
            check_screen(screen, &self.windows)?;
        }
        Ok(Plan { ram, windows })
    }
}

/// A checked [`MachineConfig`]: where RAM goes and where devices may go.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) ram: Vec<(GuestAddress, usize)>,
    pub(super) windows: MmioWindows,
}

/// Why a configuration describes no machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// RAM size.
    #[error("{0} MiB of RAM, must be {MIN_RAM_MIB} to {MAX_RAM_MIB}")]
    Ram(u64),
    /// Number of processors.
    #[error("{0} virtual processors, must be 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// Command line length.
    #[error("kernel command line has {0} bytes, must be below {MAX_CMDLINE_BYTES}")]
    CmdlineLength(usize),
    /// Command line content.
    #[error("kernel command line has a control character {0:#04x} at byte {1}")]
    CmdlineByte(u8, usize),
    /// Shape of a window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// There is no window, or the first is not below 4 GiB.
    #[error("the first MMIO window must lie below 4 GiB (0x100000000)")]
    NoLowWindow,
    /// Order of windows.
    #[error("MMIO window {0:#x}..{1:#x} must start at or above {2:#x}, where the one before it ends")]
    WindowOrder(u64, u64, u64),
    /// A window over RAM.
    #[error("MMIO window {0:#x}..{1:#x} overlaps RAM, which ends at {2:#x}")]
    WindowOverRam(u64, u64, u64),
    /// BAR size.
    #[error("video BAR of {0:#x} bytes, must be a power of two of at least {MIN_BAR_BYTES:#x}")]
    BarSize(u32),
    /// BAR place.
    #[error("video BAR {0:#x}+{1:#x} must be aligned to its size and lie in the first MMIO window")]
    BarPlace(u32, u32),
    /// Shape of the firmware's screen.
    #[error("firmware screen of {0}x{1}, must be 1x1 to {max}x{rows}", max = FirmwareScreen::WIDTH_MAX, rows = u16::MAX)]
    ScreenShape(u16, u16),
    /// Place of the firmware's screen.
    #[error("firmware screen {0:#x}..{1:#x} must lie in the first MMIO window")]
    ScreenPlace(u64, u64),
    /// PCI device number.
    #[error("video function is PCI device {0}, must be 1 to 31 (0 is the host bridge)")]
    PciDevice(u8),
}

fn check_cmdline(cmdline: &str) -> Result<(), ConfigError> {
    if cmdline.len() >= MAX_CMDLINE_BYTES {
        return Err(ConfigError::CmdlineLength(cmdline.len()));
    }
    match cmdline.bytes().enumerate().find(|(_, byte)| byte.is_ascii_control() && *byte != b'\t') {
        Some((at, byte)) => Err(ConfigError::CmdlineByte(byte, at)),
        None => Ok(()),
    }
}

fn check_windows(windows: &[Range<u64>], ram: &[(GuestAddress, usize)]) -> Result<(), ConfigError> {
    if windows.first().is_none_or(|low| low.end > 1 << 32) {
        return Err(ConfigError::NoLowWindow);
    }
    let mut floor = 0;
    for window in windows {
        if window.start < floor {
            return Err(ConfigError::WindowOrder(window.start, window.end, floor));
        }
        floor = window.end;
        for &(base, len) in ram {
            let end = base.0 + len as u64;
            if window.start < end && base.0 < window.end {
                return Err(ConfigError::WindowOverRam(window.start, window.end, end));
            }
        }
    }
    Ok(())
}

fn check_video(video: &PciVideoFunction, windows: &[Range<u64>]) -> Result<(), ConfigError> {
    let (base, len) = (video.bar0_base, video.bar0_len);
    if !(1..32).contains(&video.device) {
        return Err(ConfigError::PciDevice(video.device));
    }
    if !len.is_power_of_two() || len < MIN_BAR_BYTES {
        return Err(ConfigError::BarSize(len));
    }
    let inside = windows
        .first()
        .is_some_and(|low| low.start <= u64::from(base) && u64::from(base) + u64::from(len) <= low.end);
    if inside && base.is_multiple_of(len) { Ok(()) } else { Err(ConfigError::BarPlace(base, len)) }
}

fn check_screen(screen: FirmwareScreen, windows: &[Range<u64>]) -> Result<(), ConfigError> {
    if screen.width == 0 || screen.height == 0 || screen.width > FirmwareScreen::WIDTH_MAX {
        return Err(ConfigError::ScreenShape(screen.width, screen.height));
    }
    let (start, end) = (screen.gpa(), screen.gpa() + screen.bytes());
    match windows.first() {
        Some(low) if low.start <= start && end <= low.end => Ok(()),
        _ => Err(ConfigError::ScreenPlace(start, end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut MachineConfig)) -> ConfigError {
        let mut config = MachineConfig::new("/nonexistent");
        change(&mut config);
        config.plan().expect_err("the configuration should be refused")
    }

    #[test]
    fn default_configuration_plans_one_ram_range() {
        let plan = MachineConfig::new("/nonexistent").plan().unwrap();
        assert_eq!(plan.ram, [(GuestAddress(0), 512 << 20)]);
        assert!(plan.windows.contain(&(0xf800_0000..0xfc00_0000)));
    }

    #[test]
    fn ram_above_three_gib_continues_above_four() {
        let mut config = MachineConfig::new("/nonexistent");
        config.ram_mib = 4096;
        let plan = config.plan().unwrap();
        assert_eq!(plan.ram, [(GuestAddress(0), 3 << 30), (GuestAddress(4 << 30), 1 << 30)]);
    }

    #[test]
    fn ram_and_processor_limits_are_in_the_message() {
        assert_eq!(refused(|c| c.ram_mib = 64).to_string(), "64 MiB of RAM, must be 96 to 64512");
        assert_eq!(refused(|c| c.ram_mib = u64::MAX), ConfigError::Ram(u64::MAX));
        assert_eq!(refused(|c| c.vcpus = 0), ConfigError::Vcpus(0));
        assert_eq!(refused(|c| c.vcpus = 65).to_string(), "65 virtual processors, must be 1 to 64");
    }

    #[test]
    fn long_or_dirty_command_line_is_refused() {
        assert_eq!(refused(|c| c.cmdline = "x".repeat(4096)), ConfigError::CmdlineLength(4096));
        assert_eq!(refused(|c| c.cmdline = "quiet\n".to_owned()), ConfigError::CmdlineByte(b'\n', 5));
    }

    #[test]
    fn windows_must_ascend_from_below_four_gib_and_avoid_ram() {
        assert_eq!(refused(|c| c.windows.clear()), ConfigError::NoLowWindow);
        assert_eq!(refused(|c| c.windows = vec![HIGH_WINDOW]), ConfigError::NoLowWindow);
        let order = refused(|c| c.windows[1] = 0xf900_0000..0xfa00_0000);
        assert_eq!(order, ConfigError::WindowOrder(0xf900_0000, 0xfa00_0000, 0xfc00_0000));
        let over = refused(|c| {
            c.ram_mib = 4096;
            c.windows[1] = 0x1_0000_0000..0x2_0000_0000;
        });
        assert_eq!(over, ConfigError::WindowOverRam(0x1_0000_0000, 0x2_0000_0000, 0x1_4000_0000));
    }

    #[test]
    fn video_bar_must_be_a_power_of_two_inside_the_low_window() {
        let bar = |base, len| {
            let video = PciVideoFunction { device: 8, bar0_base: base, bar0_len: len };
            refused(|c| c.generation = Generation::One { video: Some(video) })
        };
        assert_eq!(bar(0xf800_0000, 3 << 20), ConfigError::BarSize(3 << 20));
        assert_eq!(bar(0xf800_0000, 128 << 20), ConfigError::BarPlace(0xf800_0000, 128 << 20));
        assert_eq!(bar(0xf810_0000, 4 << 20), ConfigError::BarPlace(0xf810_0000, 4 << 20));
        let video = PciVideoFunction { device: 0, bar0_base: 0xf800_0000, bar0_len: 64 << 20 };
        let device = refused(|c| c.generation = Generation::One { video: Some(video) });
        assert_eq!(device, ConfigError::PciDevice(0));
    }

    #[test]
    fn firmware_screen_must_have_pixels_and_lie_in_the_low_window() {
        let screen = |width, height| {
            refused(|c| c.generation = Generation::Two { screen: Some(FirmwareScreen { width, height }) })
        };
        assert_eq!(screen(0, 768), ConfigError::ScreenShape(0, 768));
        assert_eq!(screen(16384, 1).to_string(), "firmware screen of 16384x1, must be 1x1 to 16383x65535");
        assert_eq!(screen(4096, 4097), ConfigError::ScreenPlace(0xf800_0000, 0xfc00_4000));
        let mut config = MachineConfig::new("/nonexistent");
        config.generation = Generation::Two { screen: Some(FirmwareScreen { width: 4096, height: 4096 }) };
        config.plan().unwrap();
    }
}
