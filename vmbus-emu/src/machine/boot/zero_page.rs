//! The zero page (`struct boot_params`): what a boot loader tells Linux.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::kernel::{Initrd, LoadedKernel};
use super::layout;

pub(super) const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
pub(super) const E820_ACPI: u32 = 3;

/// "Loader that has no number of its own".
const LOADER_UNDEFINED: u8 = 0xff;

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct E820Range {
    pub(super) base: u64,
    pub(super) bytes: u64,
    pub(super) kind: u32,
}

/// The memory map: RAM, except for the hole from 640 KiB to 1 MiB with the ACPI tables in it.
///
/// MMIO windows are not listed: a reserved entry over them would keep Linux from giving them to drivers.
pub(super) fn e820(ram: &GuestMemoryMmap) -> Vec<E820Range> {
    let range = |base, end: u64, kind| E820Range { base, bytes: end - base, kind };
    let mut map = vec![
        range(0, layout::LOW_RAM_END, E820_RAM),
        range(layout::LOW_RAM_END, layout::ACPI, E820_RESERVED),
        range(layout::ACPI, layout::ACPI_END, E820_ACPI),
    ];
    for region in ram.iter() {
        let base = region.start_addr().raw_value().max(layout::ACPI_END);
        let end = region.start_addr().raw_value() + region.len();
        if base < end {
            map.push(range(base, end, E820_RAM));
        }
    }
    map
}

/// Fills the zero page, but for the marks of EFI and the firmware's screen, which the caller adds. Everything not named stays zero,
/// `screen_info` above all: with no text screen and no frame buffer in it Linux takes the dummy console until a driver registers a
/// frame buffer.
pub(super) fn build(
    kernel: &LoadedKernel,
    initrd: Option<Initrd>,
    rsdp: GuestAddress,
    e820: &[E820Range],
) -> boot_params {
    let mut parameters = boot_params { hdr: kernel.header, ..Default::default() };
    parameters.acpi_rsdp_addr = rsdp.raw_value();
    parameters.hdr.type_of_loader = LOADER_UNDEFINED;
    parameters.hdr.cmd_line_ptr = u32::try_from(layout::CMDLINE).unwrap_or_default();
    if let Some(Initrd { base, bytes }) = initrd {
        parameters.hdr.ramdisk_image = base;
        parameters.hdr.ramdisk_size = bytes;
    }
    let mut table = parameters.e820_table;
    let mut entries = 0;
    for (slot, range) in table.iter_mut().zip(e820) {
        *slot = boot_e820_entry { addr: range.base, size: range.bytes, r#type: range.kind };
        entries += 1;
    }
    parameters.e820_table = table;
    parameters.e820_entries = entries;
    parameters
}

#[cfg(test)]
mod tests {
    use linux_loader::loader::bootparam::setup_header;
    use vm_memory::ByteValued;

    use super::*;

    fn page(initrd: Option<Initrd>) -> Vec<u8> {
        let header = setup_header { header: 0x5372_6448, boot_flag: 0xaa55, ..Default::default() };
        let kernel = LoadedKernel { base: 0x100_0000, end: 0x500_0000, header };
        let ram =
            GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 256 << 20), (GuestAddress(4 << 30), 64 << 20)]);
        build(&kernel, initrd, GuestAddress(layout::ACPI), &e820(&ram.unwrap())).as_slice().to_vec()
    }

    fn u32_at(page: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(page[at..at + 4].try_into().unwrap())
    }

    fn u64_at(page: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(page[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn fields_lie_where_the_boot_protocol_puts_them() {
        let page = page(Some(Initrd { base: 0xfff_0000, bytes: 0x1234 }));
        assert_eq!(page.len(), 4096);
        assert_eq!(u64_at(&page, 0x070), 0xe_0000, "acpi_rsdp_addr");
        assert_eq!(page[0x210], 0xff, "type_of_loader");
        assert_eq!((u32_at(&page, 0x218), u32_at(&page, 0x21c)), (0xfff_0000, 0x1234), "ramdisk");
        assert_eq!(u32_at(&page, 0x228), 0x2_0000, "cmd_line_ptr");
        assert_eq!(&page[0x202..0x206], b"HdrS");
        assert_eq!(page[..0x40], [0; 0x40], "screen_info");
        assert_eq!(page[0x1ef], 0, "sentinel");
        assert_eq!(page[0x1c0..0x1e0], [0; 0x20], "no EFI");
    }

    #[test]
    fn e820_has_the_low_hole_and_both_ram_ranges() {
        let page = page(None);
        assert_eq!(page[0x1e8], 5);
        let entry = |n: usize| {
            let at = 0x2d0 + 20 * n;
            (u64_at(&page, at), u64_at(&page, at + 8), u32_at(&page, at + 16))
        };
        assert_eq!(entry(0), (0, 0x9_fc00, E820_RAM));
        assert_eq!(entry(1), (0x9_fc00, 0x4_0400, E820_RESERVED));
        assert_eq!(entry(2), (0xe_0000, 0x2_0000, E820_ACPI));
        assert_eq!(entry(3), (0x10_0000, (256 << 20) - 0x10_0000, E820_RAM));
        assert_eq!(entry(4), (4 << 30, 64 << 20, E820_RAM));
    }
}
