//! What the device reads as its screen, for an observer that compares it with what the guest writes.

use std::fmt;
use std::sync::Arc;

use surface::{VramBytes, VramKind};
use synthvid::Situation;

/// Where the screen's pixels are, and what the guest owes of them.
#[derive(Clone, Debug, Default)]
pub struct Scanout {
    /// The VRAM that the guest declared, if it is backed.
    pub vram: Option<MappedVram>,
    /// How the screen lies in it; `None` until the guest has said so for this VRAM.
    pub situation: Option<Situation>,
    /// The guest was told that DIRT is wanted.
    pub dirt_wanted: bool,
    /// When the whole screen will be repainted without a DIRT, if that is going to happen. A further cause puts it off.
    pub repaint_due_ns: Option<u64>,
}

/// VRAM that is backed.
#[derive(Clone)]
pub struct MappedVram {
    /// Its bytes; readable for as long as this is kept.
    pub bytes: Arc<dyn VramBytes>,
    /// Guest physical address.
    pub gpa: u64,
    /// Where it lies, if its mapper knows.
    pub kind: Option<VramKind>,
    /// Counts the mappings of one device, as a guest may declare the same place twice.
    pub mapping: u64,
}

impl fmt::Debug for MappedVram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedVram")
            .field("gpa", &format_args!("{:#x}", self.gpa))
            .field("bytes", &format_args!("{:#x}", self.bytes.len()))
            .field("kind", &self.kind)
            .field("mapping", &self.mapping)
            .finish()
    }
}
