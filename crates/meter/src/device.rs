//! What guest and host agreed on, as the observer heard it.

use device_model::observer::{ControlEvent, VideoEvent};
use surface::VramKind;

/// The state of the connection and of the video device. `None` is "did not happen".
///
/// A version, a mode and a VRAM stay known after the guest has left, so that a report written after its
/// shutdown says what there was.
#[derive(Clone, Debug, Default)]
pub struct DeviceFacts {
    /// VMBus version, major and minor number.
    pub vmbus_version: Option<(u16, u16)>,
    /// Accepted synthetic video version, major and minor number.
    pub synthvid_version: Option<(u16, u16)>,
    /// Shape of the screen as the guest last declared it.
    pub mode: Option<Mode>,
    /// The VRAM that was last backed.
    pub vram: Option<Vram>,
    /// Declarations of VRAM that could not be backed.
    pub vram_refused: u64,
    /// The VRAM is backed now.
    pub vram_mapped: bool,
    /// Dirt is wanted, as the last FEATURE_CHANGE said.
    pub dirt_wanted: Option<bool>,
    /// The guest has sent UNLOAD.
    pub unloaded: bool,
}

/// Shape of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Pixels.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Bits a pixel.
    pub depth: u8,
    /// The output is on.
    pub active: bool,
}

/// Where the guest's VRAM lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vram {
    /// In the MMIO window or in guest RAM.
    pub kind: VramKind,
    /// Guest physical address.
    pub gpa: u64,
    /// Bytes.
    pub bytes: u64,
}

impl DeviceFacts {
    /// Takes over what `event` says.
    pub(crate) fn control(&mut self, event: &ControlEvent) {
        match *event {
            ControlEvent::Contacted { version } => {
                self.vmbus_version = Some((upper_half(version), lower_half(version)));
                self.unloaded = false;
            }
            ControlEvent::Unloaded => self.unloaded = true,
            ControlEvent::Opened(_) | ControlEvent::Closed(_) => {}
        }
    }

    /// Takes over what `event` says; true if it changed the shape of the screen.
    pub(crate) fn video(&mut self, event: &VideoEvent) -> bool {
        match *event {
            VideoEvent::Version { major, minor, accepted: true } => {
                self.synthvid_version = Some((major, minor))
            }
            VideoEvent::VramMapped { gpa, bytes, kind } => {
                self.vram = Some(Vram { kind, gpa, bytes });
                self.vram_mapped = true;
            }
            VideoEvent::VramRefused { .. } => self.vram_refused = self.vram_refused.saturating_add(1),
            VideoEvent::VramUnmapped => self.vram_mapped = false,
            VideoEvent::Situation { width, height, pitch, depth, active } => {
                let mode = Some(Mode { width, height, pitch, depth, active });
                return core::mem::replace(&mut self.mode, mode) != mode;
            }
            VideoEvent::FeatureChange { dirt } => self.dirt_wanted = Some(dirt),
            VideoEvent::Version { accepted: false, .. }
            | VideoEvent::PointerPosition { .. }
            | VideoEvent::PointerShape { .. } => {}
        }
        false
    }
}

fn upper_half(version: u32) -> u16 {
    u16::try_from(version >> 16).unwrap_or(u16::MAX)
}

fn lower_half(version: u32) -> u16 {
    u16::try_from(version & 0xffff).unwrap_or(u16::MAX)
}
