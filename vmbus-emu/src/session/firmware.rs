//! The firmware's frame buffer: whether the guest's kernel took it and drew there, before its video driver took over.

use std::sync::{Arc, Mutex, PoisonError};

use guest_agent::protocol;
use hv_kvm::vram::FirstDeclared;
use meter::report::{self, Check};

use super::checks;
use crate::machine::{ConsoleCallback, FirmwareScreen};

/// Lines that are kept, and characters of each.
const MAX_LINES: usize = 16;
const MAX_CHARACTERS: usize = 240;

/// What efifb and simplefb say of the place that they take (`drivers/video/fbdev/efifb.c`, `simplefb.c`); an address follows.
const PLACE: &str = "framebuffer at 0x";
/// What the DRM drivers for firmware frame buffers say instead, without an address.
const WITHOUT_PLACE: [&str; 2] = ["Initialized simpledrm", "Initialized efidrm"];

/// What the guest's kernel says of the firmware's frame buffer, since the last reset. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirmwareLog(Arc<Mutex<Vec<String>>>);

impl FirmwareLog {
    /// A callback for the console that listens, and passes each line on to `next`.
    pub(crate) fn listen(&self, next: Option<ConsoleCallback>) -> ConsoleCallback {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line: &[u8]| {
            let text = String::from_utf8_lossy(line);
            if text.contains(PLACE) || WITHOUT_PLACE.iter().any(|words| text.contains(words)) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() < MAX_LINES {
                    let printable = text.trim().chars().filter(|letter| !letter.is_control());
                    lines.push(printable.take(MAX_CHARACTERS).collect());
                }
            }
            if let Some(next) = &next {
                next(line);
            }
        })
    }

    /// Another kernel starts.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The firmware's frame buffer in one life of the machine.
#[derive(Debug)]
pub(crate) struct Firmware {
    pub(crate) screen: FirmwareScreen,
    pub(crate) log: FirmwareLog,
    /// Known once the guest's video driver has declared its VRAM.
    pub(crate) first_declared: Option<FirstDeclared>,
}

/// What is known of it once the guest has booted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What was checked.
    Checked([Check; 2]),
    /// The guest has no driver for it, and how that is known.
    NoDriver(String),
}

impl Firmware {
    /// Whether the guest's kernel took the frame buffer, and drew there before its video driver declared VRAM of its own. `found` is
    /// what the agent saw before it loaded a module.
    pub(crate) fn judge(&self, found: Option<&protocol::FirmwareScreen>) -> Verdict {
        let lines = self.log.lines();
        let gpa = self.screen.gpa();
        let place = lines.iter().find_map(|line| Some((line, address(line)?)));
        let (taken, detail) = match (found, place) {
            (Some(protocol::FirmwareScreen { device, driver: None }), None) => {
                return Verdict::NoDriver(format!(
                    "guest limitation: its kernel made {device:?} of the firmware's frame buffer, no driver was bound to that before \
                     the modules were loaded, and none spoke of it in the kernel's log; so nobody drew there, and nothing of it was \
                     checked"
                ));
            }
            (_, Some((line, at))) => {
                (at == gpa, format!("the firmware has it at {gpa:#x}, the guest's log says: {line}"))
            }
            (Some(protocol::FirmwareScreen { device, driver: Some(driver) }), None) => {
                let line = lines.first();
                let detail = match line {
                    Some(line) => format!("{driver:?} took {device:?}, the guest's log says: {line}"),
                    None => format!("{driver:?} took {device:?}, and the guest's log says nothing of it"),
                };
                (line.is_some(), detail)
            }
            (None, None) => {
                let detail = "the guest's kernel made no device of screen_info: it did not accept it, or has no CONFIG_SYSFB";
                (false, detail.to_owned())
            }
        };
        Verdict::Checked([checks::check("firmware_framebuffer_taken", taken, detail), self.drawn()])
    }

