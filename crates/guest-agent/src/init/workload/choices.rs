//! Numbers that a seed decides.

/// A sequence of numbers, the same for the same seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choices(u64);

impl Choices {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from((self.number() >> 32).wrapping_mul(limit.into()) >> 32).unwrap_or_default()
    }

    /// A colour, 0x00RRGGBB, that is not black.
    pub(super) fn color(&mut self) -> u32 {
        self.below(0x00ff_ffff) + 1
    }
}
