//! What guest and host agreed on, as the report says it.

use serde::{Deserialize, Serialize};
use surface::VramKind;

use crate::device::{Mode, Vram};
use crate::meter::Meter;

/// What guest and host agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// VMBus version, as "5.3".
    pub vmbus_version: Option<String>,
    /// Synthetic video version, as "3.5".
    pub synthvid_version: Option<String>,
    /// Hyper-V generation of the virtual machine, 1 or 2.
    pub generation: u8,
    /// Shape of the screen, as "1024x768".
    pub mode: Option<String>,
    /// Bytes from one row to the next.
    pub pitch_bytes: Option<u32>,
    /// Bits a pixel.
    pub depth_bits: Option<u8>,
    /// Where the VRAM lies.
    pub vram: VramReport,
    /// What the firmware left for the kernel to draw on; all null if it left nothing.
    #[serde(default)]
    pub firmware_framebuffer: FirmwareFramebuffer,
    /// Times the guest changed the shape of its screen, the first one included.
    pub situation_changes: u64,
}

/// Where the guest's VRAM lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VramReport {
    /// `mmio` or `ram`.
    pub kind: Option<String>,
    /// Guest physical address, as "0xf8000000".
    pub gpa: Option<String>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// Declarations that were not acknowledged, because the place could not be backed.
    pub refused: u64,
}

/// The firmware's frame buffer, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareFramebuffer {
    /// Its shape, as "1024x768".
    pub mode: Option<String>,
    /// Guest physical address, as "0xf8000000".
    pub gpa: Option<String>,
    /// Pixels that were not zero when the video driver first declared its VRAM.
    pub drawn_px: Option<u64>,
    /// Address of the VRAM that the driver declared first.
    pub declared_gpa: Option<String>,
}

impl Device {
    pub(super) fn of(meter: &Meter, generation: u8) -> Self {
        let facts = meter.device();
        Self {
            vmbus_version: facts.vmbus_version.map(version),
            synthvid_version: facts.synthvid_version.map(version),
            generation,
            mode: facts.mode.map(|Mode { width, height, .. }| format!("{width}x{height}")),
            pitch_bytes: facts.mode.map(|mode| mode.pitch),
            depth_bits: facts.mode.map(|mode| mode.depth),
            vram: VramReport {
                refused: facts.vram_refused,
                ..facts.vram.map_or_else(VramReport::default, VramReport::from)
            },
            firmware_framebuffer: FirmwareFramebuffer::default(),
            situation_changes: meter.counters().situation_changes,
        }
    }
}

impl From<Vram> for VramReport {
    fn from(vram: Vram) -> Self {
        let kind = match vram.kind {
            VramKind::Mmio => "mmio",
            VramKind::Ram => "ram",
        };
        Self {
            kind: Some(kind.to_owned()),
            gpa: Some(format!("{:#x}", vram.gpa)),
            bytes: Some(vram.bytes),
            refused: 0,
        }
    }
}

fn version((major, minor): (u16, u16)) -> String {
    format!("{major}.{minor}")
}
