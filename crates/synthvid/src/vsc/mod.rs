//! The guest's end of the protocol, as Linux's two drivers play it.
//!
//! For simulated guests and for tests of the host's end: it holds the host to what Linux relies on, so an answer
//! that came twice or out of turn is a [`VscFault`].

mod messages;

use zerocopy::FromBytes;

use messages::{GuestQueue, Outgoing};

use crate::geometry::Rect;
use crate::modes::Mode;
use crate::situation::{PixelFormat, Situation};
use crate::version::Version;
use crate::vsp::Features;
use crate::wire::{self, Direction, MAX_RESOLUTIONS, MessageType};

/// Which driver the client plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriverModel {
    /// `hyperv_fb`: answers each FEATURE_CHANGE with pointer and situation, and gives up without VRAM.
    HypervFb,
    /// `hyperv_drm`: answers FEATURE_CHANGE(dirt) with the pointer alone, and goes on without VRAM.
    HypervDrm,
}

impl DriverModel {
    /// The mode that the driver takes when the host offers none.
    #[must_use]
    pub const fn fallback_mode(self) -> Mode {
        match self {
            Self::HypervFb => Mode::new(1152, 864),
            Self::HypervDrm => Mode::new(1600, 1200),
        }
    }
}

/// What the client will do.
#[derive(Clone, Copy, Debug)]
pub struct VscConfig {
    /// The driver.
    pub driver: DriverModel,
    /// Versions to ask for, one after another until the host accepts one. Linux takes them from the version of
    /// VMBus: 3.5 alone, 3.5 then 3.2, or 3.2 alone.
    pub versions: &'static [Version],
    /// Guest physical address of VRAM.
    pub vram_gpa: u64,
}

impl VscConfig {
    /// `driver` on a current VMBus: 3.5 and nothing else.
    #[must_use]
    pub const fn new(driver: DriverModel, vram_gpa: u64) -> Self {
        Self { driver, versions: &[Version::V3_5], vram_gpa }
    }
}

/// What the host's message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VscEvent {
    /// The host accepted this version.
    VersionAccepted(Version),
    /// The host refused this version; the next one is queued.
    VersionRefused(Version),
    /// The host offers modes; the client takes this one.
    Mode(Mode),
    /// VRAM is backed; pointer and situation are queued, and drawing may start.
    Ready,
    /// The host took a situation over.
    SituationAck,
    /// The host says what it wants.
    FeatureChange(Features),
}

/// What the host did wrong, or why the driver gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VscFault {
    /// The message ends before its fields do.
    #[error("message of {len} bytes, {need} needed")]
    TooShort {
        /// Bytes received.
        len: usize,
        /// Bytes that its fields take.
        need: usize,
    },
    /// The number is none that a host may send.
    #[error("message {0} from the host, which never sends it")]
    NotFromHost(u32),
    /// An answer that nothing waits for. Linux would take it for the next one.
    #[error("{0} while the driver does not wait for it")]
    Unexpected(MessageType),
    /// The host refused every version.
    #[error("version {0} refused, none left to try")]
    NoVersion(Version),
    /// The acknowledgement is for other memory.
    #[error("VRAM_LOCATION_ACK for {got:#x}, declared {expected:#x}")]
    VramAck {
        /// What came.
        got: u64,
        /// What was declared.
        expected: u64,
    },
    /// The default is not one of the modes, or there are more than 64.
    #[error("default mode {index} of {count}, limit is 64")]
    Modes {
        /// Modes by the host's count.
        count: u8,
        /// The default.
        index: u8,
    },
    /// An answer did not come within 10 s, and the driver cannot do without.
    #[error("timed out waiting for {0}")]
    TimedOut(MessageType),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Closed,
    Version { attempt: usize },
    Modes,
    VramAck,
    Ready,
}

/// The state machine of a synthetic video driver.
///
/// Open the channel, call [`Self::start`], send what [`Self::poll_transmit`] yields, feed what comes to
/// [`Self::receive`]: the handshake runs by itself up to [`VscEvent::Ready`]. Then declare drawing with
/// [`Self::dirt`].
#[derive(Clone, Debug)]
pub struct Vsc {
    config: VscConfig,
    step: Step,
    mode: Mode,
    situation: Option<Situation>,
    features: Features,
    transmit: GuestQueue,
}

