//! The fixed tables: FADT and MADT.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::machine::power::{PM_TIMER, PM1A_CONTROL, PM1A_EVENT, RESET_PORT, RESET_VALUE, SCI_GSI};
use crate::machine::rtc;

/// Where the LAPICs are; KVM's default.
const LAPIC_ADDRESS: u32 = 0xfee0_0000;
/// Where the IOAPIC is; KVM's only choice.
const IOAPIC_ADDRESS: u32 = 0xfec0_0000;

/// Fixed ACPI description table.
pub(super) fn fadt(dsdt: u64, facs: u64) -> FADT {
    // IAPC_BOOT_ARCH: bit 0 says that there are ISA devices (the serial ports), bit 1 clear that there is no
    // keyboard controller, bit 2 that there is no VGA text mode to probe for.
    const ISA_DEVICES: u16 = 1 << 0;
    const NO_VGA: u16 = 1 << 2;
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .firmware_ctrl_64(facs)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::SlpButton)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);
    fadt.sci_int = u16::try_from(SCI_GSI).unwrap_or_default().into();
    fadt.pm1a_evt_blk = u32::from(PM1A_EVENT).into();
    fadt.pm1a_cnt_blk = u32::from(PM1A_CONTROL).into();
    fadt.pm_tmr_blk = u32::from(PM_TIMER).into();
    (fadt.pm1_evt_len, fadt.pm1_cnt_len, fadt.pm_tmr_len) = (4, 2, 4);
    fadt.x_pm1a_evt_blk = port(PM1A_EVENT, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = port(PM1A_CONTROL, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = port(PM_TIMER, 32, AccessSize::DwordAccess);
    fadt.reset_reg = port(RESET_PORT, 8, AccessSize::ByteAccess);
    fadt.reset_value = RESET_VALUE;
    // Latencies above 100 and 1000 us: no C2, no C3.
    (fadt.p_lvl2_lat, fadt.p_lvl3_lat) = (101.into(), 1001.into());
    fadt.century = rtc::CENTURY;
    fadt.iapc_boot_arch = (ISA_DEVICES | NO_VGA).into();
    fadt.finalize()
}

fn port(address: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(address))
}

/// Multiple APIC description table: a LAPIC a processor, the IOAPIC, two interrupt overrides.
pub(super) fn madt(vcpus: u32) -> Sdt {
    const PIC_PRESENT: u32 = 1;
    const HEADER_BYTES: u32 = 36;
    const REVISION: u8 = 5;
    /// Timer: ISA line 0 arrives at IOAPIC pin 2.
    const TIMER: [u8; 10] = interrupt_override(0, 2, 0);
    /// SCI: level-triggered (3 in bits 3:2), active high (1 in bits 1:0).
    const SCI: [u8; 10] = interrupt_override(9, 9, 0b1101);
    let mut madt = Sdt::new(*b"APIC", HEADER_BYTES, REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    madt.append_slice(&LAPIC_ADDRESS.to_le_bytes());
    madt.append_slice(&PIC_PRESENT.to_le_bytes());
    for id in 0..u8::try_from(vcpus).unwrap_or(u8::MAX) {
        // Type 0, length 8, processor uid, APIC id, flags: enabled.
        madt.append_slice(&[0, 8, id, id, 1, 0, 0, 0]);
    }
    // Type 1, length 12, id, reserved, address, first GSI.
    let mut ioapic = vec![1, 12, 0, 0];
    ioapic.extend(IOAPIC_ADDRESS.to_le_bytes());
    ioapic.extend(0_u32.to_le_bytes());
    madt.append_slice(&ioapic);
    madt.append_slice(&TIMER);
    madt.append_slice(&SCI);
    madt
}

/// Type 2, length 10, bus 0 (ISA), source, GSI, flags.
const fn interrupt_override(source: u8, gsi: u8, flags: u8) -> [u8; 10] {
    [2, 10, 0, source, gsi, 0, 0, 0, flags, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn madt_lists_every_processor_then_the_ioapic() {
        let madt = madt(3);
        let bytes = madt.as_slice();
        assert_eq!(bytes.len(), 44 + 3 * 8 + 12 + 2 * 10);
        let ids: Vec<_> = bytes[44..68].chunks(8).map(|lapic| (lapic[0], lapic[3])).collect();
        assert_eq!(ids, [(0, 0), (0, 1), (0, 2)]);
        assert_eq!(bytes[68..70], [1, 12]);
    }

    #[test]
    fn sci_is_the_interrupt_that_the_override_describes() {
        assert_eq!(interrupt_override(9, 9, 0b1101)[3], u8::try_from(SCI_GSI).unwrap());
    }
}
