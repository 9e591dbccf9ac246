//! How an oracle judges.

/// Smallest edge of a tile of the heat maps in pixels: what bounds their number.
pub const MIN_TILE_PX: u32 = 8;

/// How an oracle judges and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleSettings {
    /// A changed pixel that nothing covers for longer than this is missed. At most an hour.
    pub grace_ns: u64,
    /// Edge of a tile of the heat maps in pixels, [`MIN_TILE_PX`] at least.
    pub tile_px: u32,
    /// Longest time between two looks at the log.
    pub sample_ns: u64,
    /// Length of a slice of the timeline. A window that is too long for its slices doubles it.
    pub timeline_slice_ns: u64,
    /// Areas of missed pixels that a window keeps; pixels are counted beyond them, too.
    pub missed_areas: usize,
}

impl Default for OracleSettings {
    /// Two refresh periods of hyperv_fb for grace, a look every 10 ms.
    fn default() -> Self {
        Self {
            grace_ns: 100_000_000,
            tile_px: 16,
            sample_ns: 10_000_000,
            timeline_slice_ns: 100_000_000,
            missed_areas: 64,
        }
    }
}
