//! Hyper-V TLFS numbers and layouts, as far as a VMBus host needs them.
//!
//! Nothing here acts: constants, register layouts and the decoding of single words. Each item names its
//! source, either a section of Microsoft's "Hypervisor Top Level Functional Specification" (TLFS, 6.0b) or
//! the Linux file that depends on the value.
#![no_std]

pub mod cpuid;
pub mod hypercall;
pub mod message;
pub mod msr;
pub mod sint;
