//! The guest's VMBus: contact, offers, and the life of the video channel.

use std::collections::VecDeque;

use hv_abi::hypercall::Status;
use hv_abi::message;
use synic::Sint;
use synic::loopback::LoopbackGuest;
use vm_memory::{Bytes, GuestAddress};
use vmbus::client::{Client, ClientAction, ClientConfig, Offer};
use vmbus::server::PipeMode;
use vmbus::{ConnectionId, GpadlId, Guid, Version};

use crate::attack::Strike;
use crate::channel::{RING_PAGES, Rings, Sending};
use crate::error::SimError;
use crate::memory::SimMemory;

/// Interface of synthetic video (`HV_SYNTHVID_GUID` in Linux `include/linux/hyperv.h`).
const VIDEO: Guid = Guid::from_u128(0xda0a_7802_e377_4aac_8e77_0558_eb10_73f8);
/// The virtual processor that does everything; Linux leaves slow devices on VP 0.
const VP: u32 = 0;
/// Tries to post a message while the host's queue is full (`drivers/hv/connection.c:vmbus_post_msg`).
const POST_TRIES: u32 = 100;
/// Time between two of them.
pub(crate) const POST_RETRY_NS: u64 = 1_000_000;

/// What the driver above must know.
#[derive(Debug)]
pub(crate) enum BusEvent {
    /// The video channel is open.
    Opened { offer: Offer, version: Version },
    /// A message of the host came through the video channel.
    Message(Vec<u8>),
    /// The guest has left the bus.
    Unloaded,
}

/// Where the video channel is.
#[derive(Debug)]
enum Channel {
    Unknown,
    Closed,
    Lending { gpadl: GpadlId },
    Opening { gpadl: GpadlId, rings: Rings },
    Open { gpadl: GpadlId, rings: Rings },
    TakingBack { then: Then },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Reopen,
    Unload,
}

/// The guest's end of the bus.
#[derive(Debug)]
pub(crate) struct GuestBus {
    memory: SimMemory,
    cpu: LoopbackGuest,
    client: Client,
    ring_gpns: Vec<u64>,
    offer: Option<Offer>,
    channel: Channel,
    posts: VecDeque<(ConnectionId, Vec<u8>)>,
    post_tries: u32,
    /// A guest that breaks rules gets answers that make no sense to it.
    forgiving: bool,
    events: VecDeque<BusEvent>,
}

impl GuestBus {
    /// Contact is made with the first step. The rings of the video channel go to pages from `ring_gpn` on.
    pub(crate) fn new(
        memory: SimMemory,
        cpu: LoopbackGuest,
        versions: Vec<Version>,
        ring_gpn: u64,
        forgiving: bool,
    ) -> Self {
        let mut client = Client::new(ClientConfig { versions, ..ClientConfig::default() });
        client.connect();
        Self {
            memory,
            cpu,
            client,
            ring_gpns: scattered(ring_gpn),
            offer: None,
            channel: Channel::Unknown,
            posts: VecDeque::new(),
            post_tries: 0,
            forgiving,
            events: VecDeque::new(),
        }
    }

    /// Takes what the host has sent and posts what waits; true if there was anything.
    pub(crate) fn step(&mut self) -> Result<bool, SimError> {
        let mut worked = self.settle()?;
        while let Some(message) = self.cpu.take_message(VP, Sint::VMBUS)? {
            worked = true;
            match self.client.receive(&message.payload) {
                Err(fault) if !self.forgiving => return Err(fault.into()),
                _ => {}
            }
            self.settle()?;
        }
        for flag in self.cpu.take_flags(VP, Sint::VMBUS)? {
            worked = true;
            self.on_event(flag)?;
        }
        Ok(worked)
    }

    /// The next thing that the driver must know.
    pub(crate) fn poll_event(&mut self) -> Option<BusEvent> {
        self.events.pop_front()
    }

    /// The host has left something in a message slot or an event flag, as an interrupt would tell.
    pub(crate) fn is_interrupted(&self) -> bool {
        let (pages, sint) = (self.cpu.pages(), u64::from(Sint::VMBUS.number()));
        let slot = pages.simp_gpa(VP) + sint * message::SLOT_SIZE + message::slot::TYPE;
        let flags = pages.siefp_gpa(VP) + sint * message::EVENT_FLAGS_SIZE;
        let mut bytes = [0; 256];
        // The pages were given to the SynIC, so they can be read.
        let _ = self.memory.ram().read_slice(&mut bytes, GuestAddress(flags));
        let kind: u32 = self.memory.ram().read_obj(GuestAddress(slot)).unwrap_or(message::TYPE_NONE);
        kind != message::TYPE_NONE || bytes.iter().any(|byte| *byte != 0)
    }

