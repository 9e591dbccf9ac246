//! PCI bus 0 through configuration mechanism 1: a host bridge and the Generation 1 video function.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use device_model::platform::PciVideoFunction;

use super::bus::{PortDevice, PowerRequest};
use super::power::{RESET_PORT, reset_requested};

/// Address register at 0xcf8, data window at 0xcfc.
pub(super) const PORTS: RangeInclusive<u16> = 0xcf8..=0xcff;
const DATA: u16 = 0xcfc;

/// Bytes in one function's configuration space.
const CONFIG_BYTES: usize = 256;
const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const CLASS: usize = 0x09;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;

/// Configuration space of one function: its bytes, and which bits of them the guest may change.
struct Function {
    device: u8,
    bytes: [u8; CONFIG_BYTES],
    writable: [u8; CONFIG_BYTES],
}

impl Function {
    fn new(device: u8, vendor: u16, device_id: u16, class: u32) -> Self {
        let mut this = Self { device, bytes: [0; CONFIG_BYTES], writable: [0; CONFIG_BYTES] };
        this.set(VENDOR, &vendor.to_le_bytes());
        this.set(DEVICE, &device_id.to_le_bytes());
        let [low, mid, high, _] = class.to_le_bytes();
        this.set(CLASS, &[low, mid, high]);
        this.set(SUBSYSTEM_VENDOR, &vendor.to_le_bytes());
        this.set(SUBSYSTEM, &device_id.to_le_bytes());
        // I/O, memory and bus-master enable can be set, and change nothing.
        this.writable[COMMAND] = 0x07;
        this
    }

    /// 00:00.0. Some host bridge must exist, or Linux refuses mechanism 1
    /// (`arch/x86/pci/direct.c:pci_sanity_check`). It is the one of the machines that Hyper-V presents.
    fn host_bridge() -> Self {
        const INTEL: u16 = 0x8086;
        const I440BX: u16 = 0x7192;
        const HOST_BRIDGE: u32 = 0x06_0000;
        Self::new(0, INTEL, I440BX, HOST_BRIDGE)
    }

    fn video(video: &PciVideoFunction) -> Self {
        let mut this = Self::new(
            video.device,
            PciVideoFunction::VENDOR,
            PciVideoFunction::DEVICE,
            PciVideoFunction::CLASS,
        );
        // The size of a BAR is told by the address bits that cannot be written.
        let address_bits = !(video.bar0_len - 1) & !0xf;
        this.set(BAR0, &(video.bar0_base & address_bits).to_le_bytes());
        for (writable, bits) in this.writable.iter_mut().skip(BAR0).zip(address_bits.to_le_bytes()) {
            *writable = bits;
        }
        // Memory decode as firmware leaves it; Linux then keeps the BAR where it is.
        this.set(COMMAND, &[0x02]);
        this
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        for (byte, &new) in self.bytes.iter_mut().skip(at).zip(value) {
            *byte = new;
        }
    }

    fn write(&mut self, at: usize, value: &[u8]) {
        let masked = self.bytes.iter_mut().zip(&self.writable).skip(at);
        for ((byte, &writable), &new) in masked.zip(value) {
            *byte = *byte & !writable | new & writable;
        }
    }
}

/// The host bridge's address and data registers, with the functions behind them.
pub(super) struct PciHost {
    state: Mutex<State>,
}

struct State {
    address: u32,
    functions: Vec<Function>,
}

