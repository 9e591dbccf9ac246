//! What the integration tests share.

pub mod bare_metal;
pub mod boot_race;
mod build_step;
pub mod drivers;
pub mod edit;
pub mod guest_run;
pub mod in_process;
pub mod lab_qemu;
pub mod program;
pub mod snapshot;
