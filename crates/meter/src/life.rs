//! How often the guest's driver came and went, and when it was last heard of.

use std::collections::BTreeSet;

use device_model::observer::{ControlEvent, VideoEvent};

/// Addresses of VRAM that are remembered; a guest that moves it more often is counted as having used these.
const MAX_ADDRESSES: usize = 64;

/// Comings and goings. Times are those of the bus's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Contacts that were answered with a version: kernels that started, or woke up.
    pub contacts: u64,
    /// Channels opened.
    pub opens: u64,
    /// Channels closed, by either side.
    pub closes: u64,
    /// FEATURE_CHANGE messages: one at the end of each handshake, and one whenever the host changes what it wants.
    pub feature_changes: u64,
    /// Where VRAM was, each address once.
    pub vram_gpas: BTreeSet<u64>,
    /// When a channel was last closed.
    pub last_close_ns: Option<u64>,
    /// When the guest last left the bus.
    pub last_unload_ns: Option<u64>,
    /// When the guest was asked to crash.
    pub crash_asked_ns: Option<u64>,
    /// DIRT messages from then on.
    pub dirt_after_crash: u64,
    /// DIRT messages from then on that came after the guest had left the bus.
    pub dirt_after_unload: u64,
}

impl Life {
    /// The guest was asked to crash.
    pub fn crash_asked(&mut self, at_ns: u64) {
        self.crash_asked_ns = Some(at_ns);
        self.last_unload_ns = None;
    }

    pub(crate) fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        let count = match event {
            ControlEvent::Contacted { .. } => &mut self.contacts,
            ControlEvent::Opened(_) => &mut self.opens,
            ControlEvent::Closed(_) => {
                self.last_close_ns = Some(at_ns);
                &mut self.closes
            }
            ControlEvent::Unloaded => {
                self.last_unload_ns = Some(at_ns);
                return;
            }
        };
        *count = count.saturating_add(1);
    }

    pub(crate) fn video(&mut self, event: &VideoEvent) {
        match event {
            VideoEvent::VramMapped { gpa, .. } if self.vram_gpas.len() < MAX_ADDRESSES => {
                self.vram_gpas.insert(*gpa);
            }
            VideoEvent::FeatureChange { .. } => self.feature_changes = self.feature_changes.saturating_add(1),
            _ => {}
        }
    }

    pub(crate) fn dirt(&mut self) {
        if self.crash_asked_ns.is_some() {
            self.dirt_after_crash = self.dirt_after_crash.saturating_add(1);
            if self.last_unload_ns.is_some() {
                self.dirt_after_unload = self.dirt_after_unload.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use surface::VramKind;
    use vmbus::ChannelId;

    use super::*;

    #[test]
    fn addresses_of_a_guest_that_moves_its_vram_for_ever_are_bounded() {
        let mut life = Life::default();
        for gpa in 0..10_000 {
            life.video(&VideoEvent::VramMapped { gpa, bytes: 1, kind: VramKind::Ram });
        }
        assert_eq!(life.vram_gpas.len(), MAX_ADDRESSES);
    }

    #[test]
    fn dirt_is_sorted_by_what_came_before_it() {
        let mut life = Life::default();
        life.control(1, &ControlEvent::Opened(ChannelId(1)));
        life.dirt();
        life.crash_asked(5);
        life.dirt();
        life.dirt();
        life.control(9, &ControlEvent::Unloaded);
        life.control(9, &ControlEvent::Closed(ChannelId(1)));
        life.dirt();
        assert_eq!((life.opens, life.closes, life.dirt_after_crash, life.dirt_after_unload), (1, 1, 3, 1));
        assert_eq!((life.last_unload_ns, life.last_close_ns), (Some(9), Some(9)));
    }

    #[test]
    fn unload_before_the_crash_is_not_the_crash_s() {
        let mut life = Life::default();
        life.control(1, &ControlEvent::Unloaded);
        life.crash_asked(5);
        assert_eq!(life.last_unload_ns, None);
    }
}
