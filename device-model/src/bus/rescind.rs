//! Taking a device away from a running guest, and offering it again.
//!
//! A rescinded device stays in the bus. Its channel closes at once, but memory that the guest's driver writes to by itself stays
//! until the guest has let go, see [`ChannelDevice::withdrawn`]; the guest removes its driver and then releases the
//! relid, which it may never do. A new offer has a relid of its own and waits for that release, because Linux warns about
//! an offer of a device that it still knows. Whatever the guest does, a device has at most two relids.

use std::any::Any;

use vm_memory::GuestMemory;
use vmbus::ChannelId;
use vmbus::server::OfferError;

use super::{Bus, Slot};
use crate::channel::ChannelDevice;
use crate::observer::Observer;

impl<M: GuestMemory + Clone, O: Observer> Bus<M, O> {
    /// Withdraws the offer of the first device of type `D`, and closes its channel. False if it is on offer no longer.
    pub fn rescind_device<D: ChannelDevice>(&mut self) -> bool {
        let Some(slot) = self.slot_of::<D>() else { return false };
        let Some(channel) = slot.next.or(slot.channel) else { return false };
        let rescinded = self.server.rescind(channel);
        self.carry_out();
        rescinded
    }

    /// Offers the first device of type `D` again after [`Bus::rescind_device`], and tells its new relid; `None` if there is no
    /// such device. The guest hears of it once it has released the old one.
    ///
    /// *Errors*: [`OfferError`], if the device is on offer already.
    pub fn reoffer_device<D: ChannelDevice>(&mut self) -> Result<Option<ChannelId>, OfferError> {
        let Some(offer) = self.slot_of::<D>().map(|slot| slot.device.offer()) else { return Ok(None) };
        let channel = self.server.offer(offer)?;
        if let Some(slot) = self.slot_of::<D>() {
            match slot.channel {
                Some(_) => slot.next = Some(channel),
                None => slot.channel = Some(channel),
            }
        }
        self.carry_out();
        Ok(Some(channel))
    }

    /// Whether the guest, or the host on its behalf, still holds a relid of the first device of type `D` that was rescinded.
    pub fn is_releasing<D: ChannelDevice>(&self) -> bool {
        let slot = self.slots.iter().find(|slot| is::<D>(slot));
        slot.and_then(|slot| slot.channel).is_some_and(|channel| self.server.is_rescinded(channel))
    }

    /// Relids in use: one for each device on offer, and those of rescinded devices that the guest has not released.
    pub fn relids(&self) -> usize {
        self.server.channel_count()
    }

    /// Lists of pages that the guest has lent to all channels together and not taken back.
    pub fn gpadls(&self) -> usize {
        self.server.gpadl_count()
    }

    /// A rescinded relid is free: what comes after it takes its place.
    pub(super) fn released(&mut self, channel: ChannelId) {
        if self.slot_mut(channel).is_some_and(|slot| std::mem::take(&mut slot.withdrawn)) {
            self.with_device(channel, |device, context| device.closed(context));
        }
        for slot in &mut self.slots {
            if slot.next == Some(channel) {
                slot.next = None;
            }
            if slot.channel == Some(channel) {
                slot.channel = slot.next.take();
            }
        }
    }

    fn slot_of<D: ChannelDevice>(&mut self) -> Option<&mut Slot<M>> {
        self.slots.iter_mut().find(|slot| is::<D>(slot))
    }
}

fn is<D: ChannelDevice>(slot: &Slot<impl Sized>) -> bool {
    (&*slot.device as &dyn Any).is::<D>()
}