impl PciHost {
    pub(super) fn new(video: Option<&PciVideoFunction>) -> Self {
        let mut functions = vec![Function::host_bridge()];
        functions.extend(video.map(Function::video));
        Self { state: Mutex::new(State { address: 0, functions }) }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The function that the address register selects, with the offset of its dword.
    fn selected(&mut self) -> Option<(&mut Function, usize)> {
        const ENABLE: u32 = 1 << 31;
        let [offset, device_function, bus, _] = self.address.to_le_bytes();
        let (device, function) = (device_function >> 3, device_function & 7);
        if self.address & ENABLE == 0 || bus != 0 || function != 0 {
            return None;
        }
        let found = self.functions.iter_mut().find(|function| function.device == device)?;
        Some((found, usize::from(offset & 0xfc)))
    }
}

impl PortDevice for PciHost {
    fn read(&self, port: u16, data: &mut [u8]) {
        let mut state = self.locked();
        data.fill(0xff);
        if port < DATA {
            if let (0xcf8, 4) = (port, data.len()) {
                data.copy_from_slice(&state.address.to_le_bytes());
            }
            return;
        }
        let lane = usize::from(port - DATA);
        if let Some((function, offset)) = state.selected() {
            // An access that runs over the end of its dword is cut there, as the bus would.
            let bytes = function.bytes.iter().skip(offset + lane).take(4 - lane);
            data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
    }

    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        if port == RESET_PORT {
            return reset_requested(data);
        }
        let mut state = self.locked();
        if port < DATA {
            if let (0xcf8, Ok(dword)) = (port, <[u8; 4]>::try_from(data)) {
                state.address = u32::from_le_bytes(dword);
            }
            return None;
        }
        let lane = usize::from(port - DATA);
        if let Some((function, offset)) = state.selected() {
            function.write(offset + lane, data.get(..data.len().min(4 - lane)).unwrap_or(data));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: PciVideoFunction =
        PciVideoFunction { device: 8, bar0_base: 0xf800_0000, bar0_len: 64 << 20 };

    fn address(host: &PciHost, device: u8, offset: u8) {
        let value = 1 << 31 | u32::from(device) << 11 | u32::from(offset);
        host.write(0xcf8, &value.to_le_bytes());
    }

    fn dword(host: &PciHost, device: u8, offset: u8) -> u32 {
        address(host, device, offset);
        let mut data = [0; 4];
        host.read(0xcfc, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn address_register_reads_back_and_survives_a_byte_write() {
        let host = PciHost::new(None);
        host.write(0xcf8, &0x8000_0000_u32.to_le_bytes());
        host.write(0xcfb, &[1]);
        let mut data = [0; 4];
        host.read(0xcf8, &mut data);
        assert_eq!(u32::from_le_bytes(data), 0x8000_0000);
    }

    #[test]
    fn host_bridge_and_video_have_ids_and_classes() {
        let host = PciHost::new(Some(&VIDEO));
        assert_eq!(dword(&host, 0, 8) >> 16, 0x0600);
        assert_eq!(dword(&host, 8, 0), 0x5353_1414);
        assert_eq!(dword(&host, 8, 8) >> 8, 0x03_0000);
        assert_eq!(dword(&host, 8, 0x0c), 0, "header type 0");
    }

    #[test]
    fn bar_sizing_tells_64_mib_and_restores() {
        let host = PciHost::new(Some(&VIDEO));
        assert_eq!(dword(&host, 8, 0x10), 0xf800_0000);
        host.write(0xcfc, &u32::MAX.to_le_bytes());
        assert_eq!(dword(&host, 8, 0x10), 0xfc00_0000);
        host.write(0xcfc, &0xf800_0000_u32.to_le_bytes());
        assert_eq!(dword(&host, 8, 0x10), 0xf800_0000);
        address(&host, 8, 0x14);
        host.write(0xcfc, &u32::MAX.to_le_bytes());
        assert_eq!(dword(&host, 8, 0x14), 0, "BAR 1 does not exist");
    }

    #[test]
    fn byte_and_word_accesses_select_their_lanes() {
        let host = PciHost::new(Some(&VIDEO));
        address(&host, 8, 0);
        let mut word = [0; 2];
        host.read(0xcfe, &mut word);
        assert_eq!(u16::from_le_bytes(word), 0x5353);
        let mut byte = [0; 1];
        host.read(0xcfd, &mut byte);
        assert_eq!(byte, [0x14]);
        let mut over = [0; 4];
        host.read(0xcff, &mut over);
        assert_eq!(over, [0x53, 0xff, 0xff, 0xff]);
        address(&host, 8, 4);
        host.write(0xcfc, &[0xff]);
        assert_eq!(dword(&host, 8, 4), 0x07);
    }

    #[test]
    fn absent_functions_and_disabled_addresses_read_all_ones() {
        let host = PciHost::new(None);
        assert_eq!(dword(&host, 8, 0), u32::MAX);
        host.write(0xcf8, &(1_u32 << 31 | 1 << 16).to_le_bytes());
        let mut data = [0; 4];
        host.read(0xcfc, &mut data);
        assert_eq!(data, [0xff; 4], "bus 1");
        host.write(0xcf8, &0_u32.to_le_bytes());
        host.read(0xcfc, &mut data);
        assert_eq!(data, [0xff; 4], "enable bit clear");
        assert_eq!(host.write(0xcfc, &[0; 4]), None);
    }

    #[test]
    fn ids_are_read_only() {
        let host = PciHost::new(Some(&VIDEO));
        address(&host, 8, 0);
        host.write(0xcfc, &[0; 4]);
        assert_eq!(dword(&host, 8, 0), 0x5353_1414);
    }

    #[test]
    fn reset_register_inside_the_address_dword_resets_by_byte_only() {
        let host = PciHost::new(None);
        assert!(host.write(0xcf9, &[6]).is_some());
        assert!(host.write(0xcf8, &0x8000_0600_u32.to_le_bytes()).is_none());
    }
}
