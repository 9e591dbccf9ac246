//! The synthetic video device, `hyperv-synthvid`.
//!
//! [`Synthvid`] puts three things together: the protocol (`synthvid::Vsp`), the VRAM that the guest declares
//! (through a `surface::VramMapper`, which the VMM supplies), and the host's surface, which changes only through
//! declared rectangles and through the counted implied repaints that stand for damage which
//! Linux never declares.

mod device;
mod implied;
mod misbehaviour;
mod overlap;
mod scanout;

pub use device::{ModeRefusal, Picture, Synthvid, SynthvidError};
pub use overlap::without_overlap;
pub use scanout::{MappedVram, Scanout};
