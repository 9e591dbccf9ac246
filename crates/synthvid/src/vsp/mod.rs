//! The host's end of the protocol.

mod config;
mod transmit;

#[cfg(test)]
mod tests;

use core::mem::{Discriminant, discriminant};

use zerocopy::FromBytes;

pub use config::VspConfig;
use transmit::{Outgoing, TransmitQueue};

use crate::dirt::DirtRects;
use crate::edid::Edid;
use crate::fault::ProtocolFault;
use crate::modes::Mode;
use crate::pointer::{PointerPosition, PointerShape, ShapeAssembly};
use crate::situation::Situation;
use crate::version::Version;
use crate::wire::{self, Direction, MAX_GUEST_MESSAGE_BYTES, MessageType};

/// Page size that VRAM must be aligned to.
const PAGE_BYTES: u64 = 4096;

const VRAM_ACK: Discriminant<Outgoing> = discriminant(&Outgoing::VramLocationAck { user_ctx: 0 });

/// What the host wants the guest to send (FEATURE_CHANGE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// DIRT. Without it neither Linux driver ever sends one.
    pub dirt: bool,
    /// POINTER_POSITION.
    pub pointer_position: bool,
    /// POINTER_SHAPE.
    pub pointer_shape: bool,
    /// SITUATION_UPDATE.
    pub situation: bool,
}

impl Features {
    /// Nothing.
    pub const NONE: Self =
        Self { dirt: false, pointer_position: false, pointer_shape: false, situation: false };
    /// DIRT alone.
    pub const DIRT: Self = Self { dirt: true, ..Self::NONE };
}

/// What the caller must do about a message.
#[derive(Clone, Debug)]
pub enum VspAction<'a> {
    /// A version was agreed upon or refused; the answer is queued.
    Version {
        /// What the guest asked for.
        version: Version,
        /// It was accepted.
        accepted: bool,
    },
    /// Map `bytes` of VRAM at `gpa` in the place of what was mapped, then call [`Vsp::vram_mapped`].
    MapVram {
        /// Guest physical address, on a page; `gpa + bytes` does not overflow.
        gpa: u64,
        /// Bytes, from [`VspConfig::vram_bytes`].
        bytes: u64,
        /// What the acknowledgement will carry; Linux repeats the address here.
        user_ctx: u64,
    },
    /// The screen has a new shape, or the old one again. It lies inside of VRAM.
    Situation(Situation),
    /// Pixels changed. Judge each rectangle with [`crate::DirtVerdict::of`] and the bounds of [`Vsp::situation`].
    Dirt(DirtRects<'a>),
    /// The pointer moved.
    PointerPosition(PointerPosition),
    /// The pointer has a new shape; its pixels are in [`Vsp::pointer_pixels`].
    PointerShape(PointerShape),
}

/// What a [`Vsp`] counted since it was made; [`Vsp::reset`] does not clear it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VspStats {
    /// Messages received, good or bad.
    pub messages: u64,
    /// Messages that held a fault.
    pub faults: u64,
    /// Messages with a number that does not exist; ignored.
    pub unknown_messages: u64,
    /// Messages with bytes after their last field; the bytes were ignored.
    pub overlong_messages: u64,
    /// DIRT while it was not wanted; carried out all the same, as it may have crossed our FEATURE_CHANGE.
    pub unwanted_dirt: u64,
    /// Requests for VRAM that the caller refused; they were not acknowledged.
    pub vram_refused: u64,
    /// Answers that were never sent because a newer one of the same kind took their place.
    pub superseded_answers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VramState {
    Undeclared,
    /// The caller was asked to map it.
    Mapping {
        user_ctx: u64,
    },
    Mapped,
}

