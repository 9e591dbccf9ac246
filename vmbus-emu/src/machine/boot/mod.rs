//! Linux's 64-bit boot protocol: kernel, initial RAM disk, zero page, page tables and first registers.
//!
//! A Generation 2 guest enters at the same place, and finds the tables of an EFI system that has booted it ([`efi`]).
//!
//! The kernel is entered at its 64-bit entry point with RSI at the zero page, in long mode with the first
//! 4 GiB mapped one to one, as `Documentation/arch/x86/boot.rst` ("64-bit boot protocol") asks for.

mod efi;
mod kernel;
mod long_mode;
mod screen_info;
#[cfg(test)]
pub(crate) mod test_image;
mod zero_page;

use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

pub(crate) use efi::NO_RUNTIME;
pub(super) use kernel::KernelImage;
pub(super) use long_mode::{enter_64_bit, write_page_tables};

use super::config::{Generation, MachineConfig};
use super::error::MachineError;

/// Addresses below 1 MiB, all in the RAM that the kernel leaves alone until it has copied what it needs.
pub(super) mod layout {
    /// Four descriptors.
    pub(in super::super) const GDT: u64 = 0x500;
    /// One page of boot parameters.
    pub(in super::super) const ZERO_PAGE: u64 = 0x7000;
    /// Top of a small stack; the kernel sets up its own at once.
    pub(in super::super) const STACK_TOP: u64 = 0x8ff0;
    /// Six pages: PML4, one page directory pointer table, four page directories.
    pub(in super::super) const PAGE_TABLES: u64 = 0x9000;
    /// Kernel command line, with its terminator.
    pub(in super::super) const CMDLINE: u64 = 0x2_0000;
    /// End of the RAM below 640 KiB that e820 offers; a PC keeps its extended BIOS data above.
    pub(in super::super) const LOW_RAM_END: u64 = 0x9_fc00;
    /// EFI tables, where the machine has them.
    pub(in super::super) const EFI: u64 = 0xc_0000;
    /// ACPI tables, RSDP first.
    pub(in super::super) const ACPI: u64 = 0xe_0000;
    /// End of the space for ACPI tables.
    pub(in super::super) const ACPI_END: u64 = 0x10_0000;
}

/// What the first processor must be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// 64-bit entry point.
    pub(super) rip: u64,
}

/// Puts kernel, initrd, command line and zero page into guest memory.
///
/// # Errors
/// A file that is not readable or not a kernel, or memory that is too small for both.
pub(super) fn load(
    config: &MachineConfig,
    ram: &GuestMemoryMmap,
    rsdp: GuestAddress,
) -> Result<Entry, MachineError> {
    let low_end = low_ram_end(ram);
    let kernel = KernelImage::open(&config.kernel)?;
    let loaded = kernel.load(ram, low_end)?;
    let initrd = match &config.initrd {
        Some(path) => Some(kernel::load_initrd(path, ram, &loaded, low_end)?),
        None => None,
    };
    let limit = loaded.header.cmdline_size;
    if limit != 0 && config.cmdline.len() as u64 > u64::from(limit) {
        return Err(MachineError::CmdlineLimit { bytes: config.cmdline.len(), limit });
    }
    let mut cmdline = config.cmdline.clone().into_bytes();
    cmdline.push(0);
    write(ram, "command line", layout::CMDLINE, &cmdline)?;
    let e820 = zero_page::e820(ram);
    let mut parameters = zero_page::build(&loaded, initrd, rsdp, &e820);
    if let Generation::Two { screen } = config.generation {
        parameters.efi_info = efi::write_tables(ram, rsdp, &e820)?;
        parameters.screen_info = screen.map(screen_info::of).unwrap_or_default();
    }
    write(ram, "zero page", layout::ZERO_PAGE, parameters.as_slice())?;
    Ok(Entry { rip: loaded.base + kernel::ENTRY_64_OFFSET })
}

/// End of the RAM that starts at zero.
fn low_ram_end(ram: &GuestMemoryMmap) -> u64 {
    ram.find_region(GuestAddress(0)).map_or(0, GuestMemoryRegion::len)
}

/// Writes `bytes` at `gpa`, naming `what` when it falls outside.
pub(super) fn write(
    ram: &GuestMemoryMmap,
    what: &'static str,
    gpa: u64,
    bytes: &[u8],
) -> Result<(), MachineError> {
    ram.write_slice(bytes, GuestAddress(gpa)).map_err(|source| MachineError::GuestWrite { what, gpa, source })
}