impl Vsc {
    /// A driver whose channel is closed.
    #[must_use]
    pub const fn new(config: VscConfig) -> Self {
        Self {
            config,
            step: Step::Closed,
            mode: config.driver.fallback_mode(),
            situation: None,
            features: Features::NONE,
            transmit: GuestQueue::new(),
        }
    }

    /// The channel is open: queues the first VERSION_REQUEST.
    pub fn start(&mut self) {
        self.reset();
        if let Some(version) = self.config.versions.first() {
            self.step = Step::Version { attempt: 0 };
            self.transmit.push(Outgoing::VersionRequest(*version));
        }
    }

    /// Takes one message of the host: what was inside the pipe header.
    ///
    /// *Errors*: [`VscFault`]; the state stays as it was, except that after [`VscFault::NoVersion`] the driver has
    /// given up.
    pub fn receive(&mut self, message: &[u8]) -> Result<VscEvent, VscFault> {
        let (header, body) = read::<wire::Header>(message)?;
        let number = header.kind.get();
        let kind = MessageType::from_number(number)
            .filter(|kind| kind.direction() == Direction::HostToGuest)
            .ok_or(VscFault::NotFromHost(number))?;
        match (kind, self.step) {
            (MessageType::VersionResponse, Step::Version { attempt }) => self.version_response(attempt, body),
            (MessageType::ResolutionResponse, Step::Modes) => self.resolution_response(body),
            (MessageType::VramLocationAck, Step::VramAck) => self.vram_ack(body),
            (MessageType::SituationUpdateAck, Step::Ready) => {
                read::<wire::SituationUpdateAck>(body)?;
                Ok(VscEvent::SituationAck)
            }
            (MessageType::FeatureChange, step) if step != Step::Closed => self.feature_change(body),
            _ => Err(VscFault::Unexpected(kind)),
        }
    }

    /// The answer that the driver waits for did not come.
    ///
    /// It tries the next version, takes its fallback mode, or, as hyperv_drm, goes on without an acknowledgement.
    ///
    /// *Errors*: [`VscFault::TimedOut`] if the driver gives up.
    pub fn timed_out(&mut self) -> Result<(), VscFault> {
        match self.step {
            Step::Version { attempt } => match self.next_version(attempt) {
                Some(_) => Ok(()),
                None => Err(VscFault::TimedOut(MessageType::VersionResponse)),
            },
            Step::Modes => {
                self.declare_vram();
                Ok(())
            }
            Step::VramAck if self.config.driver == DriverModel::HypervDrm => {
                self.become_ready();
                Ok(())
            }
            Step::VramAck => {
                self.step = Step::Closed;
                Err(VscFault::TimedOut(MessageType::VramLocationAck))
            }
            Step::Ready | Step::Closed => Ok(()),
        }
    }

    /// Changes the shape of the screen and queues SITUATION_UPDATE. Nothing is checked, so that a test can say
    /// nonsense.
    pub fn situate(&mut self, situation: Situation) {
        self.situation = Some(situation);
        self.transmit.push(Outgoing::SituationUpdate(situation));
    }

    /// Writes a DIRT of `rects` to `buf`, unchecked and in their order, and gives its length.
    ///
    /// `None` if the host does not want dirt, if the handshake is not over, if there are no rectangles or more
    /// than 255, or if `buf` is too short: the driver then sends nothing.
    #[must_use]
    pub fn dirt(&self, rects: &[Rect], buf: &mut [u8]) -> Option<usize> {
        if !self.is_dirt_wanted() {
            return None;
        }
        messages::encode_dirt(rects, buf)
    }

    /// Writes the next message for the host to `buf` and gives its length, or `None` if there is none.
    ///
    /// The answer changes after each call that takes `&mut self`.
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<usize> {
        let len = self.transmit.front()?.encode(buf)?;
        self.transmit.pop();
        Some(len)
    }

