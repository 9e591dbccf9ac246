//! The damage oracle: what a guest declares of its video memory, against what it writes and what it changes.
//!
//! Three levels that are never mixed. *Declared* is what DIRT messages name. *Written* is what the hypervisor's log of
//! written pages holds. *Changed* is what a comparison of pixels with the oracle's own copy finds. From them follow what was
//! rewritten, over-declared, *missed* and late; `docs/oracle.md` defines each to the pixel.
//!
//! [`Oracle`] is an observer of the bus. It knows no hypervisor: whoever has a log of written pages gives it a [`WriteLog`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`write_log`] | what is asked of a hypervisor |
//! | [`settings`] | how it judges |
//! | [`window`] | what it found |
#![forbid(unsafe_code)]

mod delays;
mod oracle;
mod screen;
pub mod settings;
mod shared;
mod states;
mod tally;
pub mod window;
pub mod write_log;

pub use oracle::Oracle;
pub use settings::OracleSettings;
pub use shared::SharedOracle;
pub use window::{DelayBar, Delays, Heat, MissedArea, Slice, Timeline, Window};
pub use write_log::{WriteLog, WriteLogError, WrittenPages};
