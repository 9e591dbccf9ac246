//! Guest pages that the guest lent: lists of page numbers, sent in pieces.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::channels::status;
use super::fault::ControlFault;
use super::{Server, ServerConfig};
use crate::message::{
    self, ChannelMessage, GpadlBody, GpadlCreated, GpadlHeader, GpadlTeardown, GpadlTorndown, MessageType,
    OpenChannel,
};
use crate::{ChannelId, GpadlId, PAGE_SIZE};

/// First page number whose address does not fit 64 bits.
const GPN_LIMIT: u64 = 1 << 52;
/// Bytes in a page number.
const GPN_SIZE: usize = 8;
/// Bytes of byte count and byte offset in front of a range's page numbers.
const RANGE_HEADER_SIZE: u16 = 8;
/// Pages that each ring needs: a header page and a data page.
const MIN_RING_PAGES: usize = 2;

#[derive(Debug)]
struct Gpadl {
    channel: ChannelId,
    gpns: Vec<u64>,
    /// How many page numbers there will be.
    pages: usize,
    /// Starts and ends at a page boundary.
    whole_pages: bool,
    /// The guest waits for GPADL_TORNDOWN until a ring in here is out of use.
    teardown: bool,
}

impl Gpadl {
    const fn is_complete(&self) -> bool {
        self.gpns.len() == self.pages
    }

    const fn state(&self) -> &'static str {
        match self {
            Self { teardown: true, .. } => "being torn down",
            _ if self.is_complete() => "created",
            _ => "incomplete",
        }
    }

    /// Adds the page numbers behind a message; true when none are missing.
    fn extend(&mut self, gpadl: GpadlId, tail: &[u8]) -> Result<bool, ControlFault> {
        let limit = (self.pages - self.gpns.len()) * GPN_SIZE;
        let fault = ControlFault::PageList { gpadl, bytes: tail.len(), limit };
        if tail.len() > limit {
            return Err(fault);
        }
        let gpns = <[U64]>::ref_from_bytes(tail).map_err(|_| fault)?;
        for gpn in gpns {
            let gpn = gpn.get();
            if gpn >= GPN_LIMIT {
                return Err(ControlFault::PageNumber { gpadl, gpn });
            }
            self.gpns.push(gpn);
        }
        Ok(self.is_complete())
    }
}

/// GPADLs by handle. Linux counts handles for the whole bus, so they need no channel to be unique.
#[derive(Debug, Default)]
pub(super) struct Gpadls(BTreeMap<GpadlId, Gpadl>);

impl Gpadls {
    /// Page numbers of a complete GPADL of `channel`.
    pub(super) fn gpns(&self, channel: ChannelId, gpadl: GpadlId) -> Option<&[u64]> {
        let entry = self.0.get(&gpadl)?;
        (entry.channel == channel && entry.is_complete()).then_some(&entry.gpns)
    }

    /// Page numbers of a GPADL that can hold two rings, the second from `downstream_page` on.
    pub(super) fn ring_gpns(
        &self,
        channel: ChannelId,
        gpadl: GpadlId,
        downstream_page: u32,
    ) -> Result<&[u64], ControlFault> {
        let entry = self.owned::<OpenChannel>(channel, gpadl)?;
        if entry.teardown || !entry.is_complete() {
            return Err(ControlFault::GpadlState { kind: OpenChannel::TYPE, gpadl, state: entry.state() });
        }
        let pages = entry.gpns.len();
        let first = downstream_page as usize;
        if !entry.whole_pages || first < MIN_RING_PAGES || pages.saturating_sub(first) < MIN_RING_PAGES {
            return Err(ControlFault::RingShape { channel, downstream_page, pages });
        }
        Ok(&entry.gpns)
    }

