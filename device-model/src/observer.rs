//! What an observer of the devices is told: meters and recorders implement it, devices know no more of them.
//!
//! Every method has an empty body, so an observer writes only what it needs. All calls come from the event
//! thread, in the order in which things happened; an observer must return quickly and must not block.
//! Times are nanoseconds of the bus's clock (`Clock`), so virtual time works as well.

use synthvid::geometry::Rect;
use vmbus::ChannelId;

use crate::video::Scanout;

/// Watches a bus and its devices.
pub trait Observer: Send {
    /// The doorbell of `channel` rang `rings` times since it was last looked at.
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        let _ = (at_ns, channel, rings);
    }

    /// The guest's ring of `channel` was found too full for another packet of the kind that its device expects
    /// ([`crate::ChannelDevice::expected_packet_bytes`]). A guest that does not wait for room loses what it sends then.
    fn ring_full(&mut self, at_ns: u64, channel: ChannelId) {
        let _ = (at_ns, channel);
    }

    /// A packet with `bytes` of payload left the guest's ring of `channel`.
    fn packet(&mut self, at_ns: u64, channel: ChannelId, bytes: usize) {
        let _ = (at_ns, channel, bytes);
    }

    /// The connection or a channel changed its state.
    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        let _ = (at_ns, event);
    }

    /// A synthetic video client and its host agreed on something, or the guest moved its VRAM.
    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        let _ = (at_ns, event);
    }

    /// One DIRT message was carried out.
    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        let _ = dirt;
    }

    /// The surface was repainted without a DIRT, for the reason given.
    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        let _ = (at_ns, repaint);
    }

    /// The guest broke a rule.
    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        let _ = (at_ns, fault);
    }

    /// Pixels are about to be copied from VRAM, or the screen is about to change its place or shape. Whoever follows
    /// what the guest writes looks now: what it has written so far belongs to what was, and to what is copied.
    fn take_stock(&mut self, at_ns: u64) {
        let _ = at_ns;
    }

    /// The device's screen has another place, shape or demand. A situation that the guest merely repeats is no change.
    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        let _ = (at_ns, scanout);
    }

    /// The time that [`Observer::deadline_ns`] named has come, or passed.
    fn tick(&mut self, now_ns: u64) {
        let _ = now_ns;
    }

    /// When to call [`Observer::tick`], if ever. The answer may change after any other call.
    fn deadline_ns(&self) -> Option<u64> {
        None
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Two observers side by side.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        self.0.doorbell(at_ns, channel, rings);
        self.1.doorbell(at_ns, channel, rings);
    }

    fn ring_full(&mut self, at_ns: u64, channel: ChannelId) {
        self.0.ring_full(at_ns, channel);
        self.1.ring_full(at_ns, channel);
    }

    fn packet(&mut self, at_ns: u64, channel: ChannelId, bytes: usize) {
        self.0.packet(at_ns, channel, bytes);
        self.1.packet(at_ns, channel, bytes);
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        self.0.control(at_ns, event);
        self.1.control(at_ns, event);
    }

    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        self.0.video(at_ns, event);
        self.1.video(at_ns, event);
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        self.0.dirt(dirt);
        self.1.dirt(dirt);
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        self.0.implied_repaint(at_ns, repaint);
        self.1.implied_repaint(at_ns, repaint);
    }

    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        self.0.fault(at_ns, fault);
        self.1.fault(at_ns, fault);
    }

    fn take_stock(&mut self, at_ns: u64) {
        self.0.take_stock(at_ns);
        self.1.take_stock(at_ns);
    }

    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        self.0.scanout(at_ns, scanout);
        self.1.scanout(at_ns, scanout);
    }

    fn tick(&mut self, now_ns: u64) {
        for observer in [&mut self.0 as &mut dyn Observer, &mut self.1] {
            if observer.deadline_ns().is_some_and(|due| now_ns >= due) {
                observer.tick(now_ns);
            }
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        [self.0.deadline_ns(), self.1.deadline_ns()].into_iter().flatten().min()
    }
}

/// An observer that may be absent.
impl<O: Observer> Observer for Option<O> {
    fn doorbell(&mut self, at_ns: u64, channel: ChannelId, rings: u64) {
        if let Some(observer) = self {
            observer.doorbell(at_ns, channel, rings);
        }
    }

    fn ring_full(&mut self, at_ns: u64, channel: ChannelId) {
        if let Some(observer) = self {
            observer.ring_full(at_ns, channel);
        }
    }

    fn packet(&mut self, at_ns: u64, channel: ChannelId, bytes: usize) {
        if let Some(observer) = self {
            observer.packet(at_ns, channel, bytes);
        }
    }

