//! The synthetic video protocol of Hyper-V ("synthvid"), without I/O.
//!
//! [`Vsp`] is the host's end: it takes one message at a time, answers through a bounded queue, and hands the
//! caller at most one action for each message. `vsc` (feature `vsc`) is the guest's end as Linux plays it.
//! [`wire`] is the message table that both share, [`geometry`] the rectangles that both mean.
//!
//! Payloads are what lies *inside* the pipe header: a video header and a body.
//!
//! Source: Linux `drivers/video/fbdev/hyperv_fb.c` and `drivers/gpu/drm/hyperv/hyperv_drm_proto.c`.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod dirt;
pub mod edid;
pub mod fault;
pub mod geometry;
pub mod modes;
pub mod pointer;
mod queue;
pub mod situation;
pub mod version;
#[cfg(feature = "vsc")]
pub mod vsc;
pub mod vsp;
pub mod wire;

pub use dirt::{DirtRects, DirtVerdict, RejectReason};
pub use edid::Edid;
pub use fault::ProtocolFault;
pub use geometry::{Rect, Size};
pub use modes::{Mode, ModeList, ModeListError};
pub use pointer::{PointerFormat, PointerPosition, PointerShape};
pub use situation::{PixelFormat, Situation};
pub use version::{Version, VersionSet};
pub use vsp::{Features, Vsp, VspAction, VspConfig, VspStats};
