//! Lending pages, in messages split as Linux splits them (`drivers/hv/channel.c:create_gpadl_header`).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32};

use super::{Client, ClientAction, ClientError};
use crate::message::{GpadlBody, GpadlHeader, GpadlTeardown};
use crate::{ChannelId, GpadlId, PAGE_SIZE};

/// Page numbers in a GPADL_HEADER message of at most 240 bytes.
const PAGES_IN_HEADER: usize = 26;
/// Page numbers in a GPADL_BODY message.
const PAGES_IN_BODY: usize = 28;

/// A GPADL from its creation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GpadlState {
    Creating(ChannelId),
    Created(ChannelId),
    TearingDown(ChannelId),
}

impl GpadlState {
    pub(super) const fn channel(self) -> ChannelId {
        match self {
            Self::Creating(channel) | Self::Created(channel) | Self::TearingDown(channel) => channel,
        }
    }
}

impl Client {
    /// Lends whole pages to a channel; answered by [`ClientAction::GpadlCreated`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn create_gpadl(&mut self, channel: ChannelId, gpns: &[u64]) -> Result<GpadlId, ClientError> {
        self.connection()?;
        let entry = self.channels.get(&channel).ok_or(ClientError::UnknownChannel { channel })?;
        if entry.rescinded {
            return Err(ClientError::ChannelState { channel });
        }
        let pages = gpns.len();
        let too_many = ClientError::PageCount { pages };
        let range_buflen = u16::try_from(8 + 8 * pages).map_err(|_| too_many)?;
        let byte_count = u32::try_from(pages).map_err(|_| too_many)? * PAGE_SIZE;
        if pages == 0 {
            return Err(too_many);
        }

        let gpadl = GpadlId(self.next_gpadl);
        self.next_gpadl = self.next_gpadl.wrapping_add(1);
        self.gpadls.insert(gpadl, GpadlState::Creating(channel));
        let (first, rest) = gpns.split_at(pages.min(PAGES_IN_HEADER));
        let header = GpadlHeader {
            relid: U32::new(channel.0),
            gpadl: U32::new(gpadl.0),
            range_buflen: U16::new(range_buflen),
            range_count: U16::new(1),
            byte_count: U32::new(byte_count),
            byte_offset: U32::ZERO,
        };
        self.post_with_tail(&header, &page_list(first))?;
        for gpns in rest.chunks(PAGES_IN_BODY) {
            let body = GpadlBody { message_number: U32::ZERO, gpadl: U32::new(gpadl.0) };
            self.post_with_tail(&body, &page_list(gpns))?;
        }
        Ok(gpadl)
    }

    /// Asks for lent pages; answered by [`ClientAction::TornDown`]. On a rescinded channel Linux does not
    /// ask.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn teardown(&mut self, gpadl: GpadlId) -> Result<(), ClientError> {
        let channel = self.check_gpadl(gpadl)?;
        if self.channels.get(&channel).is_none_or(|channel| channel.rescinded) {
            self.gpadls.remove(&gpadl);
            self.actions.push_back(ClientAction::TornDown(gpadl));
            return Ok(());
        }
        self.post(&GpadlTeardown { relid: U32::new(channel.0), gpadl: U32::new(gpadl.0) })?;
        self.gpadls.insert(gpadl, GpadlState::TearingDown(channel));
        Ok(())
    }

    /// The channel of a created GPADL.
    pub(super) fn check_gpadl(&self, gpadl: GpadlId) -> Result<ChannelId, ClientError> {
        match self.gpadls.get(&gpadl) {
            Some(GpadlState::Created(channel)) => Ok(*channel),
            _ => Err(ClientError::UnknownGpadl { gpadl }),
        }
    }
}

fn page_list(gpns: &[u64]) -> Vec<u8> {
    gpns.iter().flat_map(|gpn| gpn.to_le_bytes()).collect()
}