    fn control(&mut self, at_ns: u64, event: &ControlEvent) {
        if let Some(observer) = self {
            observer.control(at_ns, event);
        }
    }

    fn video(&mut self, at_ns: u64, event: &VideoEvent) {
        if let Some(observer) = self {
            observer.video(at_ns, event);
        }
    }

    fn dirt(&mut self, dirt: &DirtEvent<'_>) {
        if let Some(observer) = self {
            observer.dirt(dirt);
        }
    }

    fn implied_repaint(&mut self, at_ns: u64, repaint: &ImpliedRepaint) {
        if let Some(observer) = self {
            observer.implied_repaint(at_ns, repaint);
        }
    }

    fn fault(&mut self, at_ns: u64, fault: &FaultEvent) {
        if let Some(observer) = self {
            observer.fault(at_ns, fault);
        }
    }

    fn take_stock(&mut self, at_ns: u64) {
        if let Some(observer) = self {
            observer.take_stock(at_ns);
        }
    }

    fn scanout(&mut self, at_ns: u64, scanout: &Scanout) {
        if let Some(observer) = self {
            observer.scanout(at_ns, scanout);
        }
    }

    fn tick(&mut self, now_ns: u64) {
        if let Some(observer) = self {
            observer.tick(now_ns);
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.as_ref().and_then(Observer::deadline_ns)
    }
}

/// A change in the VMBus connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// The guest and the host agreed on a VMBus version.
    Contacted {
        /// Major number in the upper, minor number in the lower half.
        version: u32,
    },
    /// The guest opened a channel.
    Opened(ChannelId),
    /// The guest, or a fault of the guest, closed a channel.
    Closed(ChannelId),
    /// The guest left the bus.
    Unloaded,
}

/// A change in the synthetic video device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoEvent {
    /// The version that the guest asked for was accepted or refused.
    Version {
        /// Major number.
        major: u16,
        /// Minor number.
        minor: u16,
        /// Accepted.
        accepted: bool,
    },
    /// The guest declared its VRAM and the host backed it.
    VramMapped {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        bytes: u64,
        /// Where it lies.
        kind: surface::VramKind,
    },
    /// The guest declared VRAM that cannot be backed; it is not acknowledged.
    VramRefused {
        /// Guest physical address.
        gpa: u64,
    },
    /// The VRAM was released.
    VramUnmapped,
    /// The guest declared the shape of its screen.
    Situation {
        /// Pixels.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from one row to the next.
        pitch: u32,
        /// Bits a pixel.
        depth: u8,
        /// The output is on.
        active: bool,
    },
    /// The host told the guest what it wants.
    FeatureChange {
        /// DIRT messages are wanted.
        dirt: bool,
    },
    /// The guest moved its pointer.
    PointerPosition {
        /// Shown.
        visible: bool,
        /// Column.
        x: i32,
        /// Row.
        y: i32,
    },
    /// The guest gave its pointer a shape.
    PointerShape {
        /// Pixels.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// One DIRT message and what it did.
#[derive(Clone, Copy, Debug)]
pub struct DirtEvent<'a> {
    /// When the doorbell that announced it was seen.
    pub doorbell_ns: u64,
    /// When its pixels were in the surface.
    pub done_ns: u64,
    /// Rectangles in the message.
    pub rects: u32,
    /// Rectangles that were refused: empty, inverted, or wholly outside the screen.
    pub rejected_rects: u32,
    /// Pixels of the accepted rectangles, overlaps counted each time.
    pub declared_px: u64,
    /// Pixels whose value in the surface changed.
    pub changed_px: u64,
    /// The accepted rectangles, clipped to the screen.
    pub accepted: &'a [Rect],
}

/// Why the surface was repainted without a DIRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepaintCause {
    /// The guest changed the shape of its screen.
    Situation,
    /// The guest moved its VRAM.
    VramMoved,
    /// Dirt is wanted again; Linux sends none for what it drew in between.
    DirtWanted,
}

/// A repaint without a DIRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImpliedRepaint {
    /// The first cause since the last repaint.
    pub cause: RepaintCause,
    /// Pixels copied.
    pub px: u64,
    /// Pixels whose value changed.
    pub changed_px: u64,
}

/// A rule that the guest broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultEvent {
    /// The channel concerned, if it is a channel's.
    pub channel: Option<ChannelId>,
    /// Which layer saw it.
    pub layer: FaultLayer,
    /// What was wrong, with the value and the limit.
    pub text: String,
    /// The channel was closed because of it.
    pub closed: bool,
}

/// Where a fault was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultLayer {
    /// VMBus control messages.
    Control,
    /// Ring indices and packet descriptors.
    Ring,
    /// Framing inside a packet.
    Pipe,
    /// The device's own protocol.
    Device,
}