    fn drawn(&self) -> Check {
        let total = self.screen.bytes() / 4;
        let (passed, detail) = match self.first_declared {
            Some(FirstDeclared { gpa, drawn_px }) => (
                drawn_px > 0,
                format!(
                    "{drawn_px} of {total} pixels were not black when the driver declared its VRAM at {gpa:#x}"
                ),
            ),
            None => (false, "the video driver declared no VRAM".to_owned()),
        };
        checks::check("firmware_framebuffer_drawn", passed, detail)
    }

    /// What the report says of it.
    pub(crate) fn report(&self) -> report::FirmwareFramebuffer {
        report::FirmwareFramebuffer {
            mode: Some(format!("{}x{}", self.screen.width, self.screen.height)),
            gpa: Some(format!("{:#x}", self.screen.gpa())),
            drawn_px: self.first_declared.map(|first| first.drawn_px),
            declared_gpa: self.first_declared.map(|first| format!("{:#x}", first.gpa)),
        }
    }
}

/// The address in a line of the log.
fn address(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(PLACE)?;
    let digits = rest.split(|letter: char| !letter.is_ascii_hexdigit()).next()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFIFB: &str = "[    0.6] efifb: framebuffer at 0xf8000000, using 3072k, total 3072k";

    fn firmware(lines: &[&str], drawn_px: Option<u64>) -> Firmware {
        let log = FirmwareLog::default();
        let console = log.listen(None);
        lines.iter().for_each(|line| console(format!("{line}\r\n").as_bytes()));
        let first_declared = drawn_px.map(|drawn_px| FirstDeclared { gpa: 0xf880_0000, drawn_px });
        Firmware { screen: FirmwareScreen { width: 1024, height: 768 }, log, first_declared }
    }

    fn found(driver: Option<&str>) -> Option<protocol::FirmwareScreen> {
        let driver = driver.map(str::to_owned);
        Some(protocol::FirmwareScreen { device: "efi-framebuffer.0".to_owned(), driver })
    }

    fn passed(firmware: &Firmware, found: Option<protocol::FirmwareScreen>) -> (bool, bool) {
        match firmware.judge(found.as_ref()) {
            Verdict::Checked([taken, drawn]) => (taken.passed, drawn.passed),
            Verdict::NoDriver(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn driver_must_name_the_firmwares_address_and_draw_there() {
        let efifb = || found(Some("efi-framebuffer"));
        assert_eq!(passed(&firmware(&[EFIFB], Some(900)), efifb()), (true, true));
        assert_eq!(passed(&firmware(&[EFIFB], Some(0)), efifb()), (true, false));
        assert_eq!(passed(&firmware(&[EFIFB], None), efifb()), (true, false));
        let elsewhere = EFIFB.replace("0xf8000000", "0xf80000000");
        assert_eq!(passed(&firmware(&[&elsewhere], Some(900)), efifb()), (false, true));
        assert_eq!(passed(&firmware(&[], Some(900)), efifb()), (false, true));
    }

    #[test]
    fn drm_drivers_of_firmware_screens_name_no_address() {
        let line = "[    1.0] [drm] Initialized simpledrm 1.0.0 for simple-framebuffer.0 on minor 0";
        assert_eq!(passed(&firmware(&[line], Some(1)), found(Some("simple-framebuffer"))), (true, true));
    }

    #[test]
    fn guest_without_a_driver_for_it_is_told_by_the_device_that_nobody_took() {
        let Verdict::NoDriver(reason) = firmware(&[], Some(0)).judge(found(None).as_ref()) else {
            panic!("nobody took it")
        };
        assert!(reason.contains("efi-framebuffer.0"), "{reason}");
    }

    #[test]
    fn kernel_that_makes_nothing_of_it_fails() {
        assert_eq!(passed(&firmware(&[], Some(0)), None), (false, false));
    }

    #[test]
    fn flood_of_lines_is_bounded_and_a_reset_forgets_them() {
        let long = format!("{EFIFB}{}", "x".repeat(4000));
        let firmware = firmware(&[long.as_str(); 100], None);
        let lines = firmware.log.lines();
        assert!(lines.len() == MAX_LINES && lines.iter().all(|line| line.len() <= MAX_CHARACTERS));
        firmware.log.clear();
        assert!(firmware.log.lines().is_empty());
    }
}
