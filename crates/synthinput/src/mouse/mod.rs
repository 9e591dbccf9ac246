//! The synthetic mouse: HID reports with an absolute position, as a tablet gives it.

mod report;
mod vsp;
pub mod wire;

pub use report::{AXIS_MAX, Button, Position, REPORT_DESCRIPTOR, UnknownButton};
pub use vsp::{MouseAction, MouseVsp, QUEUE_MAX};
