//! What the guest's refresh traffic amounts to, and the report that says so.
//!
//! [`Meter`] observes a bus and counts; it starts no thread, reads no clock, and its memory is bounded whatever
//! the guest sends. [`Meter::mark`] and [`Meter::since`] give the traffic of a part of a run.
//! [`report::Report`] is the file that a run leaves behind; everything in it was measured or is null.
//!
//! | module | what it holds |
//! |---|---|
//! | [`counters`] | sums that can be subtracted |
//! | [`window`] | the busiest second |
//! | [`distribution`] | percentiles of intervals and latencies |
//! | [`device`] | what guest and host agreed on |
//! | [`life`] | how often the driver came and went |
//! | [`measurement`] | what workloads did, against what KVM saw |
//! | [`budget`] | limits that a workload has to keep |
//! | [`compare`] | whether one guest does better than another |
//! | [`report`] | the report's structures, its field table, and its file |

pub mod budget;
pub mod compare;
pub mod counters;
pub mod device;
pub mod distribution;
pub mod life;
pub mod measurement;
mod meter;
pub mod report;
mod shared;
pub mod window;

pub use counters::{Counters, FaultCounts};
pub use device::{DeviceFacts, Mode, Vram};
pub use life::Life;
pub use meter::{Mark, Meter};
pub use shared::SharedMeter;
