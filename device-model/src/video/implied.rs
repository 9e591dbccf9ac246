//! Repaints that no DIRT asked for: when they are due, and why.
//!
//! Linux declares no damage after it changed the shape of its screen, moved its VRAM, or heard that dirt is
//! wanted again (hyperv_drm blits the whole screen on a mode set and sends nothing). A host must therefore take
//! these three for damage of the whole screen. Doing it at once would miss the drawing that follows, and doing
//! it again and again would hide every driver bug; so it is done once, [`SETTLE_NS`] after the last cause.

use crate::observer::RepaintCause;

/// Time from the last cause to the repaint: two refresh periods of hyperv_fb (2 x HZ/20).
pub(super) const SETTLE_NS: u64 = 100_000_000;

/// The repaint that is waiting, if one is.
#[derive(Debug)]
pub(super) struct ImpliedDamage {
    enabled: bool,
    pending: Option<(RepaintCause, u64)>,
}

impl ImpliedDamage {
    /// `enabled = false` is the strict mode: causes are forgotten.
    pub(super) const fn new(enabled: bool) -> Self {
        Self { enabled, pending: None }
    }

    /// Notes a cause. The first one gives the repaint its name, the last one its time.
    pub(super) fn note(&mut self, cause: RepaintCause, now_ns: u64) {
        if self.enabled {
            let first = self.pending.map_or(cause, |(first, _)| first);
            self.pending = Some((first, now_ns.saturating_add(SETTLE_NS)));
        }
    }

    /// The cause of a repaint that is due now; it is no longer pending then.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<RepaintCause> {
        let (cause, due_ns) = self.pending?;
        (now_ns >= due_ns).then(|| {
            self.pending = None;
            cause
        })
    }

    /// Forgets what is pending: there is no screen any more.
    pub(super) fn clear(&mut self) {
        self.pending = None;
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.pending.map(|(_, due_ns)| due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_in_a_row_lead_to_one_repaint_named_after_the_first() {
        let mut implied = ImpliedDamage::new(true);
        implied.note(RepaintCause::VramMoved, 0);
        implied.note(RepaintCause::Situation, 10);
        assert_eq!(implied.take_due(SETTLE_NS), None);
        assert_eq!(implied.deadline_ns(), Some(SETTLE_NS + 10));
        assert_eq!(implied.take_due(SETTLE_NS + 10), Some(RepaintCause::VramMoved));
        assert_eq!(implied.take_due(u64::MAX), None);
    }

    #[test]
    fn strict_mode_never_repaints() {
        let mut implied = ImpliedDamage::new(false);
        implied.note(RepaintCause::Situation, 0);
        assert_eq!((implied.deadline_ns(), implied.take_due(u64::MAX)), (None, None));
    }
}
