//! The KVM machine: a small PC on which Linux finds a Hyper-V host.
//!
//! A configuration ([`MachineConfig`]) is checked, built and run; each phase is a file, and so is each piece
//! of hardware.
//!
//! | file | what |
//! |---|---|
//! | `config` | what the machine is made of, and which wishes are refused |
//! | `memory` | guest RAM |
//! | `boot` | kernel, initrd, zero page, EFI tables, firmware's screen, page tables, first registers |
//! | `acpi` | tables: processors, the VMBus node below PCI or a module device, serial ports |
//! | `build` | KVM objects and devices put together |
//! | `running` | [`Machine`]: start, stop, and handles for the event loop |
//! | `vcpu` | the thread that runs a processor and serves its exits |
//! | `bus` | which device owns which port |
//! | `serial`, `console`, `agent_port` | COM1 to a log, COM2 to the program inside the guest |
//! | `pci` | Generation 1's host bridge and video function |
//! | `power`, `rtc` | ACPI registers, reset ports, CMOS clock |
//! | `cpuid`, `exits`, `event`, `error` | what their names say |
//!
//! There is no VMBus here: the machine hands out the SynIC's two directions ([`Machine::signal`],
//! [`Machine::doorbells`] with [`Machine::inbox`]) and whoever owns the devices connects them.

mod acpi;
mod agent_port;
mod boot;
mod build;
mod bus;
mod config;
mod console;
mod cpuid;
mod error;
mod event;
mod exits;
mod memory;
mod pci;
mod power;
mod rtc;
mod running;
mod serial;
#[cfg(test)]
mod tests;
mod vcpu;

use std::path::Path;

pub(crate) use agent_port::AgentPort;
pub(crate) use boot::NO_RUNTIME as EFI_CMDLINE;
#[cfg(test)]
pub(crate) use boot::test_image;
pub(crate) use config::{FirmwareScreen, Generation, MachineConfig, SynicChoice};
pub(crate) use console::{ConsoleCallback, ConsoleSink};
pub(crate) use error::MachineError;
pub(crate) use event::{MachineEvent, ResetCause};
pub(crate) use running::Machine;

/// Looks at the header of a kernel file, which needs neither KVM nor guest memory.
///
/// # Errors
/// It cannot be read, or is no 64-bit bzImage.
pub(crate) fn check_kernel(path: &Path) -> Result<(), MachineError> {
    boot::KernelImage::open(path).map(drop)
}
