//! What the guest can see, and under which relid.

use zerocopy::little_endian::{U16, U32, U64};

use super::Server;
use super::actions::ServerAction;
use super::channels::Channel;
use super::fault::{ControlFault, OfferError};
use crate::message::{AllOffersDelivered, OfferChannel, RelidReleased, RescindChannelOffer};
use crate::{ChannelId, ConnectionId, Guid};

/// How the guest's driver frames its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeMode {
    /// Not a pipe: packets carry what the device defines (keyboard).
    Raw,
    /// A byte stream.
    Byte,
    /// Whole messages behind a pipe header (video, mouse), see [`crate::pipe`].
    Message,
}

/// A device to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferParams {
    /// Kind of device.
    pub interface_type: Guid,
    /// This device; with the type unique among offers.
    pub instance: Guid,
    /// Framing.
    pub pipe: PipeMode,
    /// Address space that the guest shall find for the device, in MiB; synthetic video only.
    pub mmio_megabytes: u16,
}

impl OfferParams {
    fn same_device(&self, other: &Self) -> bool {
        self.interface_type == other.interface_type && self.instance == other.instance
    }

    fn message(&self, channel: ChannelId) -> OfferChannel {
        // 0x1: enumerate the device interface; 0x10: named pipe mode.
        let (flags, pipe_mode) = match self.pipe {
            PipeMode::Raw => (0x1, 0_u32),
            PipeMode::Byte => (0x11, 0),
            PipeMode::Message => (0x11, 4),
        };
        let mut user_defined = [0; 120];
        user_defined[..4].copy_from_slice(&pipe_mode.to_le_bytes());
        OfferChannel {
            interface_type: self.interface_type,
            instance: self.instance,
            reserved: [U64::ZERO; 2],
            flags: U16::new(flags),
            mmio_megabytes: U16::new(self.mmio_megabytes),
            user_defined,
            subchannel_index: U16::ZERO,
            reserved2: U16::ZERO,
            relid: U32::new(channel.0),
            monitor_id: 0,
            monitor_allocated: 0,
            dedicated_interrupt: U16::new(1),
            connection_id: U32::new(ConnectionId::doorbell(channel).0),
        }
    }
}

impl Server {
    /// Puts a device on offer. The guest hears of it at REQUESTOFFERS, or now if that is past; but not before
    /// it released an earlier, rescinded channel of the same device, since Linux warns about such an offer.
    ///
    /// # Errors
    /// [`OfferError`]; nothing changed.
    pub fn offer(&mut self, params: OfferParams) -> Result<ChannelId, OfferError> {
        let limit = self.config.max_channels;
        let twin =
            self.channels.iter().find(|(_, other)| !other.rescinded && other.params.same_device(&params));
        if let Some((existing, _)) = twin {
            return Err(OfferError::Duplicate { existing });
        }
        let channel = self.channels.insert(Channel::new(params), limit).ok_or(OfferError::Full { limit })?;
        self.announce();
        Ok(channel)
    }

    /// Withdraws an offer: the guest is told, an open channel gets [`ServerAction::Close`], and
    /// [`ServerAction::Released`] follows once the guest has let go of it too. False if there is no such
    /// offer.
    pub fn rescind(&mut self, channel: ChannelId) -> bool {
        let Some(entry) = self.channels.find_mut(channel).filter(|entry| !entry.rescinded) else {
            return false;
        };
        entry.rescinded = true;
        if entry.announced {
            self.post(&RescindChannelOffer { relid: U32::new(channel.0) });
        }
        self.begin_close(channel);
        self.release_if_forgotten(channel);
        true
    }

    /// Whether `channel` was withdrawn and is not released yet.
    #[must_use]
    pub fn is_rescinded(&self, channel: ChannelId) -> bool {
        self.channels.find(channel).is_some_and(|entry| entry.rescinded)
    }

    /// Channels that take up room: those on offer, and rescinded ones that the guest has not released. At most
    /// [`super::ServerConfig::max_channels`].
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.iter().count()
    }

    pub(super) fn request_offers(&mut self) -> Result<(), ControlFault> {
        if !self.connection.request_offers() {
            return Err(ControlFault::OffersRequestedTwice);
        }
        self.announce();
        self.post(&AllOffersDelivered {});
        Ok(())
    }

    pub(super) fn relid_released(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (channel, entry) = self.named_channel::<RelidReleased>(body, |message| message.relid)?;
        if !entry.rescinded {
            return Err(entry.state_fault::<RelidReleased>(channel));
        }
        entry.announced = false;
        // A guest that did not close first loses the channel all the same.
        self.begin_close(channel);
        self.release_if_forgotten(channel);
        Ok(())
    }

    /// Removes a rescinded channel that neither the guest nor the device uses.
    pub(super) fn release_if_forgotten(&mut self, channel: ChannelId) {
        let forgotten = |entry: &&Channel| entry.rescinded && !entry.announced && entry.is_closed();
        if self.channels.find(channel).filter(forgotten).is_none() {
            return;
        }
        self.channels.remove(channel);
        self.gpadls.remove_channel(channel);
        self.actions.push(ServerAction::Released(channel));
        self.announce();
    }

    /// Tells a guest that asked for offers about all that it does not know and may know.
    fn announce(&mut self) {
        if !self.connection.wants_offers() {
            return;
        }
        while let Some((channel, params)) = self.next_unannounced() {
            if let Some(entry) = self.channels.find_mut(channel) {
                entry.announced = true;
            }
            self.post(&params.message(channel));
        }
    }

    fn next_unannounced(&self) -> Option<(ChannelId, OfferParams)> {
        let fresh = |entry: &Channel| !entry.announced && !entry.rescinded;
        let unreleased = |params: &OfferParams| {
            self.channels.iter().any(|(_, other)| other.rescinded && other.params.same_device(params))
        };
        self.channels
            .iter()
            .find(|(_, entry)| fresh(entry) && !unreleased(&entry.params))
            .map(|(channel, entry)| (channel, entry.params))
    }
}
