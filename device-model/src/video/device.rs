//! The device: one channel, one protocol machine, one VRAM, one surface.

use surface::{Cursor, Surface, VramMapper};
use synthvid::{
    DirtRects, DirtVerdict, Features, Mode, ModeList, ModeListError, ProtocolFault, Rect, Situation, Size,
    Vsp, VspAction, VspConfig,
    wire::{Dirt, DirtRect, HEADER_BYTES, MessageType},
};
use thiserror::Error;
use vmbus::server::{OfferParams, PipeMode};
use vmbus::{Guid, pipe};

use super::implied::ImpliedDamage;
use super::misbehaviour::Misbehaviour;
use super::overlap::without_overlap;
use super::scanout::{MappedVram, Scanout};
use crate::channel::{ChannelDevice, DeviceContext, DeviceFault};
use crate::log_limit::LogLimit;
use crate::observer::{DirtEvent, ImpliedRepaint, Observer, RepaintCause, VideoEvent};
use crate::options::{Repaint, SynthvidOptions};

/// Interface of a synthetic video device (`HV_SYNTHVID_GUID` in Linux `include/linux/hyperv.h`).
const INTERFACE: Guid = Guid::from_u128(0xda0a7802_e377_4aac_8e77_0558eb1073f8);
/// Our instance of it; any unique value does.
const INSTANCE: Guid = Guid::from_u128(0x6b8c9d2e_51f4_4c0a_9a37_2f61d0c4b8e5);

/// Payload of a DIRT of one rectangle, as Linux sends it: 64 bytes of ring with descriptor and trailer.
#[expect(clippy::cast_possible_truncation, reason = "34 bytes")]
const DIRT_PACKET_BYTES: u32 =
    (pipe::HEADER_SIZE + HEADER_BYTES + size_of::<Dirt>() + size_of::<DirtRect>()) as u32;
const _: () = assert!(DIRT_PACKET_BYTES == 34, "what Linux sends");

/// The options do not describe a device that can be offered.
#[derive(Debug, Error)]
pub enum SynthvidError {
    /// An edge of a mode does not fit the wire's 16 bits.
    #[error("mode {0} does not fit the wire, limit is 65535 either way")]
    ModeSize(Size),
    /// The list itself is wrong.
    #[error(transparent)]
    Modes(#[from] ModeListError),
}

/// Why a guest is not asked to change to a mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModeRefusal {
    /// It needs more video memory than there is.
    #[error("mode {size} needs {need} bytes of video memory, there are {vram_bytes}")]
    TooLarge {
        /// The mode.
        size: Size,
        /// Bytes at 32 bits a pixel.
        need: u64,
        /// Bytes that there are.
        vram_bytes: u64,
    },
    /// The guest was not offered it.
    #[error("mode {size} is not offered to the guest, offered are {}", list(listed))]
    NotOffered {
        /// The mode.
        size: Size,
        /// Those that are.
        listed: Vec<Size>,
    },
}

fn list(sizes: &[Size]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A copy of the screen, and what it shows.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `0x00RRGGBB`, row by row, without gaps.
    pub pixels: Vec<u32>,
}

/// A synthetic video device.
pub struct Synthvid {
    options: SynthvidOptions,
    vsp: Vsp,
    mapper: Box<dyn VramMapper>,
    vram: Option<MappedVram>,
    /// Times that VRAM was mapped.
    mappings: u64,
    situation: Option<Situation>,
    surface: Surface,
    cursor: Cursor,
    implied: ImpliedDamage,
    misbehaviour: Misbehaviour,
    /// What the host wants now.
    dirt_wanted: bool,
    /// What the guest was last told since it opened the channel.
    dirt_told: Option<bool>,
    /// Rectangles of the message at hand; kept for its allocation.
    accepted: Vec<Rect>,
    log: LogLimit,
}

impl Synthvid {
    /// A device as `options` describe it, whose VRAM `mapper` will map.
    ///
    /// *Errors*: options that no offer can hold; [`SynthvidOptions::parse`] lets none of them through.
    pub fn new(options: SynthvidOptions, mapper: Box<dyn VramMapper>) -> Result<Self, SynthvidError> {
        let modes = mode_list(&options)?;
        let config = VspConfig { versions: options.versions(), ..VspConfig::new(modes, options.vram_bytes) };
        let vsp = Vsp::new(config);
        Ok(Self {
            implied: ImpliedDamage::new(options.repaint == Repaint::Implied),
            misbehaviour: Misbehaviour::new(options.vram_ack, options.stall),
            dirt_wanted: options.dirt,
            dirt_told: None,
            vsp,
            mapper,
            vram: None,
            mappings: 0,
            situation: None,
            surface: Surface::new(),
            cursor: Cursor::new(),
            accepted: Vec::new(),
            log: LogLimit::new(),
            options,
        })
    }

