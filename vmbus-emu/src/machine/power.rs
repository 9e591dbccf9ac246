//! ACPI fixed hardware and the reset ports: power-off, power button, PM timer, 0xcf9, 0x64.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bus::{PortDevice, PowerRequest};
use super::event::ResetCause;

/// First port of the PM1a event block (status and enable, 2 bytes each).
pub(super) const PM1A_EVENT: u16 = 0x600;
/// PM1a control register, 2 bytes.
pub(super) const PM1A_CONTROL: u16 = 0x604;
/// PM timer, 4 bytes.
pub(super) const PM_TIMER: u16 = 0x608;
/// All of them.
pub(super) const PM_PORTS: RangeInclusive<u16> = 0x600..=0x60b;
/// Interrupt of the fixed events, level-triggered and active high.
pub(super) const SCI_GSI: u32 = 9;
/// What `\_S5` names and the guest writes to SLP_TYP to power off.
pub(super) const SLEEP_TYPE_S5: u8 = 5;
/// Reset control register of a PCI host bridge.
pub(super) const RESET_PORT: u16 = 0xcf9;
/// What the FADT tells the guest to write there.
pub(super) const RESET_VALUE: u8 = 0x06;
/// Command and status port of the keyboard controller that is not there.
pub(super) const KEYBOARD_COMMAND: u16 = 0x64;

/// ACPI 4.8.2.5: the PM timer's rate is fixed.
const PM_TIMER_HZ: u128 = 3_579_545;

const POWER_BUTTON: u16 = 1 << 8;
const SCI_ENABLED: u16 = 1 << 0;
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u32 = 10;

/// Raises or lowers the SCI.
pub(super) type SciLine = Box<dyn Fn(bool) + Send + Sync>;

/// The PM1a block and the PM timer (ACPI 6.5, 4.8.3).
pub(super) struct AcpiFixedHardware {
    registers: Mutex<Pm1>,
    sci: SciLine,
    epoch: Instant,
}

#[derive(Default)]
struct Pm1 {
    status: u16,
    enable: u16,
    control: u16,
    sci_level: bool,
}

impl AcpiFixedHardware {
    pub(super) fn new(sci: SciLine) -> Self {
        Self { registers: Mutex::default(), sci, epoch: Instant::now() }
    }

    /// Presses the power button. A guest that listens (acpid, systemd) shuts down; others ignore it.
    pub(super) fn press_power_button(&self) {
        let mut pm1 = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        pm1.status |= POWER_BUTTON;
        self.update_sci(&mut pm1);
    }

    fn update_sci(&self, pm1: &mut Pm1) {
        let level = pm1.status & pm1.enable != 0;
        if level != pm1.sci_level {
            pm1.sci_level = level;
            (self.sci)(level);
        }
    }

    fn register_byte(&self, port: u16) -> u8 {
        let pm1 = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        let word = match port & !1 {
            PM1A_EVENT => pm1.status,
            0x602 => pm1.enable,
            // SCI_EN is always on: SMI_CMD is zero, so the guest has no way to ask for legacy mode.
            PM1A_CONTROL => pm1.control | SCI_ENABLED,
            _ => 0,
        };
        word.to_le_bytes()[usize::from(port & 1)]
    }

    fn write_byte(&self, port: u16, byte: u8) -> Option<PowerRequest> {
        let mut pm1 = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        let shift = 8 * u32::from(port & 1);
        let bits = u16::from(byte) << shift;
        let keep = !(0xff << shift);
        match port & !1 {
            PM1A_EVENT => pm1.status &= !bits,
            0x602 => pm1.enable = pm1.enable & keep | bits,
            PM1A_CONTROL => {
                // SLP_EN is write-only and acts together with the SLP_TYP of the same register.
                pm1.control = (pm1.control & keep | bits) & !SLEEP_ENABLE;
                let sleep_type = (pm1.control >> SLEEP_TYPE_SHIFT) & 7;
                if bits & SLEEP_ENABLE != 0 && sleep_type == u16::from(SLEEP_TYPE_S5) {
                    return Some(PowerRequest::Off);
                }
            }
            _ => {}
        }
        self.update_sci(&mut pm1);
        None
    }

    fn timer(&self) -> u32 {
        let ticks = self.epoch.elapsed().as_nanos() * PM_TIMER_HZ / 1_000_000_000;
        #[expect(clippy::cast_possible_truncation, reason = "the timer is 32 bits wide and wraps")]
        let wrapped = ticks as u32;
        wrapped
    }
}

