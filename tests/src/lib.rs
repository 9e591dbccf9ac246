//! What the integration tests share.

pub mod bare_metal;
pub mod boot_race;
pub mod drivers;
pub mod guest_run;
pub mod in_process;
pub mod program;
pub mod snapshot;
