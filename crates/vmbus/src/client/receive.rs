//! What the guest makes of the host's messages.

use super::gpadl::GpadlState;
use super::{Channel, ChannelState, Client, ClientAction, HostFault, Offer, State};
use crate::message::{
    self, ChannelMessage, GpadlCreated, GpadlTorndown, MessageType, ModifyChannelResponse, OfferChannel,
    OpenChannelResult, RescindChannelOffer, STATUS_SUCCESS, VersionResponse,
};
use crate::server::PipeMode;
use crate::{ChannelId, ConnectionId, GpadlId, Version};

/// Channel flag: the first bytes of `user_defined` are a pipe mode.
const FLAG_PIPE: u16 = 0x10;
/// Pipe mode "messages".
const PIPE_MESSAGES: [u8; 4] = [4, 0, 0, 0];

impl Client {
    /// Takes one message from the guest's message slot.
    ///
    /// # Errors
    /// [`HostFault`]; the message was dropped.
    pub fn receive(&mut self, message: &[u8]) -> Result<(), HostFault> {
        let (kind, body) = message::split(message)?;
        match (self.state, kind) {
            (State::Contacting(index), MessageType::VersionResponse) => self.version_response(index, body),
            (State::Unloading { .. }, MessageType::UnloadResponse) => {
                self.state = State::Idle;
                self.actions.push_back(ClientAction::Unloaded);
                Ok(())
            }
            // Linux still takes everything while it waits for the answer to UNLOAD, and has no use for it.
            (State::Unloading { .. }, _) => Ok(()),
            (State::Connected { .. }, kind) => self.connected(kind, body),
            _ => Err(HostFault::Unexpected { kind }),
        }
    }

    fn connected(&mut self, kind: MessageType, body: &[u8]) -> Result<(), HostFault> {
        match kind {
            MessageType::OfferChannel => self.offer_channel(body),
            MessageType::RescindChannelOffer => self.rescind_channel_offer(body),
            MessageType::AllOffersDelivered => {
                self.actions.push_back(ClientAction::OffersDelivered);
                Ok(())
            }
            MessageType::OpenChannelResult => self.open_channel_result(body),
            MessageType::GpadlCreated => self.gpadl_created(body),
            MessageType::GpadlTorndown => self.gpadl_torndown(body),
            MessageType::ModifyChannelResponse => self.modify_channel_response(body),
            _ => Err(HostFault::Unexpected { kind }),
        }
    }

    fn version_response(&mut self, index: usize, body: &[u8]) -> Result<(), HostFault> {
        let (response, _) = message::read::<VersionResponse>(body)?;
        let version = self.config.versions.get(index).copied().filter(|_| response.supported != 0);
        let Some(version) = version else {
            self.contact(index.saturating_add(1));
            return Ok(());
        };
        let connection = if version >= Version::V5_0 {
            ConnectionId(response.msg_connection_id.get())
        } else {
            ConnectionId::MESSAGE_LEGACY
        };
        self.state = State::Connected { version, connection };
        self.actions.push_back(ClientAction::Contacted(version));
        Ok(())
    }

    fn offer_channel(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<OfferChannel>(body)?;
        let channel = ChannelId(message.relid.get());
        if !(ChannelId::MIN..=ChannelId::MAX).contains(&channel) || self.channels.contains_key(&channel) {
            return Err(HostFault::Relid { channel });
        }
        let twin = self.offers().find(|offer| {
            offer.interface_type == message.interface_type && offer.instance == message.instance
        });
        if let Some(twin) = twin {
            return Err(HostFault::DuplicateDevice { existing: twin.channel });
        }
        let pipe = if message.flags.get() & FLAG_PIPE == 0 {
            PipeMode::Raw
        } else if message.user_defined.starts_with(&PIPE_MESSAGES) {
            PipeMode::Message
        } else {
            PipeMode::Byte
        };
        let offer = Offer {
            channel,
            connection: ConnectionId(message.connection_id.get()),
            interface_type: message.interface_type,
            instance: message.instance,
            pipe,
            mmio_megabytes: message.mmio_megabytes.get(),
            dedicated_interrupt: message.dedicated_interrupt.get() & 1 != 0,
            monitor_allocated: message.monitor_allocated & 1 != 0,
        };
        self.channels.insert(channel, Channel { offer, state: ChannelState::Closed, rescinded: false });
        self.actions.push_back(ClientAction::Offered(offer));
        Ok(())
    }

