//! ACPI tables: RSDP, XSDT, FADT, FACS, MADT and DSDT, built once and copied below 1 MiB.
//!
//! The platform is not "hardware reduced", because that would take the ISA interrupts of the serial ports
//! with it.

mod dsdt;
mod tables;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::boot::{layout, write};
use super::error::MachineError;

const OEM_ID: [u8; 6] = *b"VMBUSE";
const OEM_TABLE_ID: [u8; 8] = *b"VMBUSEMU";
const OEM_REVISION: u32 = 1;

/// What of the machine the tables depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Platform<'a> {
    /// Processors; APIC ids are 0 to this, exclusive.
    pub(super) vcpus: u32,
    /// Windows for PCI and VMBus devices, the first below 4 GiB.
    pub(super) windows: &'a [std::ops::Range<u64>],
    /// Whether the VMBus node lies below a PCI root bus, as in Generation 1.
    pub(super) has_pci: bool,
}

/// All tables as one block of bytes that belongs at one address.
#[derive(Debug)]
pub(super) struct Tables {
    base: u64,
    bytes: Vec<u8>,
}

impl Tables {
    /// Builds the tables for `base`, where the RSDP will be.
    pub(super) fn build(platform: Platform<'_>, base: u64) -> Self {
        let mut this = Self { base, bytes: Vec::new() };
        // The RSDP comes first and points at the last one, so it is filled in at the end.
        this.bytes.resize(Rsdp::len(), 0);
        let facs = this.append(&FACS::new());
        let dsdt = this.append_bytes(&dsdt::build(platform));
        let fadt = this.append(&tables::fadt(dsdt, facs));
        let madt = this.append_bytes(tables::madt(platform.vcpus).as_slice());
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(fadt);
        xsdt.add_entry(madt);
        let xsdt = this.append(&xsdt);
        let mut rsdp = Vec::new();
        Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
        this.bytes.splice(..Rsdp::len(), rsdp);
        this
    }

    /// Copies the tables to guest memory and returns the RSDP's address.
    ///
    /// # Errors
    /// [`MachineError::GuestWrite`].
    pub(super) fn write(&self, ram: &GuestMemoryMmap) -> Result<GuestAddress, MachineError> {
        debug_assert!(self.base + self.bytes.len() as u64 <= layout::ACPI_END);
        write(ram, "ACPI tables", self.base, &self.bytes)?;
        Ok(GuestAddress(self.base))
    }

    fn append(&mut self, table: &dyn Aml) -> u64 {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        self.append_bytes(&bytes)
    }

    /// Address of the appended table: the FACS must lie on 64 bytes, and it does the others no harm.
    fn append_bytes(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(64), 0);
        let address = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(table);
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::config::{HIGH_WINDOW, LOW_WINDOW};

    fn tables(vcpus: u32) -> Tables {
        Tables::build(Platform { vcpus, windows: &[LOW_WINDOW, HIGH_WINDOW], has_pci: true }, layout::ACPI)
    }

    fn tables_without_pci() -> Tables {
        let windows = &[LOW_WINDOW, HIGH_WINDOW];
        Tables::build(Platform { vcpus: 1, windows, has_pci: false }, layout::ACPI)
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// Follows pointers as a guest does.
    impl Tables {
        fn u64_at(&self, address: u64) -> u64 {
            let at = usize::try_from(address - self.base).unwrap();
            u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
        }

        fn table(&self, address: u64) -> &[u8] {
            let at = usize::try_from(address - self.base).unwrap();
            let len = u32::from_le_bytes(self.bytes[at + 4..at + 8].try_into().unwrap());
            &self.bytes[at..at + len as usize]
        }
    }

    #[test]
    fn every_pointer_leads_to_a_table_whose_checksum_is_zero() {
        let tables = tables(4);
        assert_eq!(&tables.bytes[..8], b"RSD PTR ");
        assert_eq!((sum(&tables.bytes[..20]), sum(&tables.bytes[..36])), (0, 0));
        let xsdt = tables.u64_at(layout::ACPI + 24);
        assert_eq!(tables.table(xsdt)[..4], *b"XSDT");
        assert_eq!(sum(tables.table(xsdt)), 0);
        let (fadt, madt) = (tables.u64_at(xsdt + 36), tables.u64_at(xsdt + 44));
        let (dsdt, facs) = (tables.u64_at(fadt + 140), tables.u64_at(fadt + 132));
        for (address, signature) in [(fadt, b"FACP"), (madt, b"APIC"), (dsdt, b"DSDT")] {
            assert_eq!(tables.table(address)[..4], *signature);
            assert_eq!(sum(tables.table(address)), 0, "{}", String::from_utf8_lossy(signature));
        }
        assert_eq!((&tables.table(facs)[..4], facs % 64), (b"FACS".as_slice(), 0));
    }

    #[test]
    fn largest_machine_fits_its_place() {
        assert!(layout::ACPI + tables(64).bytes.len() as u64 <= layout::ACPI_END);
    }

    /// What lies in the device called `name`, and what lies behind it.
    fn device<'a>(tables: &'a Tables, name: &[u8; 4]) -> Option<(&'a [u8], &'a [u8])> {
        let prefix = [0x5b, 0x82];
        let starts = (0..tables.bytes.len()).filter(|&at| tables.bytes[at..].starts_with(&prefix));
        starts.map(|at| &tables.bytes[at + prefix.len()..]).find_map(|package| {
            // ACPI 6.5, 20.2.4: two bits of how many bytes follow, and the length's lowest four bits (or six).
            let more = usize::from(package[0] >> 6);
            let lowest = usize::from(package[0]) & if more == 0 { 0x3f } else { 0x0f };
            let rest = package[1..=more].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            let (inside, behind) = package.split_at(rest << 4 | lowest);
            inside[1 + more..].starts_with(name).then_some((inside, behind))
        })
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn vmbus_node_is_inside_the_pci_bus() {
        let tables = tables(1);
        let (bus, behind) = device(&tables, b"PCI0").unwrap();
        assert!(holds(bus, b"VMBS") && holds(bus, b"VMBus\0"));
        assert!(!holds(behind, b"VMBS") && holds(behind, b"COM1"));
        assert!(!holds(&tables.bytes, b"VMOD"));
    }

    #[test]
    fn without_pci_the_vmbus_node_is_inside_a_module_with_both_windows() {
        let tables = tables_without_pci();
        let (module, behind) = device(&tables, b"VMOD").unwrap();
        assert!(holds(module, b"ACPI0004\0") && holds(module, b"VMBS") && holds(module, b"VMBus\0"));
        assert!(!holds(behind, b"VMBS"));
        assert!(holds(behind, b"COM1") && holds(behind, b"COM2") && holds(behind, b"_S5_"));
        for window in [LOW_WINDOW, HIGH_WINDOW] {
            let last = window.end - 1;
            let (start, last) = (window.start.to_le_bytes(), last.to_le_bytes());
            let bytes = if window.end > 1 << 32 { 8 } else { 4 };
            assert!(holds(module, &[&start[..bytes], &last[..bytes]].concat()), "{window:x?}");
        }
    }

    #[test]
    fn without_pci_no_trace_of_a_pci_bus_is_left() {
        let bytes = tables_without_pci().bytes;
        let pnp0a03 = [0x41, 0xd0, 0x0a, 0x03];
        assert!(!holds(&bytes, b"PCI0") && !holds(&bytes, &pnp0a03));
        assert!(holds(&tables(1).bytes, &pnp0a03), "the PCI bus's own id");
    }
}
