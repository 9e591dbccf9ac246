//! `screen_info` of the zero page: the frame buffer that the firmware left, as an EFI loader describes it.
//!
//! Linux makes a platform device of it (`drivers/firmware/sysfb.c`), which efifb or a simple frame buffer driver takes; hv_vmbus
//! keeps MMIO space around it (`drivers/hv/vmbus_drv.c:vmbus_reserve_fb`).

use linux_loader::loader::bootparam::screen_info;

use crate::machine::config::FirmwareScreen;

/// `VIDEO_TYPE_EFI` (Linux `include/uapi/linux/screen_info.h`): a linear frame buffer, whose size is said in bytes.
const VIDEO_TYPE_EFI: u8 = 0x70;
/// `VIDEO_CAPABILITY_64BIT_BASE`: the base has an upper half.
const HAS_UPPER_HALF: u32 = 1 << 1;
const DEPTH_BITS: u16 = 32;
const CHANNEL_BITS: u8 = 8;

/// Blue in the lowest byte, the highest one unused: what the synthetic video device shows too.
pub(super) fn of(screen: FirmwareScreen) -> screen_info {
    let upper = u32::try_from(screen.gpa() >> 32).unwrap_or(u32::MAX);
    screen_info {
        orig_video_isVGA: VIDEO_TYPE_EFI,
        lfb_width: screen.width,
        lfb_height: screen.height,
        lfb_depth: DEPTH_BITS,
        lfb_base: u32::try_from(screen.gpa() & u64::from(u32::MAX)).unwrap_or_default(),
        ext_lfb_base: upper,
        capabilities: if upper == 0 { 0 } else { HAS_UPPER_HALF },
        lfb_size: u32::try_from(screen.bytes()).unwrap_or(u32::MAX),
        lfb_linelength: u16::try_from(screen.pitch()).unwrap_or(u16::MAX),
        blue_size: CHANNEL_BITS,
        blue_pos: 0,
        green_size: CHANNEL_BITS,
        green_pos: 8,
        red_size: CHANNEL_BITS,
        red_pos: 16,
        rsvd_size: CHANNEL_BITS,
        rsvd_pos: 24,
        pages: 1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use linux_loader::loader::bootparam::boot_params;
    use vm_memory::ByteValued;

    use super::*;

    #[test]
    fn fields_lie_where_linux_reads_them() {
        let screen = FirmwareScreen { width: 1024, height: 768 };
        let parameters = boot_params { screen_info: of(screen), ..Default::default() };
        let page = parameters.as_slice();
        let u16_at = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
        assert_eq!(page[0x0f], 0x70, "orig_video_isVGA");
        assert_eq!((u16_at(0x12), u16_at(0x14), u16_at(0x16)), (1024, 768, 32), "width, height, depth");
        assert_eq!((u32_at(0x18), u32_at(0x3a)), (0xf800_0000, 0), "base");
        assert_eq!(u32_at(0x1c), 3 << 20, "size in bytes");
        assert_eq!(u16_at(0x24), 4096, "line length");
        assert_eq!(page[0x26..0x2e], [8, 16, 8, 8, 8, 0, 8, 24], "red, green, blue, reserved");
        assert_eq!((u16_at(0x32), u32_at(0x36)), (1, 0), "pages, capabilities");
        let named = [0x0f..0x10, 0x12..0x20, 0x24..0x2e, 0x32..0x34];
        let is_named = |at: &usize| named.iter().any(|range| range.contains(at));
        assert!((0..0x40).filter(|at| !is_named(at)).all(|at| page[at] == 0), "{:x?}", &page[..0x40]);
    }

    #[test]
    fn largest_screen_keeps_its_line_length() {
        let info = of(FirmwareScreen { width: FirmwareScreen::WIDTH_MAX, height: 1 });
        assert_eq!(({ info.lfb_linelength }, { info.lfb_size }), (65532, 65532));
    }
}
