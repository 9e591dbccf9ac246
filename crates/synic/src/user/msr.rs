//! Reads and writes of the synthetic MSRs (TLFS Appendix F).

use std::sync::atomic::Ordering;

use hv_abi::msr;
use hv_abi::sint::SintRegister;
use thiserror::Error;
use vm_memory::GuestAddressSpace;

use super::crash::CrashRegisters;
use super::vp::FIRST_VECTOR;
use super::{CrashReport, UserSynic};
use crate::page::PageFault;
use crate::{GuestSignal, InterruptSink, Sint};

/// SynIC version that SVERSION reads as.
const SYNIC_VERSION: u64 = 1;

/// What a write of a synthetic MSR asks of the embedder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Nothing more.
    Done,
    /// The guest reported its crash. It goes on running; what to do about it is policy.
    Crash(Box<CrashReport>),
    /// The guest asked for a reset of the machine.
    Reset,
}

/// An access that the guest should not have made: inject #GP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MsrFault {
    /// Not an MSR of this SynIC.
    #[error("MSR {msr:#x} is not offered")]
    Unknown {
        /// MSR.
        msr: u32,
    },
    /// The MSR cannot be written.
    #[error("MSR {msr:#x} is read-only, written with {value:#x}")]
    ReadOnly {
        /// MSR.
        msr: u32,
        /// Value written.
        value: u64,
    },
    /// Reserved bits were set.
    #[error("MSR {msr:#x} written with {value:#x}, only {valid:#x} may be set")]
    Reserved {
        /// MSR.
        msr: u32,
        /// Value written.
        value: u64,
        /// Bits that may be set.
        valid: u64,
    },
    /// An unmasked SINT with the vector of an exception.
    #[error("SINT {sint} unmasked with vector {vector:#x}, the lowest is {FIRST_VECTOR:#x}")]
    Vector {
        /// SINT.
        sint: u8,
        /// Vector.
        vector: u8,
    },
    /// An unmasked SINT with AutoEOI, which does not exist outside the local APIC.
    #[error("SINT {sint} unmasked with AutoEOI ({value:#x}), which CPUID recommends against")]
    AutoEoi {
        /// SINT.
        sint: u8,
        /// Value written.
        value: u64,
    },
    /// A page register names something else than RAM.
    #[error("MSR {msr:#x}: {fault}")]
    Page {
        /// MSR.
        msr: u32,
        /// What is wrong with the page.
        fault: PageFault,
    },
    /// The embedder named a VP that does not exist.
    #[error("access to MSR {msr:#x} by VP {vp}, which does not exist")]
    NoSuchVp {
        /// MSR.
        msr: u32,
        /// VP.
        vp: u32,
    },
}

