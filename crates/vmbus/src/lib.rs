//! VMBus without I/O: the control channel, GPADLs, ring buffers and pipe framing.
//!
//! Nothing here touches a SynIC, an eventfd, a clock or guest memory. Bytes go in, actions come out, and the
//! caller feeds completions back, so every rule can be stepped in a test and every hostile message costs one
//! function call.
//!
//! | module | what it holds |
//! |---|---|
//! | [`message`] | all control-channel messages as one table, and their wire structs |
//! | [`server`] | the host's control plane: contact, offers, GPADLs, channels |
//! | `client` | the guest's control plane (feature `client`), for simulated guests |
//! | [`ring`] | the two ring buffers of a channel, over any [`ring::RingMem`] |
//! | [`packet`] | what stands in front of a payload in a ring |
//! | [`pipe`] | the eight bytes that pipe-mode channels put before each message |
//!
//! A `*Fault` is the guest's mistake: count it, log it at a limited rate, close the channel when it came from
//! a ring. A `*Error` is ours.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "client")]
pub mod client;
mod guid;
mod id;
pub mod message;
pub mod packet;
pub mod pipe;
pub mod ring;
pub mod server;
mod version;

pub use guid::{Guid, ParseGuidError};
pub use id::{ChannelId, ConnectionId, GpadlId, Target};
pub use version::{ParseVersionError, Version};

/// Bytes in a page of guest memory; GPADLs and rings count in these.
pub const PAGE_SIZE: u32 = 4096;
