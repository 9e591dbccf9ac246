//! Sinks for the host surface: where the guest's screen becomes something that a person or a test can look at.

pub mod heat;
pub mod png;