    /// A message waits because the host's queue was full: step again a little later.
    pub(crate) fn must_retry(&self) -> bool {
        !self.posts.is_empty()
    }

    /// Sends one message through the video channel; false if it was dropped.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<bool, SimError> {
        let Channel::Open { rings, .. } = &mut self.channel else { return Ok(false) };
        let sending = rings.send(message)?;
        self.after_sending(sending)
    }

    /// Breaks a rule. Whatever the host says to it is not looked at.
    pub(crate) fn strike(&mut self, strike: &Strike) -> Result<(), SimError> {
        match strike {
            Strike::Post { connection, message } => {
                let own = if self.client.version() >= Some(Version::V5_0) {
                    ConnectionId::MESSAGE
                } else {
                    ConnectionId::MESSAGE_LEGACY
                };
                self.cpu.post(connection.unwrap_or(own.0), message)?;
                return Ok(());
            }
            Strike::Signal { connection } => {
                self.cpu.signal(*connection);
                return Ok(());
            }
            _ => {}
        }
        let Channel::Open { rings, .. } = &mut self.channel else { return Ok(()) };
        let sending = match strike {
            Strike::Packet(payload) => rings.send_packet(&[payload])?,
            Strike::Video(message) => rings.send(message)?,
            Strike::WriteIndex(index) => {
                rings.set_write_index(*index);
                Sending::Sent { signal: true }
            }
            Strike::RingBytes(bytes) => {
                rings.scribble(bytes);
                Sending::Sent { signal: true }
            }
            Strike::Post { .. } | Strike::Signal { .. } => return Ok(()),
        };
        self.after_sending(sending).map(drop)
    }

    /// Relid of the video channel.
    pub(crate) fn relid(&self) -> u32 {
        self.offer.map_or(0, |offer| offer.channel.0)
    }

    /// Closes the channel and opens it anew, with fresh rings.
    pub(crate) fn reopen(&mut self) -> Result<(), SimError> {
        self.close(Then::Reopen)
    }

    /// Closes the channel and leaves the bus.
    pub(crate) fn leave(&mut self) -> Result<(), SimError> {
        match self.channel {
            Channel::Open { .. } => self.close(Then::Unload),
            _ => Ok(self.client.unload()?),
        }
    }

    fn close(&mut self, then: Then) -> Result<(), SimError> {
        let (Channel::Open { gpadl, .. }, Some(offer)) = (&self.channel, self.offer) else { return Ok(()) };
        let gpadl = *gpadl;
        self.client.close(offer.channel)?;
        self.client.teardown(gpadl)?;
        self.channel = Channel::TakingBack { then };
        Ok(())
    }

    /// Carries out what the client asks for, and posts.
    fn settle(&mut self) -> Result<bool, SimError> {
        let mut worked = false;
        while let Some(action) = self.client.poll_action() {
            worked = true;
            self.on_action(action)?;
        }
        while let Some((connection, message)) = self.posts.front() {
            let status = self.cpu.post(connection.0, message)?;
            if status == Status::InsufficientBuffers as u16 && self.post_tries < POST_TRIES {
                self.post_tries += 1;
                break;
            }
            if status != Status::Success as u16 {
                let kind = message.first_chunk().map_or(0, |kind| u32::from_le_bytes(*kind));
                return Err(SimError::Refused { kind, status });
            }
            worked = true;
            self.post_tries = 0;
            self.posts.pop_front();
        }
        Ok(worked)
    }

    fn on_action(&mut self, action: ClientAction) -> Result<(), SimError> {
        match action {
            ClientAction::Post { connection, message } => self.posts.push_back((connection, message)),
            ClientAction::Contacted(_) => self.client.request_offers()?,
            ClientAction::Refused => return Err(SimError::NoVersion),
            ClientAction::Offered(offer) if offer.interface_type == VIDEO => self.on_offer(offer)?,
            ClientAction::GpadlCreated { gpadl, ok } => self.on_lent(gpadl, ok)?,
            ClientAction::Opened { ok, .. } => self.on_opened(ok)?,
            ClientAction::TornDown(_) => self.on_taken_back()?,
            ClientAction::Unloaded => {
                self.channel = Channel::Unknown;
                self.events.push_back(BusEvent::Unloaded);
            }
            ClientAction::Rescinded(_) => return Err(SimError::RefusedRequest("to keep its offer")),
            ClientAction::Offered(_) | ClientAction::OffersDelivered | ClientAction::Modified { .. } => {}
        }
        Ok(())
    }

    fn on_offer(&mut self, offer: Offer) -> Result<(), SimError> {
        if offer.pipe != PipeMode::Message || offer.monitor_allocated || !offer.dedicated_interrupt {
            return Err(SimError::Framing(offer.channel));
        }
        self.offer = Some(offer);
        self.channel = Channel::Closed;
        self.open_channel()
    }

    fn open_channel(&mut self) -> Result<(), SimError> {
        let Some(offer) = self.offer else { return Ok(()) };
        let gpadl = self.client.create_gpadl(offer.channel, &self.ring_gpns)?;
        self.channel = Channel::Lending { gpadl };
        Ok(())
    }

    fn on_lent(&mut self, created: GpadlId, ok: bool) -> Result<(), SimError> {
        let (Channel::Lending { gpadl }, Some(offer)) = (&self.channel, self.offer) else { return Ok(()) };
        let gpadl = *gpadl;
        if gpadl != created {
            return Ok(());
        }
        if !ok {
            return Err(SimError::RefusedRequest("a GPADL"));
        }
        // Only now, as Linux does (`drivers/hv/channel.c:__vmbus_open`).
        let rings = Rings::initialise(self.memory.ram(), &self.ring_gpns)?;
        let downstream = u32::try_from(RING_PAGES).unwrap_or(u32::MAX);
        self.client.open(offer.channel, gpadl, downstream, VP)?;
        self.channel = Channel::Opening { gpadl, rings };
        Ok(())
    }

    fn on_opened(&mut self, ok: bool) -> Result<(), SimError> {
        let before = core::mem::replace(&mut self.channel, Channel::Closed);
        let (Channel::Opening { gpadl, rings }, Some(offer), Some(version)) =
            (before, self.offer, self.client.version())
        else {
            return Ok(());
        };
        if !ok {
            return Err(SimError::RefusedRequest("to open the video channel"));
        }
        self.channel = Channel::Open { gpadl, rings };
        self.events.push_back(BusEvent::Opened { offer, version });
        Ok(())
    }

    fn on_taken_back(&mut self) -> Result<(), SimError> {
        let Channel::TakingBack { then } = self.channel else { return Ok(()) };
        self.channel = Channel::Closed;
        match then {
            Then::Reopen => self.open_channel(),
            Then::Unload => Ok(self.client.unload()?),
        }
    }

    /// The host set an event flag: it wrote to the ring of that channel, or made room.
    fn on_event(&mut self, flag: u16) -> Result<(), SimError> {
        if u32::from(flag) != self.relid() {
            return Ok(());
        }
        let Channel::Open { rings, .. } = &mut self.channel else { return Ok(()) };
        let (messages, signal) = rings.receive()?;
        self.events.extend(messages.into_iter().map(BusEvent::Message));
        self.after_sending(Sending::Sent { signal }).map(drop)
    }

    fn after_sending(&mut self, sending: Sending) -> Result<bool, SimError> {
        let (Sending::Sent { signal }, Some(offer)) = (sending, self.offer) else { return Ok(false) };
        if signal {
            let status = self.cpu.signal(offer.connection.0);
            // A host that saw a fault has no doorbell for the channel any more.
            if status != Status::Success as u16 && !self.forgiving {
                return Err(SimError::Refused { kind: 0, status });
            }
        }
        Ok(true)
    }
}

/// Page numbers of both rings, in no order: a host that takes them for one piece of memory reads nonsense.
fn scattered(first: u64) -> Vec<u64> {
    let count = 2 * RING_PAGES as u64;
    // 37 has no factor in common with 128, so every page comes up once.
    (0..count).map(|index| first + index * 37 % count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ring_pages_are_scattered_and_each_is_used_once() {
        let gpns = scattered(0x200);
        let distinct: BTreeSet<_> = gpns.iter().copied().collect();
        assert_eq!(distinct, (0x200..0x280).collect());
        assert!(gpns.windows(2).all(|pair| pair[1] != pair[0] + 1));
    }
}