    /// What the device was made from.
    pub fn options(&self) -> &SynthvidOptions {
        &self.options
    }

    /// The host's surface: what the guest declared, and nothing else.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// A copy of the surface.
    pub fn picture(&self) -> Picture {
        Picture {
            width: self.surface.size().width,
            height: self.surface.size().height,
            pixels: self.surface.pixels().to_vec(),
        }
    }

    /// A copy of the surface with the guest's pointer drawn over it.
    pub fn picture_with_pointer(&self) -> Picture {
        let mut picture = self.picture();
        self.cursor.blend(&mut picture.pixels, self.surface.size());
        picture
    }

    /// The guest's pointer.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Asks the guest to change to `size`, and makes that the default for guests that come later.
    ///
    /// *Guest-visible effect*: the list of modes has another default, and FEATURE_CHANGE asks for the situation. What
    /// comes of it is the guest's choice, to be seen in [`Self::situation`]: Linux's drivers keep the mode that they
    /// chose when they probed.
    ///
    /// *Errors*: [`ModeRefusal`]; nothing changes.
    pub fn request_mode(&mut self, size: Size) -> Result<(), ModeRefusal> {
        let SynthvidOptions { modes, vram_bytes, .. } = &self.options;
        let need = size.area().saturating_mul(4);
        if need > *vram_bytes {
            return Err(ModeRefusal::TooLarge { size, need, vram_bytes: *vram_bytes });
        }
        let place = modes.iter().position(|mode| *mode == size);
        let place = place.ok_or_else(|| ModeRefusal::NotOffered { size, listed: modes.clone() })?;
        let mode = |edge: u32| u16::try_from(edge).unwrap_or(u16::MAX);
        self.vsp.offer_mode(Mode::new(mode(size.width), mode(size.height)));
        self.options.default_mode = place;
        if self.situation.is_some() {
            self.vsp.want(Features { situation: true, ..self.features() });
        }
        Ok(())
    }

    /// What the guest is asked for.
    fn features(&self) -> Features {
        Features { dirt: self.dirt_wanted, pointer_position: true, pointer_shape: true, situation: false }
    }

    /// The screen as the guest last described it.
    pub fn situation(&self) -> Option<&Situation> {
        self.situation.as_ref()
    }

    /// A repaint is waiting to be done, so the picture is not final.
    pub fn repaint_pending(&self) -> bool {
        self.implied.deadline_ns().is_some()
    }

    /// Says whether the host wants DIRT from now on; the guest hears of it with the next packets.
    pub fn want_dirt(&mut self, wanted: bool) {
        self.dirt_wanted = wanted;
    }

    /// Tells the guest what is wanted, if it has described its screen and was told otherwise before.
    ///
    /// Once per change and no more: hyperv_fb answers each FEATURE_CHANGE with a SITUATION_UPDATE.
    fn announce_demand(&mut self, now_ns: u64, observer: &mut dyn Observer) {
        if self.situation.is_none() || self.dirt_told == Some(self.dirt_wanted) {
            return;
        }
        self.vsp.want(self.features());
        if self.dirt_told == Some(false) && self.dirt_wanted {
            self.implied.note(RepaintCause::DirtWanted, now_ns);
        }
        self.dirt_told = Some(self.dirt_wanted);
        observer.video(now_ns, &VideoEvent::FeatureChange { dirt: self.dirt_wanted });
        self.tell_scanout(now_ns, observer);
    }

    fn tell_scanout(&self, now_ns: u64, observer: &mut dyn Observer) {
        let scanout = Scanout {
            vram: self.vram.clone(),
            situation: self.situation,
            dirt_wanted: self.dirt_told == Some(true),
            repaint_due_ns: self.implied.deadline_ns(),
        };
        observer.scanout(now_ns, &scanout);
    }

    fn map_vram(&mut self, gpa: u64, bytes: u64, context: &mut DeviceContext<'_>) {
        context.observer.take_stock(context.now_ns);
        // The Vsp has dropped the situation too: its shape belonged to the memory that the guest has left.
        self.situation = None;
        if self.vram.take().is_some() {
            context.observer.video(context.now_ns, &VideoEvent::VramUnmapped);
        }
        match self.mapper.map(gpa, bytes) {
            Ok(window) => {
                self.mappings += 1;
                self.misbehaviour.vram_mapped(&mut self.vsp, context.now_ns);
                self.implied.note(RepaintCause::VramMoved, context.now_ns);
                let kind = self.mapper.kind();
                self.vram = Some(MappedVram { bytes: window, gpa, kind, mapping: self.mappings });
                if let Some(kind) = kind {
                    context.observer.video(context.now_ns, &VideoEvent::VramMapped { gpa, bytes, kind });
                }
            }
            Err(error) => {
                self.vsp.vram_mapped(false);
                if let Some(suppressed) = self.log.admit(context.now_ns) {
                    tracing::warn!(suppressed, "VRAM of the guest is not acknowledged: {error}");
                }
                context.observer.video(context.now_ns, &VideoEvent::VramRefused { gpa });
            }
        }
        self.tell_scanout(context.now_ns, context.observer);
    }

