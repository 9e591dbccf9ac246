//! Port I/O and MMIO that reach user space: who answers, and what nobody answers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::event::{MachineEvent, ResetCause};
use super::exits::ExitCounters;

/// What a device wants to happen to the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PowerRequest {
    /// Stop for good.
    Off,
    /// Start again.
    Reset(ResetCause),
}

impl From<PowerRequest> for MachineEvent {
    fn from(request: PowerRequest) -> Self {
        match request {
            PowerRequest::Off => Self::PowerOff,
            PowerRequest::Reset(cause) => Self::Reset(cause),
        }
    }
}

/// A device behind I/O ports. Called from any vCPU thread, so it locks for itself and never waits.
pub(super) trait PortDevice: Send + Sync {
    /// IN of `data.len()` bytes (1, 2 or 4) at `port`, which is one of the device's own.
    fn read(&self, port: u16, data: &mut [u8]);

    /// OUT of 1, 2 or 4 bytes.
    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest>;
}

/// All ports of the machine. Immutable once built, so that vCPU threads share it without a lock.
#[derive(Default)]
pub(super) struct PortBus {
    devices: Vec<(RangeInclusive<u16>, Arc<dyn PortDevice>)>,
}

impl PortBus {
    /// Gives `ports` to `device`. Ranges do not overlap; the first one given wins.
    pub(super) fn attach(&mut self, ports: RangeInclusive<u16>, device: Arc<dyn PortDevice>) {
        self.devices.push((ports, device));
    }

    /// One IN exit. Ports of nobody read as all ones, as an undriven ISA bus does.
    ///
    /// KVM reports a string instruction as one exit with several elements and [`kvm_ioctls::VcpuExit`] does
    /// not tell their size: 1, 2 and 4 bytes are taken for one access, everything else for single bytes.
    pub(super) fn read(&self, port: u16, data: &mut [u8], exits: &ExitCounters) {
        let Some(device) = self.find(port) else {
            exits.unclaimed_port.add();
            data.fill(0xff);
            return;
        };
        match data.len() {
            1 | 2 | 4 => device.read(port, data),
            _ => data.chunks_mut(1).for_each(|byte| device.read(port, byte)),
        }
    }

    /// One OUT exit. Writes to ports of nobody are dropped.
    pub(super) fn write(&self, port: u16, data: &[u8], exits: &ExitCounters) -> Option<PowerRequest> {
        let Some(device) = self.find(port) else {
            exits.unclaimed_port.add();
            return None;
        };
        match data.len() {
            1 | 2 | 4 => device.write(port, data),
            _ => data.chunks(1).filter_map(|byte| device.write(port, byte)).last(),
        }
    }

    fn find(&self, port: u16) -> Option<&dyn PortDevice> {
        let (_, device) = self.devices.iter().find(|(ports, _)| ports.contains(&port))?;
        Some(device.as_ref())
    }
}

/// An MMIO read that no memory slot backs: all ones, as an aborted PCI cycle reads.
///
/// Everything that this machine maps is memory; an exit means that the guest touched a hole, or VRAM that
/// it has not declared.
pub(super) fn read_mmio(data: &mut [u8], exits: &ExitCounters) {
    exits.unclaimed_mmio.add();
    data.fill(0xff);
}

/// Ports that firmware and drivers poke without meaning anything here: POST codes and the I/O delay (0x80),
/// the second keyboard port, Bochs debug output. Not counted as unclaimed; reads as all ones.
pub(super) struct IgnoredPorts;

impl PortDevice for IgnoredPorts {
    fn read(&self, _port: u16, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write(&self, _port: u16, _data: &[u8]) -> Option<PowerRequest> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u16, Vec<u8>)>>);

    impl PortDevice for Recorder {
        fn read(&self, port: u16, data: &mut [u8]) {
            self.0.lock().unwrap().push((port, vec![0; data.len()]));
            data.fill(0x5a);
        }

        fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
            self.0.lock().unwrap().push((port, data.to_vec()));
            (data == [9]).then_some(PowerRequest::Off)
        }
    }

    fn bus() -> (PortBus, Arc<Recorder>, ExitCounters) {
        let recorder = Arc::new(Recorder::default());
        let mut bus = PortBus::default();
        bus.attach(0x10..=0x17, Arc::clone(&recorder) as Arc<dyn PortDevice>);
        (bus, recorder, ExitCounters::default())
    }

    #[test]
    fn port_of_nobody_reads_all_ones_and_is_counted() {
        let (bus, recorder, exits) = bus();
        let mut data = [0; 4];
        bus.read(0x18, &mut data, &exits);
        assert_eq!(data, [0xff; 4]);
        assert_eq!(bus.write(0x0f, &[1], &exits), None);
        assert_eq!(exits.snapshot().unclaimed_port, 2);
        assert!(recorder.0.lock().unwrap().is_empty());
    }

    #[test]
    fn first_and_last_port_reach_the_device() {
        let (bus, recorder, exits) = bus();
        let mut data = [0; 2];
        bus.read(0x10, &mut data, &exits);
        assert_eq!(data, [0x5a; 2]);
        bus.write(0x17, &[1, 2, 3, 4], &exits);
        assert_eq!(*recorder.0.lock().unwrap(), [(0x10, vec![0, 0]), (0x17, vec![1, 2, 3, 4])]);
        assert_eq!(exits.snapshot().unclaimed_port, 0);
    }

    #[test]
    fn string_output_is_taken_byte_by_byte_and_keeps_its_power_request() {
        let (bus, recorder, exits) = bus();
        assert_eq!(bus.write(0x10, &[1, 9, 2], &exits), Some(PowerRequest::Off));
        assert_eq!(recorder.0.lock().unwrap().len(), 3);
    }

    #[test]
    fn unbacked_mmio_reads_all_ones() {
        let exits = ExitCounters::default();
        let mut data = [0; 8];
        read_mmio(&mut data, &exits);
        assert_eq!((data, exits.snapshot().unclaimed_mmio), ([0xff; 8], 1));
    }
}
