//! What the host and the program inside a guest under test agree on: test patterns, and the protocol of the second serial port.
//!
//! The same package holds the program itself (`src/main.rs`): init of a guest's initramfs. The library has no I/O in
//! it and builds for the host as well as for the guest, so that "what did the guest draw" has one answer.

pub mod lab;
pub mod lifecycle;
pub mod lines;
pub mod nearest;
pub mod pattern;
pub mod protocol;
pub mod tiles;
pub mod workload;
