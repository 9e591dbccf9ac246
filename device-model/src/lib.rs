//! VMBus and Hyper-V synthetic devices for a rust-vmm style VMM.
//!
//! A VMM builds a [`Bus`] from five things that it has anyway ([`BusParts`]: guest RAM, a SynIC's three ends, a
//! clock), puts devices on it, and moves it to its event-manager loop as a [`BusSubscriber`]. Nothing here names
//! KVM: any SynIC that keeps the contracts of `synic::GuestSignal` and `synic::Doorbells` will do.
//!
//! | module | what |
//! |---|---|
//! | [`bus`] | the control plane, the open channels, and who is called when |
//! | [`channel`] | what a device is to the bus |
//! | [`video`] | the synthetic video device |
//! | [`input`] | keyboard and mouse |
//! | [`observer`] | what a meter or recorder is told |
//! | [`options`] | `--device` texts: one table that parses, documents and explains itself |
//! | [`platform`] | ACPI node, MMIO window and PCI function as data |
//! | [`subscriber`] | the bus on an event-manager loop |
//! | [`clock`] | time, real or virtual |
#![forbid(unsafe_code)]

pub mod bus;
pub mod channel;
pub mod clock;
pub mod input;
mod log_limit;
pub mod observer;
mod open_channel;
pub mod options;
pub mod platform;
pub mod ring_memory;
pub mod subscriber;
pub mod video;

pub use bus::{Bus, BusParts, DoorbellChange};
pub use channel::{ChannelDevice, DeviceContext, DeviceFault};
pub use clock::{Clock, MonotonicClock};
pub use input::{Keyboard, Mouse};
pub use observer::{NoObserver, Observer};
pub use subscriber::BusSubscriber;
pub use surface::VramKind;
pub use video::{ModeRefusal, Picture, Synthvid, SynthvidError};
