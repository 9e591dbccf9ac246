//! DSDT: the VMBus node below what has its address windows, two serial ports, the S5 sleep state.
//!
//! hv_vmbus walks up from its own node to the first ancestor with a `_CRS` and takes MMIO space from the windows there
//! (Linux `drivers/hv/vmbus_drv.c:vmbus_acpi_add`). In Generation 1 that is the PCI root bus, whose windows the VMBus devices share;
//! in Generation 2 it is a module device, which has nothing else.

use std::ops::Range;

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Name, Package, Path,
    ResourceTemplate, Scope,
};
use acpi_tables::sdt::Sdt;
use device_model::platform::VMBUS_ACPI_HID;

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, Platform};
use crate::machine::power::SLEEP_TYPE_S5;
use crate::machine::serial::{COM1_GSI, COM1_PORTS, COM2_GSI, COM2_PORTS};

/// `_STA`: present, enabled, shown, working.
const PRESENT: u8 = 0x0f;

const ZERO: u8 = 0;

/// The whole table, checksummed.
pub(super) fn build(platform: Platform<'_>) -> Vec<u8> {
    const HEADER_BYTES: u32 = 36;
    const REVISION: u8 = 2;
    let mut dsdt = Sdt::new(*b"DSDT", HEADER_BYTES, REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    let mut aml = Vec::new();
    if platform.has_pci {
        append_pci_bus(platform.windows, &mut aml);
    } else {
        append_vmbus_module(platform.windows, &mut aml);
    }
    append_serial_port("COM1", 1, *COM1_PORTS.start(), COM1_GSI, &mut aml);
    append_serial_port("COM2", 2, *COM2_PORTS.start(), COM2_GSI, &mut aml);
    let s5 = Package::new(vec![&SLEEP_TYPE_S5, &SLEEP_TYPE_S5, &ZERO, &ZERO]);
    Name::new(Path::new("_S5_"), &s5).to_aml_bytes(&mut aml);
    dsdt.append_slice(&aml);
    dsdt.as_slice().to_vec()
}

/// `\_SB.PCI0` with the VMBus node in it.
fn append_pci_bus(windows: &[Range<u64>], aml: &mut Vec<u8>) {
    let mut resources: Vec<Box<dyn Aml>> = vec![
        Box::new(AddressSpace::<u16>::new_bus_number(0, 0xff)),
        Box::new(IO::new(0xcf8, 0xcf8, 1, 8)),
        // Everything but the configuration ports.
        Box::new(AddressSpace::<u16>::new_io(0, 0xcf7, None)),
        Box::new(AddressSpace::<u16>::new_io(0xd00, 0xffff, None)),
    ];
    resources.extend(windows.iter().map(memory_window));
    let resources = ResourceTemplate::new(resources.iter().map(Box::as_ref).collect());
    let bus = [
        named("_HID", &EISAName::new("PNP0A03")),
        named("_UID", &ZERO),
        named("_ADR", &ZERO),
        named("_BBN", &ZERO),
        named("_CRS", &resources),
    ];
    append_with_vmbus_node("PCI0", &bus, aml);
}

/// `\_SB.VMOD`, a module device (ACPI 6.5, 5.6.7) with the VMBus node in it.
fn append_vmbus_module(windows: &[Range<u64>], aml: &mut Vec<u8>) {
    let resources: Vec<Box<dyn Aml>> = windows.iter().map(memory_window).collect();
    let resources = ResourceTemplate::new(resources.iter().map(Box::as_ref).collect());
    let module = [named("_HID", &"ACPI0004"), named("_UID", &ZERO), named("_CRS", &resources)];
    append_with_vmbus_node("VMOD", &module, aml);
}

/// The device `\_SB.name` with these objects, and the VMBus node as its child.
fn append_with_vmbus_node(name: &str, parent: &[Name], aml: &mut Vec<u8>) {
    let vmbus = [
        named("_HID", &VMBUS_ACPI_HID),
        named("_UID", &ZERO),
        named("_STA", &PRESENT),
        // Empty, and yet it must be there: the driver's probe fails on a node without one.
        named("_CRS", &ResourceTemplate::new(Vec::new())),
    ];
    let vmbus = Device::new(Path::new("VMBS"), objects(&vmbus));
    let mut children = objects(parent);
    children.push(&vmbus);
    Scope::new(Path::new("_SB_"), vec![&Device::new(Path::new(name), children)]).to_aml_bytes(aml);
}

fn named(name: &str, value: &dyn Aml) -> Name {
    Name::new(Path::new(name), value)
}

fn objects(names: &[Name]) -> Vec<&dyn Aml> {
    names.iter().map(|name| name as &dyn Aml).collect()
}

/// Linux takes DWordMemory and QWordMemory descriptors and no others for VMBus.
fn memory_window(window: &Range<u64>) -> Box<dyn Aml> {
    let cacheable = AddressSpaceCacheable::NotCacheable;
    let last = window.end - 1;
    match (u32::try_from(window.start), u32::try_from(last)) {
        (Ok(first), Ok(last)) => {
            Box::new(AddressSpace::<u32>::new_memory(cacheable, true, first, last, None))
        }
        _ => Box::new(AddressSpace::<u64>::new_memory(cacheable, true, window.start, last, None)),
    }
}

fn append_serial_port(name: &str, uid: u8, port: u16, gsi: u32, aml: &mut Vec<u8>) {
    let ports = IO::new(port, port, 8, 8);
    let interrupt = Interrupt::new(true, true, false, false, gsi);
    let resources = ResourceTemplate::new(vec![&ports, &interrupt]);
    let device = [
        named("_HID", &EISAName::new("PNP0501")),
        named("_UID", &uid),
        named("_STA", &PRESENT),
        named("_CRS", &resources),
    ];
    let device = Device::new(Path::new(name), objects(&device));
    Scope::new(Path::new("_SB_"), vec![&device]).to_aml_bytes(aml);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(window: &Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        memory_window(window).to_aml_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn low_window_is_a_dword_descriptor_with_both_ends() {
        let descriptor = bytes(&(0xf800_0000..0xfc00_0000));
        assert_eq!(descriptor[0], 0x87);
        assert_eq!(descriptor[10..14], 0xf800_0000_u32.to_le_bytes());
        assert_eq!(descriptor[14..18], 0xfbff_ffff_u32.to_le_bytes());
        assert_eq!(descriptor[22..26], 0x0400_0000_u32.to_le_bytes());
    }

    #[test]
    fn high_window_is_a_qword_descriptor() {
        let descriptor = bytes(&(0x10_0000_0000..0x11_0000_0000));
        assert_eq!(descriptor[0], 0x8a);
        assert_eq!(descriptor[22..30], 0x10_ffff_ffff_u64.to_le_bytes());
    }
}
