//! Guest-physical address layout: where RAM lies, and where the guest may put VRAM.

use std::fmt;
use std::ops::Range;

use vm_memory::GuestAddress;

const GIB: u64 = 1 << 30;

/// Addresses below 4 GiB that hold no RAM: devices, VRAM windows and KVM's own pages.
pub const RAM_HOLE: Range<u64> = 3 * GIB..4 * GIB;

/// Page for KVM_SET_IDENTITY_MAP_ADDR.
pub const IDENTITY_MAP_GPA: u64 = 0xfffb_c000;
/// First of the three pages for KVM_SET_TSS_ADDR.
pub const TSS_GPA: u64 = 0xfffb_d000;

/// Alignment of a VRAM address: hv_vmbus hands out MMIO at 1 MiB boundaries, KVM needs a page.
pub const PAGE_BYTES: u64 = 4096;

/// Address ranges that no window may give away, with the name that error messages use.
///
/// The vTPM range is cut out of the windows by Linux itself (`drivers/hv/vmbus_drv.c:vmbus_walk_resources`).
pub const RESERVED: [(Range<u64>, &str); 5] = [
    (0xfec0_0000..0xfec0_1000, "IOAPIC"),
    (0xfed4_0000..0xfed4_5000, "vTPM"),
    (0xfee0_0000..0xfef0_0000, "LAPIC and MSI"),
    (IDENTITY_MAP_GPA..IDENTITY_MAP_GPA + PAGE_BYTES, "KVM's identity map page"),
    (TSS_GPA..TSS_GPA + 3 * PAGE_BYTES, "KVM's TSS pages"),
];

/// Splits `bytes` of RAM around [`RAM_HOLE`]: at most 3 GiB below it, the rest from 4 GiB up.
///
/// The answer feeds `GuestMemoryMmap::from_ranges`; `bytes` is rounded down to whole pages.
#[must_use]
pub fn ram_ranges(bytes: u64) -> Vec<(GuestAddress, usize)> {
    let bytes = bytes & !(PAGE_BYTES - 1);
    let low = bytes.min(RAM_HOLE.start);
    let high = bytes - low;
    [(0, low), (RAM_HOLE.end, high)]
        .into_iter()
        .filter(|&(_, len)| len != 0)
        .filter_map(|(start, len)| Some((GuestAddress(start), usize::try_from(len).ok()?)))
        .collect()
}

/// Why a window cannot be used for VRAM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A window is empty, reversed, or not on page boundaries.
    #[error("MMIO window {0:#x}..{1:#x} is empty or not on page boundaries")]
    Shape(u64, u64),
    /// A window holds an address that belongs to somebody else.
    #[error("MMIO window {0:#x}..{1:#x} overlaps the {2}")]
    Reserved(u64, u64, &'static str),
}

/// The address windows that the ACPI tables declare for VMBus devices.
///
/// *Shape*: half-open ranges on page boundaries, none of which touches a [`RESERVED`] range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MmioWindows(Vec<Range<u64>>);

impl MmioWindows {
    /// Takes the windows of the machine.
    ///
    /// # Errors
    /// [`WindowError`] for a window that must not be declared to a guest in the first place.
    pub fn new(windows: &[Range<u64>]) -> Result<Self, WindowError> {
        for window in windows {
            let (start, end) = (window.start, window.end);
            if start >= end || start % PAGE_BYTES != 0 || end % PAGE_BYTES != 0 {
                return Err(WindowError::Shape(start, end));
            }
            if let Some((_, name)) = RESERVED.iter().find(|(range, _)| overlap(range, window)) {
                return Err(WindowError::Reserved(start, end, name));
            }
        }
        Ok(Self(windows.to_vec()))
    }

    /// Whether one window holds all of `range`.
    #[must_use]
    pub fn contain(&self, range: &Range<u64>) -> bool {
        self.0.iter().any(|window| window.start <= range.start && range.end <= window.end)
    }

    /// The windows, as given.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }
}

impl fmt::Display for MmioWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Range { start, end }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{start:#x}..{end:#x}")?;
        }
        Ok(())
    }
}

/// Whether two half-open ranges share an address.
pub(crate) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Range<u64> = 0xe000_0000..0xe100_0000;

    #[test]
    fn small_ram_is_one_range_from_zero() {
        assert_eq!(ram_ranges(512 << 20), [(GuestAddress(0), 512 << 20)]);
    }

    #[test]
    fn large_ram_continues_above_the_hole() {
        let expected = [(GuestAddress(0), 3 << 30), (GuestAddress(4 << 30), 1 << 30)];
        assert_eq!(ram_ranges(4 * GIB + 123), expected);
    }

    #[test]
    fn window_over_the_lapic_is_refused() {
        let error = MmioWindows::new(&[LOW, 0xfe00_0000..0xff00_0000]).unwrap_err();
        assert_eq!(error.to_string(), "MMIO window 0xfe000000..0xff000000 overlaps the IOAPIC");
    }

    #[test]
    fn window_on_odd_address_is_refused() {
        assert_eq!(
            MmioWindows::new(&[LOW, 0xf800_0800..0xf900_0000]),
            Err(WindowError::Shape(0xf800_0800, 0xf900_0000))
        );
    }

    #[test]
    fn range_across_two_windows_is_not_contained() {
        let windows = MmioWindows::new(&[0xf800_0000..0xf900_0000, 0xf900_0000..0xfa00_0000]).unwrap();
        assert!(windows.contain(&(0xf800_0000..0xf900_0000)));
        assert!(!windows.contain(&(0xf8f0_0000..0xf910_0000)));
    }
}