impl PortDevice for AcpiFixedHardware {
    fn read(&self, port: u16, data: &mut [u8]) {
        if port >= PM_TIMER {
            let timer = self.timer().to_le_bytes();
            let from = usize::from(port - PM_TIMER);
            for (at, byte) in data.iter_mut().enumerate() {
                *byte = timer.get(from + at).copied().unwrap_or(0);
            }
            return;
        }
        for (byte, port) in data.iter_mut().zip(port..) {
            *byte = self.register_byte(port);
        }
    }

    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        // Low byte first, so that a 16-bit write of SLP_TYP and SLP_EN acts once both are in place.
        data.iter().zip(port..).filter_map(|(&byte, port)| self.write_byte(port, byte)).last()
    }
}

/// The keyboard controller's two ports. There is no keyboard; only its reset line exists.
pub(super) struct KeyboardController;

impl PortDevice for KeyboardController {
    fn read(&self, _port: u16, data: &mut [u8]) {
        // "Input buffer empty": Linux polls for it before it pulses the reset line, for 130 ms at worst.
        data.fill(0);
    }

    fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        const PULSE_RESET: u8 = 0xfe;
        let pulse = port == KEYBOARD_COMMAND && data.first() == Some(&PULSE_RESET);
        pulse.then_some(PowerRequest::Reset(ResetCause::KeyboardController))
    }
}

/// The reset control register of a machine without PCI, whose FADT names it all the same.
pub(super) struct ResetRegister;

impl PortDevice for ResetRegister {
    fn read(&self, _port: u16, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, _port: u16, data: &[u8]) -> Option<PowerRequest> {
        reset_requested(data)
    }
}

/// The reset control register: bit 2 resets. It lies inside the PCI address register's dword and answers
/// byte accesses only.
pub(super) fn reset_requested(data: &[u8]) -> Option<PowerRequest> {
    match data {
        [byte] if byte & 4 != 0 => Some(PowerRequest::Reset(ResetCause::ResetRegister)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn hardware() -> (AcpiFixedHardware, Arc<AtomicBool>) {
        let level = Arc::new(AtomicBool::new(false));
        let line = Arc::clone(&level);
        (AcpiFixedHardware::new(Box::new(move |on| line.store(on, Ordering::Relaxed))), level)
    }

    fn word(device: &AcpiFixedHardware, port: u16) -> u16 {
        let mut data = [0; 2];
        device.read(port, &mut data);
        u16::from_le_bytes(data)
    }

    #[test]
    fn sleep_enable_with_s5_powers_off_and_other_types_do_not() {
        let (acpi, _) = hardware();
        let value = |sleep_type: u16| (SLEEP_ENABLE | sleep_type << SLEEP_TYPE_SHIFT).to_le_bytes();
        assert_eq!(acpi.write(PM1A_CONTROL, &value(0)), None);
        assert_eq!(acpi.write(PM1A_CONTROL, &(5u16 << SLEEP_TYPE_SHIFT).to_le_bytes()), None);
        assert_eq!(acpi.write(PM1A_CONTROL, &value(5)), Some(PowerRequest::Off));
        assert_eq!(word(&acpi, PM1A_CONTROL) & SLEEP_ENABLE, 0);
    }

    #[test]
    fn control_always_reads_as_acpi_mode() {
        assert_eq!(word(&hardware().0, PM1A_CONTROL), SCI_ENABLED);
    }

    #[test]
    fn power_button_raises_the_sci_until_acknowledged() {
        let (acpi, level) = hardware();
        acpi.press_power_button();
        assert!(!level.load(Ordering::Relaxed), "raised although the guest has not enabled it");
        acpi.write(0x602, &POWER_BUTTON.to_le_bytes());
        assert!(level.load(Ordering::Relaxed));
        assert_eq!(word(&acpi, PM1A_EVENT), POWER_BUTTON);
        acpi.write(PM1A_EVENT, &POWER_BUTTON.to_le_bytes());
        assert!(!level.load(Ordering::Relaxed));
    }

    #[test]
    fn timer_runs_forward_at_any_width() {
        let (acpi, _) = hardware();
        let mut first = [0; 4];
        acpi.read(PM_TIMER, &mut first);
        while acpi.timer() == u32::from_le_bytes(first) {}
        let mut beyond = [1; 4];
        acpi.read(0x60b, &mut beyond);
        assert_eq!(beyond[1..], [0; 3]);
    }

    #[test]
    fn keyboard_pulse_and_reset_register_reset() {
        let keyboard = PowerRequest::Reset(ResetCause::KeyboardController);
        assert_eq!(KeyboardController.write(KEYBOARD_COMMAND, &[0xfe]), Some(keyboard));
        assert_eq!(KeyboardController.write(KEYBOARD_COMMAND, &[0xd1]), None);
        assert_eq!(KeyboardController.write(0x60, &[0xfe]), None);
        assert!(reset_requested(&[RESET_VALUE]).is_some());
        assert!(reset_requested(&[2]).is_none());
    }
}
