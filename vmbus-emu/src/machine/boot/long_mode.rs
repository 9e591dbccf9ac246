//! Long mode as the 64-bit boot protocol wants it: flat segments, paging on, first 4 GiB mapped.

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

use super::{Entry, layout, write};
use crate::machine::error::MachineError;

const PAGE: u64 = 4096;
const ENTRIES: u64 = 512;
const LARGE_PAGE: u64 = 2 << 20;
/// Page directories, one a GiB.
const DIRECTORIES: u64 = 4;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Only the bit that is always one: interrupts off, as the protocol asks.
const RFLAGS: u64 = 1 << 1;

/// `__BOOT_CS` and `__BOOT_DS` of the boot protocol.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;

/// Descriptor types.
const CODE_EXECUTE_READ_ACCESSED: u8 = 0xb;
const DATA_READ_WRITE_ACCESSED: u8 = 0x3;
const TSS_BUSY: u8 = 0xb;

/// Writes GDT and page tables.
///
/// 2 MiB pages: some KVMs fault on 1 GiB ones, and 4 KiB ones would take eight MiB of tables.
///
/// # Errors
/// [`MachineError::GuestWrite`] when RAM does not even cover the first megabyte.
pub(crate) fn write_page_tables(ram: &GuestMemoryMmap) -> Result<(), MachineError> {
    let pml4 = layout::PAGE_TABLES;
    let pointers = pml4 + PAGE;
    let directories = pointers + PAGE;
    let table =
        |entries: &mut dyn Iterator<Item = u64>| entries.flat_map(u64::to_le_bytes).collect::<Vec<_>>();
    write(ram, "PML4", pml4, &(pointers | PRESENT_WRITABLE).to_le_bytes())?;
    let pointer = |n| (directories + n * PAGE) | PRESENT_WRITABLE;
    write(ram, "page directory pointers", pointers, &table(&mut (0..DIRECTORIES).map(pointer)))?;
    let leaf = |n| (n * LARGE_PAGE) | LARGE | PRESENT_WRITABLE;
    write(ram, "page directories", directories, &table(&mut (0..DIRECTORIES * ENTRIES).map(leaf)))?;
    let gdt = [0, 0, descriptor(&code()), descriptor(&data()), descriptor(&tss())];
    write(ram, "GDT", layout::GDT, &table(&mut gdt.into_iter()))
}

/// Sets the registers of the first processor so that it starts at the kernel's 64-bit entry.
///
/// # Errors
/// [`MachineError::Kvm`].
pub(crate) fn enter_64_bit(vcpu: &VcpuFd, entry: Entry) -> Result<(), MachineError> {
    let mut sregs = vcpu.get_sregs().map_err(MachineError::kvm("read system registers"))?;
    sregs.cs = code();
    (sregs.ds, sregs.es, sregs.fs) = (data(), data(), data());
    (sregs.gs, sregs.ss) = (data(), data());
    sregs.tr = tss();
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = 5 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr3 = layout::PAGE_TABLES;
    sregs.cr4 |= CR4_PAE;
    sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
    sregs.efer |= EFER_LME | EFER_LMA;
    vcpu.set_sregs(&sregs).map_err(MachineError::kvm("set system registers"))?;
    let regs = kvm_regs {
        rip: entry.rip,
        rsi: layout::ZERO_PAGE,
        rsp: layout::STACK_TOP,
        rbp: layout::STACK_TOP,
        rflags: RFLAGS,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(MachineError::kvm("set registers"))
}

fn code() -> kvm_segment {
    let selector = CODE_SELECTOR;
    kvm_segment { selector, type_: CODE_EXECUTE_READ_ACCESSED, l: 1, ..flat() }
}

fn data() -> kvm_segment {
    kvm_segment { selector: DATA_SELECTOR, type_: DATA_READ_WRITE_ACCESSED, db: 1, ..flat() }
}

/// KVM wants a busy TSS on entry, though no task ever switches.
fn tss() -> kvm_segment {
    kvm_segment { selector: TSS_SELECTOR, limit: 0x67, type_: TSS_BUSY, present: 1, ..Default::default() }
}

fn flat() -> kvm_segment {
    kvm_segment { limit: 0xffff_ffff, present: 1, s: 1, g: 1, ..Default::default() }
}

/// The eight bytes that the segment would have in memory; base 0.
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit = u64::from(if segment.g == 1 { segment.limit >> 12 } else { segment.limit });
    let access = u64::from(segment.type_ | segment.s << 4 | segment.dpl << 5 | segment.present << 7);
    let flags = u64::from(segment.l << 1 | segment.db << 2 | segment.g << 3);
    (limit & 0xffff) | access << 40 | (limit >> 16 & 0xf) << 48 | flags << 52
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;

    fn entry(ram: &GuestMemoryMmap, gpa: u64) -> u64 {
        ram.read_obj(GuestAddress(gpa)).unwrap()
    }

    #[test]
    fn page_tables_map_the_first_four_gib_one_to_one() {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write_page_tables(&ram).unwrap();
        for address in [0, 0x20_0000, 0x1234_5678, 0xf800_0000, 0xffff_ffff_u64] {
            let mut table = layout::PAGE_TABLES;
            for shift in [39, 30] {
                let next = entry(&ram, table + (address >> shift & 511) * 8);
                assert_eq!(next & 0xfff, PRESENT_WRITABLE);
                table = next & !0xfff;
            }
            let leaf = entry(&ram, table + (address >> 21 & 511) * 8);
            assert_eq!(leaf, address & !(LARGE_PAGE - 1) | LARGE | PRESENT_WRITABLE);
        }
        const { assert!(layout::PAGE_TABLES + (2 + DIRECTORIES) * PAGE <= layout::CMDLINE) }
    }

    #[test]
    fn descriptors_are_the_boot_protocols() {
        assert_eq!(descriptor(&code()), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&data()), 0x00cf_9300_0000_ffff);
    }
}
