//! What a device offers.

use crate::edid::Edid;
use crate::modes::ModeList;
use crate::version::VersionSet;

/// What a [`crate::Vsp`] offers to the guest; fixed for its life.
#[derive(Clone, Debug)]
pub struct VspConfig {
    /// Versions that are accepted; every other is answered with a refusal, not with silence.
    pub versions: VersionSet,
    /// Modes of RESOLUTION_RESPONSE. Linux checks none of them against VRAM: see [`Self::modes_fit`].
    pub modes: ModeList,
    /// Bytes of VRAM: the `mmio_megabytes` of the channel's offer, in bytes.
    pub vram_bytes: u64,
    /// The monitor.
    pub edid: Edid,
}

impl VspConfig {
    /// All versions, and the EDID of the default mode.
    #[must_use]
    pub fn new(modes: ModeList, vram_bytes: u64) -> Self {
        Self { versions: VersionSet::ALL, modes, vram_bytes, edid: Edid::for_mode(modes.default_mode()) }
    }

    /// Every offered mode fits into VRAM at 32 bits a pixel.
    ///
    /// If one does not, hyperv_fb on a Generation 1 machine draws past the end of its allocation.
    #[must_use]
    pub fn modes_fit(&self) -> bool {
        self.modes.as_slice().iter().all(|mode| mode.bytes() <= self.vram_bytes)
    }
}
