//! Why there is no screen, as far as the bus tells: how far the guest came on the way to one.

use meter::{DeviceFacts, Meter};

/// The step that the guest did not take, with what to configure for it.
pub(super) fn step_not_taken(meter: &Meter) -> &'static str {
    // A driver that opened the video channel rings its doorbell with its first message.
    step(meter.device(), meter.signals().unwrap_or_default())
}

fn step(device: &DeviceFacts, video_signals: u64) -> &'static str {
    if device.vmbus_version.is_none() {
        "the guest never spoke to VMBus; its kernel needs CONFIG_HYPERV, built in or with the module hv_vmbus"
    } else if video_signals == 0 {
        "the guest is on VMBus, but no driver took the video device; its kernel needs CONFIG_DRM_HYPERV or \
         CONFIG_FB_HYPERV, built in or as a module"
    } else if device.synthvid_version.is_none() {
        "the driver gave up before a version of the video protocol was agreed on; its reason is in the console's log"
    } else if !device.vram_mapped {
        "the driver agreed on a version and has no VRAM; its reason is in the console's log"
    } else {
        "the driver has its VRAM, but no /dev/fb0; hyperv_drm needs CONFIG_DRM_FBDEV_EMULATION for one"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_the_way_names_what_the_next_one_needs() {
        let mut device = DeviceFacts::default();
        assert!(step(&device, 0).contains("CONFIG_HYPERV,"));
        device.vmbus_version = Some((5, 3));
        assert!(step(&device, 0).contains("CONFIG_DRM_HYPERV or CONFIG_FB_HYPERV"));
        assert!(step(&device, 1).contains("gave up before a version"));
        device.synthvid_version = Some((3, 5));
        assert!(step(&device, 3).contains("no VRAM"));
        device.vram_mapped = true;
        assert!(step(&device, 9).contains("CONFIG_DRM_FBDEV_EMULATION"));
    }
}