impl<M, I> UserSynic<M, I>
where
    M: GuestAddressSpace + Send + Sync,
    I: InterruptSink,
{
    /// RDMSR of `index` by virtual processor `vp`. *Errors*: inject #GP.
    pub fn read_msr(&self, vp: u32, index: u32) -> Result<u64, MsrFault> {
        self.stats().msr_reads.increment();
        self.read(vp, index).inspect_err(|_| self.stats().msr_faults.increment())
    }

    /// WRMSR of `index` by virtual processor `vp`. Messages that waited for this write are delivered before
    /// the return. *Errors*: inject #GP; no register has changed.
    pub fn write_msr(&self, vp: u32, index: u32, value: u64) -> Result<WriteOutcome, MsrFault> {
        self.stats().msr_writes.increment();
        self.write(vp, index, value).inspect_err(|_| self.stats().msr_faults.increment())
    }

    fn read(&self, vp: u32, index: u32) -> Result<u64, MsrFault> {
        let state = self.vp(vp).ok_or(MsrFault::NoSuchVp { msr: index, vp })?;
        Ok(match index {
            msr::GUEST_OS_ID => self.hypercall_page.guest_os_id(),
            msr::HYPERCALL => self.hypercall_page.register(),
            msr::VP_INDEX => u64::from(vp),
            msr::RESET | msr::EOM => 0,
            msr::TSC_FREQUENCY => self.config.tsc_hz,
            msr::APIC_FREQUENCY => self.config.apic_hz,
            msr::VP_ASSIST_PAGE => state.assist,
            msr::SCONTROL => state.scontrol,
            msr::SVERSION => SYNIC_VERSION,
            msr::SIEFP => state.siefp(),
            msr::SIMP => state.simp(),
            msr::SINT0..=msr::SINT15 => state.sint(sint_of(index)?),
            msr::CRASH_P0..=msr::CRASH_P4 => self.crash.read(parameter_of(index)),
            msr::CRASH_CTL => CrashRegisters::CAPABILITIES,
            msr::TSC_INVARIANT_CONTROL => self.tsc_invariant.load(Ordering::Relaxed),
            _ => return Err(MsrFault::Unknown { msr: index }),
        })
    }

    fn write(&self, vp: u32, index: u32, value: u64) -> Result<WriteOutcome, MsrFault> {
        if vp >= self.config.vps {
            return Err(MsrFault::NoSuchVp { msr: index, vp });
        }
        let page_fault = |fault| MsrFault::Page { msr: index, fault };
        match index {
            msr::GUEST_OS_ID => {
                self.hypercall_page.set_guest_os_id(value);
                if value == 0 {
                    self.reset_messages();
                }
            }
            msr::HYPERCALL => self
                .hypercall_page
                .set_register(&*self.memory.memory(), value, &self.config.hypercall_code)
                .map_err(page_fault)?,
            msr::VP_INDEX | msr::TSC_FREQUENCY | msr::APIC_FREQUENCY | msr::SVERSION => {
                return Err(MsrFault::ReadOnly { msr: index, value });
            }
            msr::RESET => {
                return Ok(if value & 1 != 0 { WriteOutcome::Reset } else { WriteOutcome::Done });
            }
            msr::CRASH_P0..=msr::CRASH_P4 => self.crash.write(parameter_of(index), value),
            msr::CRASH_CTL => {
                let report = self.crash.report(&*self.memory.memory(), vp, value);
                return Ok(report.map_or(WriteOutcome::Done, |r| WriteOutcome::Crash(Box::new(r))));
            }
            msr::TSC_INVARIANT_CONTROL => {
                reserve(index, value, 1)?;
                self.tsc_invariant.store(value, Ordering::Relaxed);
            }
            msr::VP_ASSIST_PAGE | msr::SCONTROL..=msr::EOM | msr::SINT0..=msr::SINT15 => {
                self.write_vp(vp, index, value)?;
            }
            _ => return Err(MsrFault::Unknown { msr: index }),
        }
        Ok(WriteOutcome::Done)
    }

    /// The registers that a virtual processor has for itself.
    fn write_vp(&self, vp: u32, index: u32, value: u64) -> Result<(), MsrFault> {
        let mut state = self.vp(vp).ok_or(MsrFault::NoSuchVp { msr: index, vp })?;
        let page_fault = |fault| MsrFault::Page { msr: index, fault };
        match index {
            msr::VP_ASSIST_PAGE => {
                // Kept for reading back; nothing is offered that would use the page.
                state.assist = value;
                return Ok(());
            }
            msr::SCONTROL => state.scontrol = value,
            msr::SIEFP => state.set_siefp(&*self.memory.memory(), value).map_err(page_fault)?,
            msr::SIMP => state.set_simp(&*self.memory.memory(), value).map_err(page_fault)?,
            msr::EOM => self.stats().eom.increment(),
            msr::SINT0..=msr::SINT15 => {
                let sint = sint_of(index)?;
                self.check_sint(sint, value)?;
                state.set_sint(sint, value);
            }
            _ => return Err(MsrFault::Unknown { msr: index }),
        }
        self.settle(&mut state);
        Ok(())
    }

    fn check_sint(&self, sint: Sint, value: u64) -> Result<(), MsrFault> {
        let SintRegister { vector, masked, auto_eoi, polling: _ } = SintRegister::from(value);
        if masked {
            return Ok(());
        }
        if vector < FIRST_VECTOR {
            return Err(MsrFault::Vector { sint: sint.number(), vector });
        }
        if auto_eoi {
            self.stats().auto_eoi_refused.increment();
            if !self.warned_auto_eoi.swap(true, Ordering::Relaxed) {
                let sint = sint.number();
                tracing::error!(sint, "guest wants AutoEOI, which a SynIC outside the kernel cannot do");
            }
            return Err(MsrFault::AutoEoi { sint: sint.number(), value });
        }
        Ok(())
    }
}

fn sint_of(index: u32) -> Result<Sint, MsrFault> {
    let number = index.checked_sub(msr::SINT0).and_then(|number| u8::try_from(number).ok());
    number.and_then(Sint::new).ok_or(MsrFault::Unknown { msr: index })
}

/// Which crash parameter `index` is; the caller matched it as one.
fn parameter_of(index: u32) -> usize {
    usize::try_from(index.saturating_sub(msr::CRASH_P0)).unwrap_or(usize::MAX)
}

fn reserve(index: u32, value: u64, valid: u64) -> Result<(), MsrFault> {
    if value & !valid == 0 { Ok(()) } else { Err(MsrFault::Reserved { msr: index, value, valid }) }
}