    /// Whoever waits for the host on behalf of the channel is told that it will not come.
    fn rescind_channel_offer(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<RescindChannelOffer>(body)?;
        let channel = self.known::<RescindChannelOffer>(message.relid.get())?;
        let mut opening = false;
        if let Some(entry) = self.channels.get_mut(&channel) {
            entry.rescinded = true;
            opening = entry.state == ChannelState::Opening;
            if opening {
                entry.state = ChannelState::Closed;
            }
        }
        self.actions.push_back(ClientAction::Rescinded(channel));
        if opening {
            self.actions.push_back(ClientAction::Opened { channel, ok: false });
        }
        let actions = &mut self.actions;
        self.gpadls.retain(|&gpadl, state| {
            match state {
                GpadlState::Creating(of) if *of == channel => {
                    actions.push_back(ClientAction::GpadlCreated { gpadl, ok: false });
                }
                GpadlState::TearingDown(of) if *of == channel => {
                    actions.push_back(ClientAction::TornDown(gpadl));
                }
                _ => return true,
            }
            false
        });
        Ok(())
    }

    fn open_channel_result(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<OpenChannelResult>(body)?;
        let channel = self.known::<OpenChannelResult>(message.relid.get())?;
        let ok = message.status.get() == STATUS_SUCCESS;
        match self.channels.get_mut(&channel) {
            Some(entry) if entry.state == ChannelState::Opening => {
                entry.state = if ok { ChannelState::Open } else { ChannelState::Closed };
                self.actions.push_back(ClientAction::Opened { channel, ok });
                Ok(())
            }
            // The answer crossed the rescind.
            Some(entry) if entry.rescinded => Ok(()),
            _ => Err(HostFault::Unexpected { kind: OpenChannelResult::TYPE }),
        }
    }

    fn gpadl_created(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<GpadlCreated>(body)?;
        let gpadl = GpadlId(message.gpadl.get());
        let Some(&GpadlState::Creating(channel)) = self.gpadls.get(&gpadl) else {
            return self.unless_rescinded::<GpadlCreated>(message.relid.get(), gpadl);
        };
        let ok = message.status.get() == STATUS_SUCCESS;
        if ok {
            self.gpadls.insert(gpadl, GpadlState::Created(channel));
        } else {
            self.gpadls.remove(&gpadl);
        }
        self.actions.push_back(ClientAction::GpadlCreated { gpadl, ok });
        Ok(())
    }

    fn gpadl_torndown(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<GpadlTorndown>(body)?;
        let gpadl = GpadlId(message.gpadl.get());
        match self.gpadls.get(&gpadl) {
            Some(GpadlState::TearingDown(_)) => {
                self.gpadls.remove(&gpadl);
                self.actions.push_back(ClientAction::TornDown(gpadl));
                Ok(())
            }
            // The answer crossed a rescind: the message has no relid to tell.
            None if self.channels.values().any(|channel| channel.rescinded) => Ok(()),
            _ => Err(HostFault::UnknownGpadl { kind: GpadlTorndown::TYPE, gpadl }),
        }
    }

    fn modify_channel_response(&mut self, body: &[u8]) -> Result<(), HostFault> {
        let (message, _) = message::read::<ModifyChannelResponse>(body)?;
        let channel = self.known::<ModifyChannelResponse>(message.relid.get())?;
        let ok = message.status.get() == STATUS_SUCCESS;
        self.actions.push_back(ClientAction::Modified { channel, ok });
        Ok(())
    }

    fn known<M: ChannelMessage>(&self, relid: u32) -> Result<ChannelId, HostFault> {
        let channel = ChannelId(relid);
        if self.channels.contains_key(&channel) {
            Ok(channel)
        } else {
            Err(HostFault::UnknownChannel { kind: M::TYPE, channel })
        }
    }

    fn unless_rescinded<M: ChannelMessage>(&self, relid: u32, gpadl: GpadlId) -> Result<(), HostFault> {
        match self.channels.get(&ChannelId(relid)) {
            Some(channel) if channel.rescinded => Ok(()),
            _ => Err(HostFault::UnknownGpadl { kind: M::TYPE, gpadl }),
        }
    }
}