    /// The channel is closed.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// The handshake is over.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.step == Step::Ready
    }

    /// The handshake is over and the host wants dirt.
    #[must_use]
    pub fn is_dirt_wanted(&self) -> bool {
        self.is_ready() && self.features.dirt
    }

    /// The mode that the driver took.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The shape of the screen that was last declared.
    #[must_use]
    pub fn situation(&self) -> Option<&Situation> {
        self.situation.as_ref()
    }

    fn version_response(&mut self, attempt: usize, body: &[u8]) -> Result<VscEvent, VscFault> {
        let (response, _) = read::<wire::VersionResponse>(body)?;
        let asked = self.config.versions.get(attempt).copied().unwrap_or(Version::V3_5);
        if response.is_accepted == 0 {
            return match self.next_version(attempt) {
                Some(_) => Ok(VscEvent::VersionRefused(asked)),
                None => Err(VscFault::NoVersion(asked)),
            };
        }
        if asked == Version::V3_5 {
            self.step = Step::Modes;
            self.transmit.push(Outgoing::ResolutionRequest);
        } else {
            self.declare_vram();
        }
        Ok(VscEvent::VersionAccepted(asked))
    }

    fn resolution_response(&mut self, body: &[u8]) -> Result<VscEvent, VscFault> {
        let (head, rest) = read::<wire::ResolutionResponse>(body)?;
        let (count, index) = (head.resolution_count, head.default_resolution_index);
        if count != 0 {
            if usize::from(count) > MAX_RESOLUTIONS || index >= count {
                return Err(VscFault::Modes { count, index });
            }
            let need = usize::from(count) * size_of::<wire::Resolution>();
            let modes = <[wire::Resolution]>::ref_from_prefix_with_elems(rest, count.into());
            let Ok((modes, _)) = modes else { return Err(VscFault::TooShort { len: rest.len(), need }) };
            if let Some(mode) = modes.get(usize::from(index)) {
                self.mode = Mode::new(mode.width.get(), mode.height.get());
            }
        }
        self.declare_vram();
        Ok(VscEvent::Mode(self.mode))
    }

    fn vram_ack(&mut self, body: &[u8]) -> Result<VscEvent, VscFault> {
        let (ack, _) = read::<wire::VramLocationAck>(body)?;
        let (got, expected) = (ack.user_ctx.get(), self.config.vram_gpa);
        if got != expected {
            return Err(VscFault::VramAck { got, expected });
        }
        self.become_ready();
        Ok(VscEvent::Ready)
    }

    fn feature_change(&mut self, body: &[u8]) -> Result<VscEvent, VscFault> {
        let (change, _) = read::<wire::FeatureChange>(body)?;
        self.features = Features {
            dirt: change.is_dirt_needed != 0,
            pointer_position: change.is_pointer_position_needed != 0,
            pointer_shape: change.is_pointer_shape_needed != 0,
            situation: change.is_situation_needed != 0,
        };
        match self.config.driver {
            DriverModel::HypervFb if self.is_ready() => {
                self.hide_pointer();
                if let Some(situation) = self.situation {
                    self.situate(situation);
                }
            }
            DriverModel::HypervDrm if self.features.dirt => self.hide_pointer(),
            DriverModel::HypervFb | DriverModel::HypervDrm => {}
        }
        Ok(VscEvent::FeatureChange(self.features))
    }

    /// Queues the next version to ask for, or gives up.
    fn next_version(&mut self, attempt: usize) -> Option<Version> {
        let attempt = attempt.saturating_add(1);
        let version = self.config.versions.get(attempt).copied();
        self.step = version.map_or(Step::Closed, |_| Step::Version { attempt });
        self.transmit.push(Outgoing::VersionRequest(version?));
        version
    }

    fn declare_vram(&mut self) {
        self.step = Step::VramAck;
        self.transmit.push(Outgoing::VramLocation { gpa: self.config.vram_gpa });
    }

    fn become_ready(&mut self) {
        self.step = Step::Ready;
        self.hide_pointer();
        let size = self.mode.size();
        self.situate(Situation {
            active: true,
            vram_offset: 0,
            format: PixelFormat::Xrgb8888,
            width: size.width,
            height: size.height,
            pitch_bytes: size.width * PixelFormat::Xrgb8888.bytes(),
        });
    }

    fn hide_pointer(&mut self) {
        self.transmit.push(Outgoing::PointerPosition);
        self.transmit.push(Outgoing::PointerShape);
    }
}

fn read<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), VscFault> {
    T::read_from_prefix(bytes).map_err(|_| VscFault::TooShort { len: bytes.len(), need: size_of::<T>() })
}
