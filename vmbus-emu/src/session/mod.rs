//! A run with a real guest: its files, the machine, the event thread, the conversation with the guest, the steps of
//! the scenario, what they prove, and the report.

pub(crate) mod agent;
pub(crate) mod checks;
mod console_out;
pub(crate) mod event_loop;
mod firmware;
pub(crate) mod guest;
mod guest_log;
mod holdings;
mod input;
mod kernel_sha256;
mod kms;
pub(crate) mod lab;
mod lifecycle;
pub(crate) mod measure;
mod no_driver;
mod promise;
mod reboot;
mod refresh;
mod rest;
pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod stop;
pub(crate) mod summary;
mod taken;
mod vm;
mod watch;
mod write_log;
