//! What each command does, from checked arguments to its exit status.

pub(crate) mod compare;
pub(crate) mod ctl;
pub(crate) mod doctor;
pub(crate) mod measure;
pub(crate) mod run;
pub(crate) mod sim;
