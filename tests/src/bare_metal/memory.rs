//! Where everything lies in the bare-metal guest, and the tables that long mode needs.

use anyhow::Result;
use kvm_bindings::{kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::program::Program;

/// Bytes of RAM, from address 0.
pub const RAM_BYTES: u64 = 16 << 20;
/// Page that the guest declares as its hypercall page.
pub const HYPERCALL_PAGE: u64 = 0x1_8000;

const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const PML4: u64 = 0x3000;
const PDPT: u64 = 0x4000;
/// Four page directories of 2 MiB pages: identity for the first 4 GiB.
const DIRECTORIES: u64 = 0x5000;
const CODE: u64 = 0x1_0000;
const CPU_AREAS: u64 = 0x2_0000;
const CPU_AREA_BYTES: u64 = 0x8000;
const PAGE: u64 = 0x1000;

/// Pages that one CPU has for itself.
#[derive(Clone, Copy, Debug)]
pub struct CpuArea(u64);

impl CpuArea {
    /// Those of virtual processor `vp`.
    #[must_use]
    pub fn of(vp: u32) -> Self {
        Self(CPU_AREAS + u64::from(vp) * CPU_AREA_BYTES)
    }

    /// Mailbox, see [`super::program::field`].
    #[must_use]
    pub fn mailbox(self) -> u64 {
        self.0
    }

    /// First address above the stack.
    #[must_use]
    pub fn stack_top(self) -> u64 {
        self.0 + 2 * PAGE
    }

    /// SIMP page.
    #[must_use]
    pub fn message_page(self) -> u64 {
        self.0 + 2 * PAGE
    }

    /// SIEFP page.
    #[must_use]
    pub fn event_page(self) -> u64 {
        self.0 + 3 * PAGE
    }

    /// Page for copies that the host reads.
    #[must_use]
    pub fn scratch(self) -> u64 {
        self.0 + 4 * PAGE
    }

    /// Page for hypercall input blocks.
    #[must_use]
    pub fn hypercall_input(self) -> u64 {
        self.0 + 5 * PAGE
    }
}

/// Writes program, GDT, IDT and page tables.
///
/// # Errors
/// `memory` is smaller than [`RAM_BYTES`].
pub fn load(memory: &GuestMemoryMmap, program: &Program) -> Result<()> {
    let store = |at: u64, value: u64| memory.write_obj(value, GuestAddress(at));
    memory.write_slice(&program.code, GuestAddress(CODE))?;
    store(GDT + 8, 0x00af_9b00_0000_ffff)?; // 64-bit code
    store(GDT + 16, 0x00cf_9300_0000_ffff)?; // data
    for (vector, offset) in [(13, program.fault), (u64::from(hv_abi::sint::LINUX_VECTOR), program.interrupt)]
    {
        let handler = CODE + u64::try_from(offset)?;
        let gate = (handler & 0xffff) | 8 << 16 | 0x8e00 << 32 | (handler >> 16) << 48;
        store(IDT + vector * 16, gate)?;
        store(IDT + vector * 16 + 8, 0)?;
    }
    let present_writable = 3;
    store(PML4, PDPT | present_writable)?;
    for gib in 0..4 {
        let directory = DIRECTORIES + gib * PAGE;
        store(PDPT + gib * 8, directory | present_writable)?;
        for page in 0..512 {
            let huge = 0x80;
            store(directory + page * 8, gib << 30 | page << 21 | huge | present_writable)?;
        }
    }
    Ok(())
}

/// Address of the program's first instruction.
#[must_use]
pub fn entry(program: &Program) -> u64 {
    CODE + program.start as u64
}

/// Turns reset state into long mode with paging, and the APIC into an x2APIC.
pub fn enter_long_mode(sregs: &mut kvm_sregs) {
    let code = kvm_segment {
        limit: 0xffff_ffff,
        selector: 8,
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment { selector: 16, type_: 3, l: 0, db: 1, ..code };
    sregs.cs = code;
    for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *segment = data;
    }
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x17);
    (sregs.idt.base, sregs.idt.limit) = (IDT, 0xfff);
    sregs.cr0 = 0x8000_0031; // PG, NE, ET, PE
    sregs.cr3 = PML4;
    sregs.cr4 = 0x20; // PAE
    sregs.efer = 0x500; // LMA, LME
    sregs.apic_base |= 0xc00; // enabled, x2APIC
}
