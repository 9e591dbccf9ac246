//! Open, close and retarget.
//!
//! ```text
//!           OPENCHANNEL              open_complete(true)
//!  Closed ──────────────▶ Opening ────────────────────────▶ Open
//!    ▲                       │ open_complete(false)           │ CLOSECHANNEL, rescind,
//!    ├───────────────────────┘                                │ UNLOAD, contact, reset
//!    │                    close_complete                      ▼
//!    └───────────────────────────────────────────────────── Closing
//! ```
//!
//! A close that comes while the host is still opening waits for its `open_complete`.

use alloc::collections::BTreeMap;

use zerocopy::little_endian::U32;

use super::Server;
use super::actions::{OpenRequest, ServerAction};
use super::fault::ControlFault;
use super::offers::OfferParams;
use crate::message::{
    self, ChannelMessage, CloseChannel, ModifyChannel, ModifyChannelResponse, OpenChannel, OpenChannelResult,
    STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
};
use crate::{ChannelId, ConnectionId, GpadlId, Version};

/// One channel, from offer to release.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) params: OfferParams,
    /// The guest of this connection knows it.
    pub(super) announced: bool,
    /// Withdrawn by the host.
    pub(super) rescinded: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Opening { ring: GpadlId, open_id: u32, close: bool },
    Open { ring: GpadlId },
    Closing { ring: GpadlId },
}

impl Channel {
    pub(super) const fn new(params: OfferParams) -> Self {
        Self { params, announced: false, rescinded: false, state: State::Closed }
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The GPADL whose pages the host may be using.
    pub(super) const fn ring(&self) -> Option<GpadlId> {
        match self.state {
            State::Closed => None,
            State::Opening { ring, .. } | State::Open { ring } | State::Closing { ring } => Some(ring),
        }
    }

    pub(super) const fn state_fault<M: ChannelMessage>(&self, channel: ChannelId) -> ControlFault {
        let state = match self.state {
            _ if self.rescinded => "rescinded",
            State::Closed => "closed",
            State::Opening { .. } => "opening",
            State::Open { .. } => "open",
            State::Closing { .. } => "closing",
        };
        ControlFault::ChannelState { kind: M::TYPE, channel, state }
    }
}

/// Channels by relid.
#[derive(Debug, Default)]
pub(super) struct Channels {
    table: BTreeMap<ChannelId, Channel>,
    /// Relid that was given out last. The next one is higher, so that a relid stays unused as long as
    /// possible.
    last: u32,
}

impl Channels {
    /// Gives the channel a relid; `None` when there are `limit` or no relid is left.
    pub(super) fn insert(&mut self, channel: Channel, limit: u16) -> Option<ChannelId> {
        let max = ChannelId::MAX.0;
        if self.table.len() >= usize::from(limit) {
            return None;
        }
        let id = (0..max)
            .map(|step| ChannelId((self.last + step) % max + 1))
            .find(|id| !self.table.contains_key(id))?;
        self.last = id.0;
        self.table.insert(id, channel);
        Some(id)
    }

    pub(super) fn remove(&mut self, channel: ChannelId) {
        self.table.remove(&channel);
    }

    pub(super) fn find_mut(&mut self, channel: ChannelId) -> Option<&mut Channel> {
        self.table.get_mut(&channel)
    }

    pub(super) fn find(&self, channel: ChannelId) -> Option<&Channel> {
        self.table.get(&channel)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.table.iter().map(|(id, channel)| (*id, channel))
    }
}

impl Server {
    /// The host served [`ServerAction::Open`]: `ok` tells whether the device runs. Ignored for a channel that
    /// does not wait for it.
    pub fn open_complete(&mut self, channel: ChannelId, ok: bool) {
        let Some(entry) = self.channels.find_mut(channel) else { return };
        let State::Opening { ring, open_id, close } = entry.state else { return };
        entry.state = if ok { State::Open { ring } } else { State::Closed };
        self.post_open_result(channel, open_id, ok);
        if !ok {
            self.closed(channel, ring);
        } else if close {
            self.begin_close(channel);
        }
    }

    /// The host served [`ServerAction::Close`]: nobody uses the rings any more. Ignored for a channel that
    /// does not wait for it.
    pub fn close_complete(&mut self, channel: ChannelId) {
        let Some(entry) = self.channels.find_mut(channel) else { return };
        let State::Closing { ring } = entry.state else { return };
        entry.state = State::Closed;
        self.closed(channel, ring);
    }

    pub(super) fn open_channel(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (open, _) = message::read::<OpenChannel>(body)?;
        match self.check_open(&open) {
            Ok(request) => {
                if let Some(entry) = self.channels.find_mut(request.channel) {
                    entry.state =
                        State::Opening { ring: request.gpadl, open_id: open.open_id.get(), close: false };
                }
                self.actions.push(ServerAction::Open(request));
                Ok(())
            }
            Err(fault) => {
                self.post_open_result(ChannelId(open.relid.get()), open.open_id.get(), false);
                Err(fault)
            }
        }
    }

