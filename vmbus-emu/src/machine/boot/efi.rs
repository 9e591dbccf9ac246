//! EFI tables without firmware: what makes Linux take a direct boot for one on a Generation 2 machine.
//!
//! To Linux a Hyper-V guest is Generation 2 if it was booted by EFI, and by nothing else (`efi_enabled(EFI_BOOT)` in
//! `arch/x86/hyperv/hv_init.c:hv_pci_init` and `drivers/video/fbdev/hyperv_fb.c:hvfb_getmem`). The mark is the
//! loader's signature in the zero page; behind it the kernel expects a system table and a memory map. There are no runtime
//! services, so the command line must say [`NO_RUNTIME`].

use linux_loader::loader::bootparam::efi_info;
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::zero_page::{E820_ACPI, E820_RAM, E820Range};
use super::{layout, write};
use crate::machine::error::MachineError;

/// The word that keeps Linux from calling runtime services: it would jump to address 0 to announce its mappings
/// (`efi_enter_virtual_mode`).
pub(crate) const NO_RUNTIME: &str = "efi=noruntime";

/// "EL64", a 64-bit loader.
const LOADER_SIGNATURE: u32 = u32::from_le_bytes(*b"EL64");
const SYSTEM_TABLE_SIGNATURE: u64 = u64::from_le_bytes(*b"IBI SYST");
/// UEFI 2.70.
const REVISION: u32 = 0x0002_0046;
/// `EFI_ACPI_20_TABLE_GUID` as it lies in memory.
const ACPI_20_GUID: [u8; 16] =
    [0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81];
/// Linux prints it: "efi: EFI v2.70 by ...".
const VENDOR: &str = "vmbus-emu";

const SYSTEM_TABLE_BYTES: u32 = 120;
/// Of the firmware's name, Linux maps as many (`efi_systab_report_header` reads 100 characters).
const VENDOR_BYTES: usize = 200;

/// What real firmware uses, and the size of Linux's own structure is 40: the map is walked by this number.
const DESCRIPTOR_BYTES: u32 = 48;
const DESCRIPTOR_VERSION: u32 = 1;
const RESERVED: u32 = 0;
const CONVENTIONAL: u32 = 7;
const ACPI_RECLAIM: u32 = 9;
/// Uncached, write-combining, write-through and write-back, all possible. Linux takes conventional memory without the
/// last for reserved (`do_add_efi_memmap`).
const CACHEABLE: u64 = 0xf;
const PAGE: u64 = 4096;

/// The tables' places, all inside of the page at [`layout::EFI`].
const SYSTEM_TABLE: u64 = layout::EFI;
const CONFIGURATION: u64 = layout::EFI + 0x80;
const VENDOR_NAME: u64 = layout::EFI + 0x100;
const MEMORY_MAP: u64 = layout::EFI + 0x200;

/// Writes the tables and returns what the zero page says of them.
///
/// # Errors
/// [`MachineError::GuestWrite`].
pub(super) fn write_tables(
    ram: &GuestMemoryMmap,
    rsdp: GuestAddress,
    e820: &[E820Range],
) -> Result<efi_info, MachineError> {
    let map = memory_map(e820);
    write(ram, "EFI system table", SYSTEM_TABLE, &system_table())?;
    write(ram, "EFI configuration table", CONFIGURATION, &configuration_table(rsdp))?;
    write(ram, "EFI vendor name", VENDOR_NAME, &vendor_name())?;
    write(ram, "EFI memory map", MEMORY_MAP, &map)?;
    Ok(efi_info {
        efi_loader_signature: LOADER_SIGNATURE,
        efi_systab: low(SYSTEM_TABLE),
        efi_systab_hi: high(SYSTEM_TABLE),
        efi_memdesc_size: DESCRIPTOR_BYTES,
        efi_memdesc_version: DESCRIPTOR_VERSION,
        efi_memmap: low(MEMORY_MAP),
        efi_memmap_hi: high(MEMORY_MAP),
        efi_memmap_size: u32::try_from(map.len()).unwrap_or_default(),
    })
}

/// `efi_system_table_64_t`. The checksum stays zero: the kernel does not look at it.
fn system_table() -> Vec<u8> {
    let mut table = Vec::with_capacity(SYSTEM_TABLE_BYTES as usize);
    table.extend(SYSTEM_TABLE_SIGNATURE.to_le_bytes());
    for word in [REVISION, SYSTEM_TABLE_BYTES, 0, 0] {
        table.extend(word.to_le_bytes());
    }
    table.extend(VENDOR_NAME.to_le_bytes());
    // Firmware revision, then handles and protocols of three consoles, runtime services, boot services: none.
    table.resize(104, 0);
    const CONFIGURATION_TABLES: u64 = 1;
    table.extend(CONFIGURATION_TABLES.to_le_bytes());
    table.extend(CONFIGURATION.to_le_bytes());
    table
}

fn configuration_table(rsdp: GuestAddress) -> Vec<u8> {
    [&ACPI_20_GUID[..], &rsdp.0.to_le_bytes()].concat()
}

