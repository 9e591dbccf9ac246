//! VRAM windows, and the host surface that dirty rectangles fill from them.
//!
//! The host [`Surface`] is a function of what the guest declared: pixels reach it only through
//! [`Surface::apply`], so a driver that forgets damage leaves stale pixels behind that a snapshot shows. Around it
//! are the [`VramBytes`] that it copies from, the [`TileDamage`] that tells a sink what to encode, and the
//! [`Demand`] that says whether anybody looks at all. The guest's pointer is a layer beside it, [`Cursor`].

pub mod cursor;
pub mod damage;
pub mod demand;
pub mod pixels;
pub mod surface;
pub mod vram;

pub use cursor::Cursor;
pub use damage::TileDamage;
pub use demand::{Consumer, Demand};
pub use surface::{Applied, Difference, Surface};
pub use vram::{GuestRamWindow, RegionWindow, VramBytes, VramError, VramKind, VramMapError, VramMapper};
