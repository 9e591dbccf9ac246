//! The firmware's frame buffer: what the kernel made of `screen_info`, before a driver of the video device is there.

use std::fs;

use guest_agent::protocol::FirmwareScreen;

const DEVICES: &str = "/sys/bus/platform/devices";

/// How `drivers/firmware/sysfb.c` names a device with pixels, before its number. It makes one of another name
/// (platform-framebuffer, vga-framebuffer) also where there is none, or only text.
const WITH_PIXELS: [&str; 3] = ["efi-framebuffer", "simple-framebuffer", "vesa-framebuffer"];

/// The device that the kernel made, if any.
pub(crate) fn screen() -> Option<FirmwareScreen> {
    let names = fs::read_dir(DEVICES).ok()?.flatten();
    let device =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).find(|name| is_one(name))?;
    let link = fs::read_link(format!("{DEVICES}/{device}/driver")).ok();
    let driver = link.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    Some(FirmwareScreen { device, driver })
}

/// Whether a device of this name is the firmware's frame buffer.
pub(crate) fn is_one(device: &str) -> bool {
    device.split_once('.').is_some_and(|(name, _)| WITH_PIXELS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_sysfb_are_told_from_those_of_drivers() {
        for name in ["efi-framebuffer.0", "simple-framebuffer.0", "vesa-framebuffer.0"] {
            assert!(is_one(name), "{name}");
        }
        for name in [
            "6b8c9d2e-51f4-4c0a-9a37-2f61d0c4b8e5",
            "0000:00:08.0",
            "serial8250",
            "platform-framebuffer.0",
            "vga-framebuffer.0",
            "efi-framebuffer",
            "rtc-efi.0",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }
}