    fn change_situation(&mut self, situation: Situation, context: &mut DeviceContext<'_>) {
        self.surface.resize(situation.size());
        // Linux repeats its situation as an answer to FEATURE_CHANGE; only a new one means new pixels.
        let is_new = self.situation != Some(situation);
        if is_new {
            context.observer.take_stock(context.now_ns);
            self.implied.note(RepaintCause::Situation, context.now_ns);
        }
        self.situation = Some(situation);
        let event = VideoEvent::Situation {
            width: situation.width,
            height: situation.height,
            pitch: situation.pitch_bytes,
            depth: situation.format.depth_bits(),
            active: situation.active,
        };
        context.observer.video(context.now_ns, &event);
        if is_new {
            self.tell_scanout(context.now_ns, context.observer);
        }
        self.announce_demand(context.now_ns, context.observer);
    }
}

impl Synthvid {
    fn apply_dirt(
        &mut self,
        rects: DirtRects<'_>,
        context: &mut DeviceContext<'_>,
    ) -> Result<(), DeviceFault> {
        let (Some(situation), Some(vram)) = (self.situation, self.vram.clone()) else {
            return Err(DeviceFault::Protocol("DIRT without a screen".into()));
        };
        self.misbehaviour.dirt(context.now_ns);
        context.observer.take_stock(context.now_ns);
        let bounds = situation.bounds();
        let count = rects.len();
        self.accepted.clear();
        self.accepted.extend(rects.filter_map(|rect| DirtVerdict::of(rect, bounds).accepted()));
        let declared_px = self.accepted.iter().map(Rect::area).sum();
        // More pixels than the screen has: some are declared more than once, and one copy of each is enough.
        let cut = (declared_px > bounds.area()).then(|| without_overlap(&self.accepted));
        let mut changed_px = 0;
        for rect in cut.as_ref().unwrap_or(&self.accepted) {
            let applied = self.surface.apply(vram.bytes.as_ref(), &situation, *rect).map_err(vram_lost)?;
            changed_px += applied.changed_px;
        }
        let rejected = count - self.accepted.len();
        context.observer.dirt(&DirtEvent {
            doorbell_ns: context.doorbell_ns,
            done_ns: context.clock.now_ns(),
            rects: u32::try_from(count).unwrap_or(u32::MAX),
            rejected_rects: u32::try_from(rejected).unwrap_or(u32::MAX),
            declared_px,
            changed_px,
            accepted: &self.accepted,
        });
        Ok(())
    }

    /// Copies the whole screen for a cause that is no DIRT.
    fn repaint(&mut self, cause: RepaintCause, context: &mut DeviceContext<'_>) {
        let (Some(situation), Some(vram)) = (self.situation, self.vram.clone()) else { return };
        context.observer.take_stock(context.now_ns);
        match self.surface.apply(vram.bytes.as_ref(), &situation, situation.bounds()) {
            Ok(applied) => {
                let repaint = ImpliedRepaint { cause, px: applied.copied_px, changed_px: applied.changed_px };
                context.observer.implied_repaint(context.now_ns, &repaint);
            }
            Err(error) => tracing::warn!("the screen cannot be repainted: {error}"),
        }
        self.tell_scanout(context.now_ns, context.observer);
    }

    fn forget_handshake(&mut self) {
        self.vsp.reset();
        self.cursor.reset();
        self.implied.clear();
        self.misbehaviour.channel_closed();
        self.situation = None;
        self.dirt_told = None;
    }

    /// Lets go of what the guest set up; the last picture stays.
    fn release(&mut self, context: &mut DeviceContext<'_>) {
        context.observer.take_stock(context.now_ns);
        self.forget_handshake();
        if self.vram.take().is_some() {
            self.mapper.unmap();
            context.observer.video(context.now_ns, &VideoEvent::VramUnmapped);
        }
        self.tell_scanout(context.now_ns, context.observer);
    }
}

impl ChannelDevice for Synthvid {
    fn offer(&self) -> OfferParams {
        OfferParams {
            interface_type: INTERFACE,
            instance: INSTANCE,
            pipe: PipeMode::Message,
            mmio_megabytes: u16::try_from(self.options.vram_bytes >> 20).unwrap_or(u16::MAX),
        }
    }

