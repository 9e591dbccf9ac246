//! What each command does, from checked arguments to its exit status.

pub(crate) mod doctor;
pub(crate) mod run;
pub(crate) mod sim;
