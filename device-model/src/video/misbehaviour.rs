//! Test equipment: the answers that are late, wrong or missing, and the ring that nobody looks into.
//!
//! `--device hyperv-synthvid,vram-ack=...,stall=...` asks for them; by default nothing here has an effect.

use synthvid::Vsp;

use crate::options::{Stall, VramAck};

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// What the host is to do wrong, and how far it is with that.
#[derive(Debug)]
pub(super) struct Misbehaviour {
    vram_ack: VramAck,
    /// An acknowledgement that is held back: its context, and when it is due.
    held_back: Option<(u64, u64)>,
    /// Still to come.
    stall: Option<Stall>,
    /// DIRT seen so far.
    dirt: u64,
    stalled_until_ns: Option<u64>,
}

impl Misbehaviour {
    pub(super) const fn new(vram_ack: VramAck, stall: Option<Stall>) -> Self {
        Self { vram_ack, held_back: None, stall, dirt: 0, stalled_until_ns: None }
    }

    /// VRAM is backed: says so to the guest, or does not.
    pub(super) fn vram_mapped(&mut self, vsp: &mut Vsp, now_ns: u64) {
        // The guest has left what an older one would speak of.
        self.held_back = None;
        match self.vram_ack {
            VramAck::Normal => vsp.vram_mapped(true),
            VramAck::Never => {
                let _ = vsp.vram_mapped_unacknowledged();
            }
            VramAck::WrongContext => {
                if let Some(user_ctx) = vsp.vram_mapped_unacknowledged() {
                    vsp.acknowledge_vram(!user_ctx);
                }
            }
            VramAck::Late(seconds) => {
                let due_ns = now_ns.saturating_add(seconds.saturating_mul(NS_PER_SECOND));
                self.held_back = vsp.vram_mapped_unacknowledged().map(|user_ctx| (user_ctx, due_ns));
            }
        }
    }

    /// A DIRT came; the stall may begin with it.
    pub(super) fn dirt(&mut self, now_ns: u64) {
        self.dirt = self.dirt.saturating_add(1);
        if let Some(stall) = self.stall.take_if(|stall| self.dirt >= stall.at_dirt) {
            tracing::warn!("test equipment: the ring of the video channel is left alone for {} ms", stall.ms);
            self.stalled_until_ns = Some(now_ns.saturating_add(stall.ms.saturating_mul(NS_PER_MS)));
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, vsp: &mut Vsp, now_ns: u64) {
        if let Some((user_ctx, _)) = self.held_back.take_if(|(_, due_ns)| now_ns >= *due_ns) {
            vsp.acknowledge_vram(user_ctx);
        }
        self.stalled_until_ns = self.stalled_until_ns.filter(|until_ns| now_ns < *until_ns);
    }

    /// Nobody is left to be answered or kept waiting. What was still to come stays to come.
    pub(super) fn channel_closed(&mut self) {
        self.held_back = None;
        self.stalled_until_ns = None;
    }

    pub(super) fn stalled_until_ns(&self) -> Option<u64> {
        self.stalled_until_ns
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.held_back.map(|(_, due_ns)| due_ns).into_iter().chain(self.stalled_until_ns).min()
    }
}