/// The state machine of a synthetic video device.
///
/// Feed it one message at a time with [`Self::receive`], carry out the action, and send what
/// [`Self::poll_transmit`] yields. It never blocks, allocates or calls back, and holds at most one unsent answer
/// of each kind, whatever the guest does.
///
/// *Order*: VERSION_REQUEST comes first, and may be repeated until VRAM is declared. SITUATION_UPDATE needs mapped
/// VRAM, DIRT needs a situation. Everything else may come at any time after the version.
/// A message that breaks a rule is a [`ProtocolFault`] and changes nothing but the counters.
///
/// About 37 KiB, because it holds a whole pointer.
pub struct Vsp {
    config: VspConfig,
    version: Option<Version>,
    vram: VramState,
    situation: Option<Situation>,
    wanted: Option<Features>,
    pointer: ShapeAssembly,
    transmit: TransmitQueue,
    stats: VspStats,
}

impl Vsp {
    /// A device to which no guest has spoken.
    #[must_use]
    pub const fn new(config: VspConfig) -> Self {
        Self {
            config,
            version: None,
            vram: VramState::Undeclared,
            situation: None,
            wanted: None,
            pointer: ShapeAssembly::new(),
            transmit: TransmitQueue::new(),
            stats: VspStats {
                messages: 0,
                faults: 0,
                unknown_messages: 0,
                overlong_messages: 0,
                unwanted_dirt: 0,
                vram_refused: 0,
                superseded_answers: 0,
            },
        }
    }

