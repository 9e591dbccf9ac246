//! Sums of events and pixels, which can be subtracted to get the traffic of a part of a run.

use core::ops::Sub;

use device_model::observer::FaultLayer;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that is counted by adding. Saturates instead of overflowing.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Rules that the guest broke, by the layer that saw it.
            pub faults: FaultCounts,
        }

        /// What came on top of an earlier state.
        impl Sub for Counters {
            type Output = Self;

            fn sub(self, earlier: Self) -> Self {
                Self {
                    $($name: self.$name.saturating_sub(earlier.$name),)*
                    faults: self.faults - earlier.faults,
                }
            }
        }
    };
}

counters! {
    /// DIRT messages carried out.
    dirt_messages,
    /// Rectangles in them, rejected ones included.
    dirt_rects,
    /// Rectangles refused: empty, inverted, or wholly off the screen.
    rejected_rects,
    /// Pixels of the accepted rectangles after clipping, overlaps counted each time.
    declared_px,
    /// Pixels that a DIRT changed in the host's surface.
    changed_px,
    /// Repaints without a DIRT.
    implied_repaints,
    /// Pixels copied by them.
    implied_px,
    /// Pixels changed by them.
    implied_changed_px,
    /// FEATURE_CHANGE messages sent to the guest.
    feature_changes,
    /// Times the shape of the screen changed, the first one included.
    situation_changes,
    /// Packets read from all channels.
    packets,
    /// Payload bytes of those packets.
    packet_bytes,
    /// Doorbell rings of all channels.
    rings,
}

/// Faults by layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// VMBus control messages.
    pub control: u64,
    /// Ring indices and packet descriptors.
    pub ring: u64,
    /// Framing inside a packet.
    pub pipe: u64,
    /// A device's own protocol.
    pub device: u64,
}

impl FaultCounts {
    /// Adds one fault of `layer`.
    pub fn count(&mut self, layer: FaultLayer) {
        let place = match layer {
            FaultLayer::Control => &mut self.control,
            FaultLayer::Ring => &mut self.ring,
            FaultLayer::Pipe => &mut self.pipe,
            FaultLayer::Device => &mut self.device,
        };
        *place = place.saturating_add(1);
    }

    /// Faults of all layers.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.control, self.ring, self.pipe, self.device].into_iter().fold(0, u64::saturating_add)
    }
}

impl Sub for FaultCounts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            control: self.control.saturating_sub(earlier.control),
            ring: self.ring.saturating_sub(earlier.ring),
            pipe: self.pipe.saturating_sub(earlier.pipe),
            device: self.device.saturating_sub(earlier.device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_its_own_count() {
        let mut faults = FaultCounts::default();
        for (times, layer) in [FaultLayer::Control, FaultLayer::Ring, FaultLayer::Pipe, FaultLayer::Device]
            .into_iter()
            .enumerate()
        {
            (0..=times).for_each(|_| faults.count(layer));
        }
        assert_eq!(faults, FaultCounts { control: 1, ring: 2, pipe: 3, device: 4 });
        assert_eq!(faults.total(), 10);
    }

    #[test]
    fn difference_holds_what_came_later_and_never_underflows() {
        let early = Counters {
            dirt_messages: 3,
            faults: FaultCounts { ring: 1, ..Default::default() },
            ..Default::default()
        };
        let late = Counters {
            dirt_messages: 5,
            faults: FaultCounts { ring: 4, ..Default::default() },
            ..Default::default()
        };
        assert_eq!((late - early).dirt_messages, 2);
        assert_eq!((late - early).faults.ring, 3);
        assert_eq!(early - late, Counters::default());
    }
}