    pub(super) fn close_channel(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (channel, entry) = self.named_channel::<CloseChannel>(body, |message| message.relid)?;
        match entry.state {
            // The close went ahead when the offer was rescinded; Linux closes after that all the same.
            _ if entry.rescinded => Ok(()),
            State::Opening { close: false, .. } | State::Open { .. } => {
                self.begin_close(channel);
                Ok(())
            }
            _ => Err(entry.state_fault::<CloseChannel>(channel)),
        }
    }

    pub(super) fn modify_channel(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (modify, _) = message::read::<ModifyChannel>(body)?;
        let outcome = self.retarget(&modify);
        if self.version() >= Some(Version::V5_3) {
            let status = status(outcome.is_ok());
            self.post(&ModifyChannelResponse { relid: modify.relid, status });
        }
        outcome
    }

    fn retarget(&mut self, modify: &ModifyChannel) -> Result<(), ControlFault> {
        let channel = self.announced::<ModifyChannel>(ChannelId(modify.relid.get()))?;
        let target_vp = modify.target_vp.get();
        self.check_vp::<ModifyChannel>(target_vp)?;
        match self.channels.find(channel) {
            Some(Channel { state: State::Open { .. }, .. }) => {
                self.actions.push(ServerAction::Retarget { channel, target_vp });
                Ok(())
            }
            Some(entry) => Err(entry.state_fault::<ModifyChannel>(channel)),
            None => Ok(()),
        }
    }

    fn check_open(&self, open: &OpenChannel) -> Result<OpenRequest, ControlFault> {
        let channel = self.announced::<OpenChannel>(ChannelId(open.relid.get()))?;
        if let Some(entry) = self.channels.find(channel).filter(|entry| entry.rescinded || !entry.is_closed())
        {
            return Err(entry.state_fault::<OpenChannel>(channel));
        }
        self.check_vp::<OpenChannel>(open.target_vp.get())?;
        let gpadl = GpadlId(open.ring_gpadl.get());
        let downstream_page = open.downstream_page_offset.get();
        let ring_gpns = self.gpadls.ring_gpns(channel, gpadl, downstream_page)?;
        Ok(OpenRequest {
            channel,
            gpadl,
            connection_id: ConnectionId::doorbell(channel),
            event_flag: u16::try_from(channel.0).unwrap_or_default(),
            target_vp: open.target_vp.get(),
            sint: self.target().map_or(hv_abi::sint::VMBUS, |target| target.sint),
            ring_gpns: ring_gpns.to_vec(),
            downstream_offset_pages: downstream_page,
            user_data: open.user_data,
        })
    }

    /// Closes as far as the state allows; completed by [`Self::open_complete`] and [`Self::close_complete`].
    pub(super) fn begin_close(&mut self, channel: ChannelId) {
        let Some(entry) = self.channels.find_mut(channel) else { return };
        match &mut entry.state {
            State::Opening { close, .. } => *close = true,
            State::Open { ring } => {
                entry.state = State::Closing { ring: *ring };
                self.actions.push(ServerAction::Close(channel));
            }
            State::Closed | State::Closing { .. } => {}
        }
    }

    fn closed(&mut self, channel: ChannelId, ring: GpadlId) {
        self.finish_teardown(ring);
        self.release_if_forgotten(channel);
        self.finish_disconnect();
    }

    fn post_open_result(&mut self, channel: ChannelId, open_id: u32, ok: bool) {
        let (relid, open_id) = (U32::new(channel.0), U32::new(open_id));
        self.post(&OpenChannelResult { relid, open_id, status: status(ok) });
    }

    /// The channel that a message names, which the guest must have been told of.
    pub(super) fn named_channel<M: ChannelMessage>(
        &mut self,
        body: &[u8],
        relid: impl Fn(&M) -> U32,
    ) -> Result<(ChannelId, &mut Channel), ControlFault> {
        let (message, _) = message::read::<M>(body)?;
        let channel = ChannelId(relid(&message).get());
        let unknown = ControlFault::UnknownChannel { kind: M::TYPE, channel };
        let entry = self.channels.find_mut(channel).filter(|entry| entry.announced).ok_or(unknown)?;
        Ok((channel, entry))
    }

    /// `channel`, if the guest was told of it.
    pub(super) fn announced<M: ChannelMessage>(&self, channel: ChannelId) -> Result<ChannelId, ControlFault> {
        match self.channels.find(channel) {
            Some(entry) if entry.announced => Ok(channel),
            _ => Err(ControlFault::UnknownChannel { kind: M::TYPE, channel }),
        }
    }

    pub(super) const fn check_vp<M: ChannelMessage>(&self, vp: u32) -> Result<(), ControlFault> {
        let vp_count = self.config.vp_count;
        if vp < vp_count { Ok(()) } else { Err(ControlFault::TargetVp { kind: M::TYPE, vp, vp_count }) }
    }
}

/// Success or refusal on the wire.
pub(super) const fn status(ok: bool) -> U32 {
    U32::new(if ok { STATUS_SUCCESS } else { STATUS_UNSUCCESSFUL })
}
