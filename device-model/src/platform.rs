//! What the machine around the devices must offer, as data: the ACPI node, the MMIO window and the PCI function.
//!
//! The devices cannot create these themselves, since tables and buses belong to the VMM that embeds them.
//! Forgetting one has a symptom in the guest, named beside each.

/// `_HID` of the VMBus node. Without it `hv_vmbus` loads and waits for a device that never comes.
pub const VMBUS_ACPI_HID: &str = "VMBus";

/// The guest physical range that VMBus drivers may take MMIO space from.
///
/// It must appear as a DWordMemory or QWordMemory descriptor in the `_CRS` of an *ancestor* of the VMBus
/// node (Linux `drivers/hv/vmbus_drv.c:vmbus_acpi_add` walks the parents); the node itself needs a `_CRS`
/// too, which may be empty. Without the window hyperv_fb says "Unable to allocate framebuffer memory".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioWindow {
    /// First guest physical address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

impl MmioWindow {
    /// Whether `[gpa, gpa + len)` lies inside the window.
    pub fn contains(&self, gpa: u64, len: u64) -> bool {
        let Some(offset) = gpa.checked_sub(self.base) else { return false };
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

/// The PCI function that a Generation 1 guest's hyperv_fb looks for.
///
/// Linux `drivers/video/fbdev/hyperv_fb.c:hvfb_getmem` takes the first device with these ids; without one it
/// says "Unable to find PCI Hyper-V video" and its probe fails. Nothing of the function is ever enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciVideoFunction {
    /// Device number on bus 0; Hyper-V uses 8.
    pub device: u8,
    /// 32-bit memory BAR 0: where it points after reset.
    pub bar0_base: u32,
    /// Size of BAR 0 in bytes, a power of two. VRAM larger than it would be placed behind it.
    pub bar0_len: u32,
}

impl PciVideoFunction {
    /// Vendor id, Microsoft.
    pub const VENDOR: u16 = 0x1414;
    /// Device id, "Hyper-V virtual VGA".
    pub const DEVICE: u16 = 0x5353;
    /// Class code: VGA-compatible display controller.
    pub const CLASS: u32 = 0x03_0000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_contains_only_what_ends_inside() {
        let window = MmioWindow { base: 0xf800_0000, len: 0x0400_0000 };
        assert!(window.contains(0xf800_0000, 0x0400_0000));
        assert!(!window.contains(0xf800_0000, 0x0400_0001));
        assert!(!window.contains(0xf7ff_f000, 0x1000));
        assert!(!window.contains(0xf800_1000, u64::MAX));
    }
}