    fn expected_packet_bytes(&self) -> Option<u32> {
        Some(DIRT_PACKET_BYTES)
    }

    fn opened(&mut self, context: &mut DeviceContext<'_>) {
        self.release(context);
    }

    fn receive(&mut self, payload: &[u8], context: &mut DeviceContext<'_>) -> Result<(), DeviceFault> {
        let message = pipe::unframe(payload).map_err(|fault| DeviceFault::Pipe(fault.to_string()))?;
        let unknown = self.vsp.stats().unknown_messages;
        let action = self.vsp.receive(message).map_err(fault_of)?;
        match action {
            None if self.vsp.stats().unknown_messages != unknown => {
                return Err(DeviceFault::Ignored("video message with an unknown number".into()));
            }
            None => {}
            Some(VspAction::Version { version, accepted }) => {
                let event = VideoEvent::Version { major: version.major(), minor: version.minor(), accepted };
                context.observer.video(context.now_ns, &event);
            }
            Some(VspAction::MapVram { gpa, bytes, .. }) => self.map_vram(gpa, bytes, context),
            Some(VspAction::Situation(situation)) => self.change_situation(situation, context),
            Some(VspAction::Dirt(rects)) => self.apply_dirt(rects, context)?,
            Some(VspAction::PointerPosition(position)) => {
                self.cursor.set_position(position);
                let event =
                    VideoEvent::PointerPosition { visible: position.visible, x: position.x, y: position.y };
                context.observer.video(context.now_ns, &event);
            }
            Some(VspAction::PointerShape(shape)) => {
                if let Some((shape, pixels)) = self.vsp.pointer_pixels() {
                    self.cursor.set_shape(shape, pixels);
                }
                let event = VideoEvent::PointerShape { width: shape.size.width, height: shape.size.height };
                context.observer.video(context.now_ns, &event);
            }
        }
        Ok(())
    }

    fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (header, body) = buffer.split_at_mut_checked(pipe::HEADER_SIZE)?;
        let len = self.vsp.poll_transmit(body)?;
        header.copy_from_slice(&pipe::header(len).ok()?);
        Some(pipe::HEADER_SIZE + len)
    }

    fn closed(&mut self, context: &mut DeviceContext<'_>) {
        self.release(context);
    }

    /// VRAM stays where it is: hyperv_fb goes on copying its screen until it has been removed, and without memory behind it each
    /// byte of a row would be an exit.
    fn withdrawn(&mut self, context: &mut DeviceContext<'_>) {
        context.observer.take_stock(context.now_ns);
        self.forget_handshake();
        self.tell_scanout(context.now_ns, context.observer);
    }

    fn stalled_until_ns(&self) -> Option<u64> {
        self.misbehaviour.stalled_until_ns()
    }

    fn tick(&mut self, context: &mut DeviceContext<'_>) {
        self.misbehaviour.tick(&mut self.vsp, context.now_ns);
        self.announce_demand(context.now_ns, context.observer);
        if let Some(cause) = self.implied.take_due(context.now_ns) {
            self.repaint(cause, context);
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        let announce = (self.situation.is_some() && self.dirt_told != Some(self.dirt_wanted)).then_some(0);
        announce.into_iter().chain(self.implied.deadline_ns()).chain(self.misbehaviour.deadline_ns()).min()
    }
}

/// The offered modes as the wire has them.
fn mode_list(options: &SynthvidOptions) -> Result<ModeList, SynthvidError> {
    let modes: Vec<Mode> = options
        .modes
        .iter()
        .map(|size| match (u16::try_from(size.width), u16::try_from(size.height)) {
            (Ok(width), Ok(height)) => Ok(Mode::new(width, height)),
            _ => Err(SynthvidError::ModeSize(*size)),
        })
        .collect::<Result<_, _>>()?;
    Ok(ModeList::new(&modes, options.default_mode)?)
}

/// A broken rule, and whether the channel can go on.
///
/// A DIRT that comes too early names pixels of a screen that is not there, and costs nothing: hyperv_drm that thaws still holds dirt
/// for wanted, and its worker may run before the mode is set again. A host that closed the channel would leave it without a screen.
fn fault_of(fault: ProtocolFault) -> DeviceFault {
    match fault {
        ProtocolFault::DirtBeforeSituation | ProtocolFault::BeforeVersion(MessageType::Dirt) => {
            DeviceFault::Ignored(fault.to_string())
        }
        _ => DeviceFault::Protocol(fault.to_string()),
    }
}

/// The situation was checked against the VRAM, so this is memory that went away.
fn vram_lost(error: surface::VramError) -> DeviceFault {
    DeviceFault::Protocol(format!("VRAM cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
