//! Why a simulated guest cannot go on.

use synic::loopback::LoopbackError;
use synic::page::PageFault;
use synic::user::MsrFault;
use synthvid::Size;
use synthvid::vsc::VscFault;
use thiserror::Error;
use vmbus::ChannelId;
use vmbus::client::{ClientError, HostFault};
use vmbus::ring::{OpenFault, RingFault};

use crate::memory::MemoryError;

/// The guest gave up: its host broke a rule, or offers what the guest cannot use.
///
/// What went wrong is in the text; call [`crate::SimGuest::step`] no more.
#[derive(Debug, Error)]
pub enum SimError {
    /// Its memory could not be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Its SynIC could not be made.
    #[error(transparent)]
    Loopback(#[from] LoopbackError),
    /// The SynIC refused a register that every Linux guest writes.
    #[error(transparent)]
    Msr(#[from] MsrFault),
    /// A page of its own could not be used.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// A message to the bus was refused for good.
    #[error("control message of type {kind} was refused with status {status:#x}")]
    Refused {
        /// Its number.
        kind: u32,
        /// Status of the hypercall.
        status: u16,
    },
    /// The host takes none of the VMBus versions.
    #[error("the host takes none of the guest's VMBus versions")]
    NoVersion,
    /// The host refused to take pages or to open a channel.
    #[error("the host refused {0}")]
    RefusedRequest(&'static str),
    /// The host broke a rule of the control channel.
    #[error("control channel: {0}")]
    Host(#[from] HostFault),
    /// The script asked for what the control channel cannot do now; a mistake of this crate.
    #[error("control channel: {0}")]
    Client(#[from] ClientError),
    /// Video is offered without a pipe of messages, or through the monitor page.
    #[error("channel {0} is no pipe of messages with an event flag of its own")]
    Framing(ChannelId),
    /// The rings have a size that rings cannot have.
    #[error(transparent)]
    Ring(OpenFault),
    /// The host broke a ring.
    #[error("ring from the host: {0}")]
    HostRing(RingFault),
    /// A message is longer than the channel takes.
    #[error("message of {len} bytes does not fit the channel")]
    TooLong {
        /// Bytes.
        len: usize,
    },
    /// The host broke a rule of the video protocol, or did not answer in time.
    #[error("synthetic video: {0}")]
    Video(VscFault),
    /// The host offers no VRAM.
    #[error("the video channel is offered with 0 MiB of VRAM")]
    NoVram,
    /// The host offers more VRAM than fits into the MMIO window.
    #[error("VRAM of {bytes:#x} bytes does not fit into the MMIO window, limit is {limit:#x}")]
    WindowTooSmall {
        /// Bytes offered.
        bytes: u64,
        /// Bytes in the window.
        limit: u64,
    },
    /// The mode that the host proposes does not fit into the VRAM that it offers.
    #[error("mode {size} takes {bytes:#x} bytes, VRAM has {limit:#x}")]
    ModeTooLarge {
        /// The mode.
        size: Size,
        /// Bytes it takes.
        bytes: u64,
        /// Bytes of VRAM.
        limit: u64,
    },
}