    /// Takes one message: what was inside the pipe header.
    ///
    /// *Errors*: a [`ProtocolFault`] if the guest broke a rule; the message then has no effect, and the caller
    /// should close the channel. A message with an unknown number is counted and ignored.
    pub fn receive<'a>(&mut self, message: &'a [u8]) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        self.stats.messages += 1;
        let result = self.dispatch(message);
        self.stats.faults += u64::from(result.is_err());
        result
    }

    /// Says whether the VRAM of [`VspAction::MapVram`] is backed.
    ///
    /// *Guest-visible effect*: `true` queues VRAM_LOCATION_ACK; on `false` the device stays silent, and Linux gives
    /// up after 10 s. Without a request that waits, nothing happens.
    pub fn vram_mapped(&mut self, ok: bool) {
        let VramState::Mapping { user_ctx } = self.vram else { return };
        if ok {
            self.vram = VramState::Mapped;
            self.queue(Outgoing::VramLocationAck { user_ctx });
        } else {
            self.vram = VramState::Undeclared;
            self.stats.vram_refused += 1;
        }
    }

    /// Test equipment: VRAM is backed, as with [`Self::vram_mapped`], but no acknowledgement is queued. Gives the context that one
    /// would carry; `None`, and nothing changes, without a request that waits.
    pub fn vram_mapped_unacknowledged(&mut self) -> Option<u64> {
        let VramState::Mapping { user_ctx } = self.vram else { return None };
        self.vram = VramState::Mapped;
        Some(user_ctx)
    }

    /// Test equipment: queues VRAM_LOCATION_ACK with whatever context, if VRAM is mapped.
    pub fn acknowledge_vram(&mut self, user_ctx: u64) {
        if self.vram == VramState::Mapped {
            self.queue(Outgoing::VramLocationAck { user_ctx });
        }
    }

    /// Queues FEATURE_CHANGE. One that is not yet sent is replaced.
    ///
    /// Before a version is accepted it is held back, and follows VERSION_RESPONSE. When to say what is the caller's
    /// policy: after each SITUATION_UPDATE is safe with Linux, and a repetition makes hyperv_fb send its pointer
    /// and situation again, but never a DIRT.
    pub fn want(&mut self, features: Features) {
        self.wanted = Some(features);
        if self.version.is_some() {
            self.queue(Outgoing::FeatureChange(features));
        }
    }

    /// Makes `mode` the default of the list and the EDID that guests are told from now on; false, and nothing changes, if
    /// it is not in the list.
    ///
    /// *Guest-visible effect*: none by itself. The protocol has no message that sets a guest's mode: one that asks for
    /// the list again, as a driver does when it probes, finds another default.
    pub fn offer_mode(&mut self, mode: Mode) -> bool {
        let Some(modes) = self.config.modes.with_default(mode) else { return false };
        self.config.modes = modes;
        self.config.edid = Edid::for_mode(mode);
        true
    }

    /// Writes the next message for the guest to `buf` and gives its length, or `None` if there is none.
    ///
    /// `buf` must hold [`wire::MAX_HOST_MESSAGE_BYTES`]; a message that does not fit stays queued and gives `None`.
    /// The answer changes after [`Self::receive`], [`Self::vram_mapped`], [`Self::want`] and [`Self::reset`].
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<usize> {
        let len = self.transmit.front()?.encode(&self.config, buf)?;
        self.transmit.pop();
        Some(len)
    }

    /// Back to the state of a new device, as when the channel closes. The counters stay.
    ///
    /// The caller unmaps VRAM itself.
    pub fn reset(&mut self) {
        self.version = None;
        self.vram = VramState::Undeclared;
        self.situation = None;
        self.wanted = None;
        self.pointer.reset();
        self.transmit.clear();
    }

    /// [`Self::poll_transmit`] has something to send.
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        self.transmit.front().is_some()
    }

    /// The version agreed upon.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// VRAM is mapped and acknowledged.
    #[must_use]
    pub fn is_vram_mapped(&self) -> bool {
        self.vram == VramState::Mapped
    }

    /// The screen as the guest last described it in the VRAM that it last declared.
    #[must_use]
    pub fn situation(&self) -> Option<&Situation> {
        self.situation.as_ref()
    }

    /// What [`Self::want`] was last told.
    #[must_use]
    pub fn wanted(&self) -> Option<Features> {
        self.wanted
    }

    /// The shape of the pointer and its pixels; `None` before the first, and while a new one is coming in parts.
    #[must_use]
    pub fn pointer_pixels(&self) -> Option<(PointerShape, &[u8])> {
        self.pointer.whole()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &VspStats {
        &self.stats
    }

    /// What the device offers.
    #[must_use]
    pub fn config(&self) -> &VspConfig {
        &self.config
    }

    fn dispatch<'a>(&mut self, message: &'a [u8]) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        if message.len() > MAX_GUEST_MESSAGE_BYTES {
            return Err(ProtocolFault::TooLong { len: message.len() });
        }
        let Ok((header, body)) = wire::Header::read_from_prefix(message) else {
            return Err(ProtocolFault::NoHeader { len: message.len() });
        };
        let Some(kind) = MessageType::from_number(header.kind.get()) else {
            self.stats.unknown_messages += 1;
            return Ok(None);
        };
        if kind.direction() == Direction::HostToGuest {
            return Err(ProtocolFault::WrongDirection(kind));
        }
        if kind != MessageType::VersionRequest && self.version.is_none() {
            return Err(ProtocolFault::BeforeVersion(kind));
        }
        match kind {
            MessageType::VersionRequest => {
                let request = self.read(kind, body)?;
                self.version_request(request)
            }
            MessageType::VramLocation => {
                let location = self.read(kind, body)?;
                self.vram_location(location)
            }
            MessageType::SituationUpdate => self.situation_update(body),
            MessageType::PointerPosition => {
                let position: wire::PointerPosition = self.read(kind, body)?;
                Ok(Some(VspAction::PointerPosition(position.try_into()?)))
            }
            MessageType::PointerShape => Ok(self.pointer.receive(body)?.map(VspAction::PointerShape)),
            MessageType::Dirt => self.dirt(body),
            MessageType::BiosInfoRequest => {
                self.stats.overlong_messages += u64::from(!body.is_empty());
                self.queue(Outgoing::BiosInfo);
                Ok(None)
            }
            MessageType::CapabilityRequest => {
                self.stats.overlong_messages += u64::from(!body.is_empty());
                self.queue(Outgoing::Capability);
                Ok(None)
            }
            MessageType::ResolutionRequest => {
                let request: wire::ResolutionRequest = self.read(kind, body)?;
                self.queue(Outgoing::Resolutions { max: request.maximum_resolution_count });
                Ok(None)
            }
            MessageType::VersionResponse
            | MessageType::VramLocationAck
            | MessageType::SituationUpdateAck
            | MessageType::FeatureChange
            | MessageType::BiosInfoResponse
            | MessageType::ResolutionResponse
            | MessageType::CapabilityResponse => Err(ProtocolFault::WrongDirection(kind)),
        }
    }

    fn version_request<'a>(
        &mut self,
        request: wire::VersionRequest,
    ) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        if self.vram != VramState::Undeclared {
            return Err(ProtocolFault::VersionAfterVram);
        }
        let version = Version(request.version.get());
        let accepted = self.config.versions.contains(version);
        self.version = accepted.then_some(version);
        // What waits belongs to the version before.
        self.stats.superseded_answers += self.transmit.clear();
        self.queue(Outgoing::VersionResponse { version, accepted });
        if let (true, Some(features)) = (accepted, self.wanted) {
            self.queue(Outgoing::FeatureChange(features));
        }
        Ok(Some(VspAction::Version { version, accepted }))
    }

    fn vram_location<'a>(
        &mut self,
        location: wire::VramLocation,
    ) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        if location.is_vram_gpa_specified != 1 {
            return Err(ProtocolFault::VramUnspecified(location.is_vram_gpa_specified));
        }
        let gpa = location.vram_gpa.get();
        let bytes = self.config.vram_bytes;
        if !gpa.is_multiple_of(PAGE_BYTES) {
            return Err(ProtocolFault::VramUnaligned { gpa });
        }
        if gpa.checked_add(bytes).is_none() {
            return Err(ProtocolFault::VramWraps { gpa, bytes });
        }
        let user_ctx = location.user_ctx.get();
        // An acknowledgement of the memory that the guest has just left would be taken for this one's.
        self.stats.superseded_answers += u64::from(self.transmit.drop_kind(VRAM_ACK));
        self.vram = VramState::Mapping { user_ctx };
        self.situation = None;
        Ok(Some(VspAction::MapVram { gpa, bytes, user_ctx }))
    }

    fn situation_update<'a>(&mut self, body: &[u8]) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        let kind = MessageType::SituationUpdate;
        let Ok((head, rest)) = wire::SituationUpdate::read_from_prefix(body) else {
            return Err(ProtocolFault::TooShort {
                kind,
                len: body.len(),
                need: size_of::<wire::SituationUpdate>(),
            });
        };
        if head.video_output_count != 1 {
            return Err(ProtocolFault::SituationCount(head.video_output_count));
        }
        let Ok((output, extra)) = wire::SituationOutput::read_from_prefix(rest) else {
            let need = size_of::<wire::SituationUpdate>() + size_of::<wire::SituationOutput>();
            return Err(ProtocolFault::TooShort { kind, len: body.len(), need });
        };
        self.stats.overlong_messages += u64::from(!extra.is_empty());
        if self.vram != VramState::Mapped {
            return Err(ProtocolFault::SituationBeforeVram);
        }
        let situation = Situation::try_from(output)?;
        situation.check_vram(self.config.vram_bytes)?;
        self.situation = Some(situation);
        self.queue(Outgoing::SituationAck { user_ctx: head.user_ctx.get() });
        Ok(Some(VspAction::Situation(situation)))
    }

    fn dirt<'a>(&mut self, body: &'a [u8]) -> Result<Option<VspAction<'a>>, ProtocolFault> {
        if self.situation.is_none() {
            return Err(ProtocolFault::DirtBeforeSituation);
        }
        let rects = DirtRects::parse(body)?;
        self.stats.unwanted_dirt += u64::from(!self.wanted.unwrap_or_default().dirt);
        Ok(Some(VspAction::Dirt(rects)))
    }

    fn queue(&mut self, message: Outgoing) {
        self.stats.superseded_answers += u64::from(self.transmit.push(message));
    }

    /// Reads a body of fixed size.
    fn read<T: FromBytes>(&mut self, kind: MessageType, body: &[u8]) -> Result<T, ProtocolFault> {
        let Ok((value, extra)) = T::read_from_prefix(body) else {
            return Err(ProtocolFault::TooShort { kind, len: body.len(), need: size_of::<T>() });
        };
        self.stats.overlong_messages += u64::from(!extra.is_empty());
        Ok(value)
    }
}