/// UTF-16, filled up with zeros.
fn vendor_name() -> Vec<u8> {
    let mut name: Vec<u8> = VENDOR.encode_utf16().flat_map(u16::to_le_bytes).collect();
    name.resize(VENDOR_BYTES, 0);
    name
}

/// The memory map of `e820` in EFI's terms, in whole pages: with the signature in place, the decompressor looks for room for the
/// kernel in conventional memory of this map only (`arch/x86/boot/compressed/kaslr.c:process_efi_entries`).
fn memory_map(e820: &[E820Range]) -> Vec<u8> {
    let mut map = Vec::new();
    for range in e820 {
        let kind = match range.kind {
            E820_RAM => CONVENTIONAL,
            E820_ACPI => ACPI_RECLAIM,
            _ => RESERVED,
        };
        let (first, end) = (range.base.next_multiple_of(PAGE), (range.base + range.bytes) / PAGE * PAGE);
        map.extend(kind.to_le_bytes());
        map.extend(0_u32.to_le_bytes());
        // Physical and virtual address, pages, attributes; the rest of the descriptor means nothing yet.
        for value in [first, 0, end.saturating_sub(first) / PAGE, CACHEABLE, 0] {
            map.extend(value.to_le_bytes());
        }
    }
    map
}

const fn low(address: u64) -> u32 {
    let [a, b, c, d, ..] = address.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn high(address: u64) -> u32 {
    low(address >> 32)
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::super::zero_page::e820;
    use super::*;

    fn guest() -> (GuestMemoryMmap, efi_info) {
        let ranges = [(GuestAddress(0), 256 << 20), (GuestAddress(4 << 30), 64 << 20)];
        let ram = GuestMemoryMmap::from_ranges(&ranges).unwrap();
        let map = e820(&ram);
        let info = write_tables(&ram, GuestAddress(layout::ACPI), &map).unwrap();
        (ram, info)
    }

    fn u32_at(ram: &GuestMemoryMmap, gpa: u64) -> u32 {
        ram.read_obj(GuestAddress(gpa)).unwrap()
    }

    fn u64_at(ram: &GuestMemoryMmap, gpa: u64) -> u64 {
        ram.read_obj(GuestAddress(gpa)).unwrap()
    }

    /// Type, first address and end of each range, found as a guest finds them.
    fn found_map(ram: &GuestMemoryMmap, info: &efi_info) -> Vec<(u32, u64, u64)> {
        let (base, step) = (u64::from(info.efi_memmap), info.efi_memdesc_size as usize);
        let ends = (0..u64::from(info.efi_memmap_size)).step_by(step);
        ends.map(|at| {
            let first = u64_at(ram, base + at + 8);
            let end = first + u64_at(ram, base + at + 24) * PAGE;
            assert_eq!(u64_at(ram, base + at + 32) & 8, 8, "write-back");
            (u32_at(ram, base + at), first, end)
        })
        .collect()
    }

    #[test]
    fn system_table_has_its_signature_one_table_and_no_runtime_services() {
        let (ram, info) = guest();
        let table = u64::from(info.efi_systab);
        assert_eq!((table, { info.efi_systab_hi }), (layout::EFI, 0));
        assert_eq!(u64_at(&ram, table), 0x5453_5953_2049_4249);
        assert_eq!((u32_at(&ram, table + 8), u32_at(&ram, table + 12)), (0x0002_0046, 120));
        assert_eq!(u64_at(&ram, table + 88), 0, "runtime services");
        assert_eq!(u64_at(&ram, table + 104), 1, "number of configuration tables");
        let configuration = u64_at(&ram, table + 112);
        assert_eq!(u32_at(&ram, configuration), 0x8868_e871, "ACPI 2.0");
        assert_eq!(u64_at(&ram, configuration + 16), layout::ACPI, "RSDP");
    }

    #[test]
    fn vendor_is_text_of_a_hundred_characters() {
        let (ram, _) = guest();
        let mut name = [0_u16; 100];
        let at = u64_at(&ram, layout::EFI + 24);
        for (index, character) in (0_u64..).zip(&mut name) {
            *character = ram.read_obj(GuestAddress(at + 2 * index)).unwrap();
        }
        assert_eq!(String::from_utf16(&name).unwrap().trim_end_matches('\0'), "vmbus-emu");
    }

    #[test]
    fn memory_map_offers_all_ram_and_keeps_the_tables() {
        let (ram, info) = guest();
        assert_eq!(({ info.efi_memdesc_size }, { info.efi_memdesc_version }), (48, 1));
        let expected = [
            (CONVENTIONAL, 0, 0x9_f000),
            (RESERVED, 0xa_0000, 0xe_0000),
            (ACPI_RECLAIM, 0xe_0000, 0x10_0000),
            (CONVENTIONAL, 0x10_0000, 256 << 20),
            (CONVENTIONAL, 4 << 30, (4 << 30) + (64 << 20)),
        ];
        assert_eq!(found_map(&ram, &info), expected);
    }

    #[test]
    fn tables_end_inside_their_place() {
        let (_, info) = guest();
        assert!(u64::from(info.efi_memmap) + u64::from(info.efi_memmap_size) <= layout::EFI + PAGE);
    }
}