    pub(super) fn remove_channel(&mut self, channel: ChannelId) {
        self.0.retain(|_, entry| entry.channel != channel);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn owned<M: ChannelMessage>(&self, channel: ChannelId, gpadl: GpadlId) -> Result<&Gpadl, ControlFault> {
        let entry = self.0.get(&gpadl).ok_or(ControlFault::UnknownGpadl { kind: M::TYPE, gpadl })?;
        if entry.channel == channel {
            Ok(entry)
        } else {
            Err(ControlFault::ForeignGpadl { kind: M::TYPE, gpadl, channel, owner: entry.channel })
        }
    }

    /// Starts a GPADL; true when the header carried all page numbers.
    fn start(
        &mut self,
        config: &ServerConfig,
        header: &GpadlHeader,
        tail: &[u8],
    ) -> Result<bool, ControlFault> {
        let gpadl = GpadlId(header.gpadl.get());
        if self.0.contains_key(&gpadl) {
            return Err(ControlFault::GpadlExists { gpadl });
        }
        let limit = config.max_gpadls;
        if self.0.len() >= limit {
            return Err(ControlFault::TooManyGpadls { gpadl, limit });
        }
        let mut entry = declared(config, header)?;
        let complete = entry.extend(gpadl, tail)?;
        let limit = config.max_incomplete_gpadls;
        if !complete && self.0.values().filter(|entry| !entry.is_complete()).count() >= limit {
            return Err(ControlFault::TooManyIncomplete { gpadl, limit });
        }
        self.0.insert(gpadl, entry);
        Ok(complete)
    }
}

/// An empty GPADL as its header describes it.
fn declared(config: &ServerConfig, header: &GpadlHeader) -> Result<Gpadl, ControlFault> {
    let gpadl = GpadlId(header.gpadl.get());
    let ranges = header.range_count.get();
    if ranges != 1 {
        return Err(ControlFault::RangeCount { gpadl, ranges });
    }
    let range_buflen = header.range_buflen.get();
    let (byte_count, byte_offset) = (header.byte_count.get(), header.byte_offset.get());
    let pages = u32::from(range_buflen.saturating_sub(RANGE_HEADER_SIZE)) / 8;
    let needed = (u64::from(byte_offset) + u64::from(byte_count)).div_ceil(u64::from(PAGE_SIZE));
    let sound = range_buflen.is_multiple_of(8)
        && byte_count > 0
        && byte_offset < PAGE_SIZE
        && needed == u64::from(pages);
    if !sound {
        return Err(ControlFault::RangeShape { gpadl, byte_count, byte_offset, range_buflen });
    }
    let limit = config.max_gpadl_pages;
    if pages > limit {
        return Err(ControlFault::TooManyPages { gpadl, pages, limit });
    }
    Ok(Gpadl {
        channel: ChannelId(header.relid.get()),
        gpns: Vec::new(),
        pages: pages as usize,
        whole_pages: byte_offset == 0 && byte_count.is_multiple_of(PAGE_SIZE),
        teardown: false,
    })
}

impl Server {
    pub(super) fn gpadl_header(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (header, tail) = message::read::<GpadlHeader>(body)?;
        let channel = ChannelId(header.relid.get());
        let outcome =
            self.check_lender(channel).and_then(|()| self.gpadls.start(&self.config, &header, tail));
        self.answer_gpadl(channel, GpadlId(header.gpadl.get()), outcome)
    }

    pub(super) fn gpadl_body(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (body, tail) = message::read::<GpadlBody>(body)?;
        let gpadl = GpadlId(body.gpadl.get());
        let kind = MessageType::GpadlBody;
        // Also the rest of a GPADL whose header was refused: the guest has its answer already.
        let entry = self.gpadls.0.get_mut(&gpadl).ok_or(ControlFault::UnknownGpadl { kind, gpadl })?;
        if entry.is_complete() {
            return Err(ControlFault::GpadlState { kind, gpadl, state: entry.state() });
        }
        let channel = entry.channel;
        let outcome = entry.extend(gpadl, tail);
        if outcome.is_err() {
            self.gpadls.0.remove(&gpadl);
        }
        self.answer_gpadl(channel, gpadl, outcome)
    }

    pub(super) fn gpadl_teardown(&mut self, body: &[u8]) -> Result<(), ControlFault> {
        let (teardown, _) = message::read::<GpadlTeardown>(body)?;
        let (channel, gpadl) = (ChannelId(teardown.relid.get()), GpadlId(teardown.gpadl.get()));
        let kind = MessageType::GpadlTeardown;
        match self.gpadls.owned::<GpadlTeardown>(channel, gpadl) {
            Ok(entry) if entry.teardown => {
                return Err(ControlFault::GpadlState { kind, gpadl, state: entry.state() });
            }
            Ok(_) => {}
            Err(fault @ ControlFault::UnknownGpadl { .. }) => {
                // True, and Linux would wait for ever.
                self.post(&GpadlTorndown { gpadl: U32::new(gpadl.0) });
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        }
        if let Some(entry) = self.gpadls.0.get_mut(&gpadl) {
            entry.teardown = true;
        }
        let in_use = self.channels.find(channel).and_then(super::channels::Channel::ring) == Some(gpadl);
        if !in_use {
            self.finish_teardown(gpadl);
        }
        Ok(())
    }

    /// Gives the pages back if the guest wants them; they must be out of use.
    pub(super) fn finish_teardown(&mut self, gpadl: GpadlId) {
        if self.gpadls.0.get(&gpadl).is_some_and(|entry| entry.teardown) {
            self.gpadls.0.remove(&gpadl);
            self.post(&GpadlTorndown { gpadl: U32::new(gpadl.0) });
        }
    }

    fn check_lender(&self, channel: ChannelId) -> Result<(), ControlFault> {
        self.announced::<GpadlHeader>(channel)?;
        match self.channels.find(channel) {
            Some(entry) if entry.rescinded => Err(entry.state_fault::<GpadlHeader>(channel)),
            _ => Ok(()),
        }
    }

    /// GPADL_CREATED once all page numbers are there or the list was refused.
    fn answer_gpadl(
        &mut self,
        channel: ChannelId,
        gpadl: GpadlId,
        outcome: Result<bool, ControlFault>,
    ) -> Result<(), ControlFault> {
        if outcome != Ok(false) {
            let (relid, gpadl) = (U32::new(channel.0), U32::new(gpadl.0));
            self.post(&GpadlCreated { relid, gpadl, status: status(outcome.is_ok()) });
        }
        outcome.map(|_| ())
    }
}
