//! What the integration tests share.

pub mod bare_metal;
pub mod program;
