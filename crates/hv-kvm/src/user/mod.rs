//! The SynIC of this process: synthetic MSRs by filter, hypercalls by a page of our own, interrupts by MSI.
//!
//! Works on every KVM since Linux 5.10 with an in-kernel LAPIC. The filter is set even where KVM knows
//! Hyper-V itself, because KVM would otherwise serve those MSRs on its own once CPUID says "Hv#1".

mod msi;

use std::sync::Arc;

use hv_abi::msr;
use kvm_bindings::{KVM_CAP_X86_USER_SPACE_MSR, kvm_cpuid_entry2, kvm_enable_cap};
use kvm_ioctls::{
    MsrExitReason, MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VcpuExit, VcpuFd, VmFd,
};
use synic::hypercall::Connections;
use synic::user::{UserSynic, UserSynicConfig, WriteOutcome};
use synic::{Doorbells, GuestSignal, Inbox, SynicStats};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use self::msi::MsiSink;
use crate::doorbells::KvmDoorbells;
use crate::hypercall_page::{self, CALL_PORT, DOORBELL_PORT, FAST_SIGNAL};
use crate::ioctl::{self, Exit};
use crate::{BackendError, ExitOutcome, KvmSynic, SynicMode, SynicParameters, cpuid};

/// Bytes of filter bitmap: one bit an MSR.
const FILTER_BYTES: usize = (msr::COUNT as usize).div_ceil(8);

/// The user-space SynIC of one VM.
#[derive(Debug)]
pub struct UserSpaceSynic {
    registers: Arc<UserSynic<Arc<GuestMemoryMmap>, MsiSink>>,
    doorbells: Arc<KvmDoorbells>,
    vps: u32,
}

impl UserSpaceSynic {
    /// Sets the VM's MSR filter and starts with everything in its reset state.
    ///
    /// # Errors
    /// [`BackendError`]: a capability is missing, there are too many VPs, or KVM refuses.
    pub fn new(parameters: SynicParameters<'_>) -> Result<Self, BackendError> {
        parameters.check(SynicMode::User)?;
        let SynicParameters { vm, memory, vps, tsc_hz, .. } = parameters;
        filter_msrs(&vm)?;
        let inbox = Arc::new(Inbox::new(Inbox::DEFAULT_CAPACITY)?);
        let connections = Connections::new(inbox, Arc::default());
        let table = Arc::clone(connections.doorbells());
        let config = UserSynicConfig::new(vps, tsc_hz, hypercall_page::CODE.to_vec());
        let sink = MsiSink::new(Arc::clone(&vm), vps);
        let registers = UserSynic::new(Arc::new(memory), sink, connections, config)
            .map_err(|_| BackendError::VpCount(vps))?;
        let doorbells = Arc::new(KvmDoorbells::new(vm, SynicMode::User, table));
        Ok(Self { registers: Arc::new(registers), doorbells, vps })
    }

    /// Serves a hypercall that left the page by `port`, and leaves its result in R9.
    fn hypercall(&self, vcpu: &VcpuFd, port: u16) -> Result<(), BackendError> {
        let mut registers = vcpu.get_regs().map_err(BackendError::kvm("reading registers"))?;
        registers.r9 = if port == DOORBELL_PORT {
            // A doorbell that the kernel does not know: EAX, and by that RDX, holds the connection id.
            self.registers.hypercall(FAST_SIGNAL, registers.rax & 0xffff_ffff, 0)
        } else {
            self.registers.hypercall(registers.rcx, registers.rdx, registers.r8)
        };
        vcpu.set_regs(&registers).map_err(BackendError::kvm("writing registers"))
    }
}

impl KvmSynic for UserSpaceSynic {
    fn mode(&self) -> SynicMode {
        SynicMode::User
    }

    fn cpuid(&self) -> Vec<kvm_cpuid_entry2> {
        cpuid::user_synic_leaves(self.vps)
    }

    fn attach_vcpu(&self, _vcpu: &VcpuFd, vp: u32, apic_id: u32) -> Result<(), BackendError> {
        self.registers.sink().attach(vp, apic_id)
    }

    fn claims(&self, exit: &VcpuExit<'_>) -> bool {
        match exit {
            VcpuExit::X86Rdmsr(read) => is_synthetic(read.index),
            VcpuExit::X86Wrmsr(write) => is_synthetic(write.index),
            VcpuExit::IoOut(port, data) => is_ours(*port) && data.len() == 4,
            _ => false,
        }
    }

    fn on_exit(&self, vp: u32, vcpu: &mut VcpuFd) -> Result<ExitOutcome, BackendError> {
        match ioctl::exit(vcpu) {
            Exit::ReadMsr { index } if is_synthetic(index) => {
                let value = self.registers.read_msr(vp, index);
                if let Err(fault) = &value {
                    tracing::debug!(vp, %fault, "RDMSR refused");
                }
                ioctl::complete_read_msr(vcpu, value.ok());
            }
            Exit::WriteMsr { index, data } if is_synthetic(index) => {
                let outcome = self.registers.write_msr(vp, index, data);
                ioctl::complete_write_msr(vcpu, outcome.is_ok());
                match outcome {
                    Ok(WriteOutcome::Done) => {}
                    Ok(WriteOutcome::Crash(report)) => return Ok(ExitOutcome::Crash(report)),
                    Ok(WriteOutcome::Reset) => return Ok(ExitOutcome::Reset),
                    Err(fault) => tracing::debug!(vp, %fault, "WRMSR refused"),
                }
            }
            Exit::Out32 { port } if is_ours(port) => self.hypercall(vcpu, port)?,
            _ => return Ok(ExitOutcome::NotMine),
        }
        Ok(ExitOutcome::Handled)
    }

    fn signal(&self) -> Arc<dyn GuestSignal> {
        Arc::clone(&self.registers) as Arc<dyn GuestSignal>
    }

    fn doorbells(&self) -> Arc<dyn Doorbells> {
        Arc::clone(&self.doorbells) as Arc<dyn Doorbells>
    }

    fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(self.registers.connections().inbox())
    }

    fn stats(&self) -> Arc<SynicStats> {
        Arc::clone(self.registers.connections().stats())
    }

    /// `None`: EOM is an MSR write, and the vCPU thread that serves it delivers what waits.
    fn slot_freed(&self) -> Option<&EventFd> {
        None
    }

    /// Nothing to do: KVM holds none of the registers.
    fn reset_vcpu(&self, _vp: u32, _vcpu: &VcpuFd) -> Result<(), BackendError> {
        Ok(())
    }

    fn reset(&self) {
        self.registers.reset();
    }
}

fn is_synthetic(index: u32) -> bool {
    (msr::BASE..msr::BASE + msr::COUNT).contains(&index)
}

fn is_ours(port: u16) -> bool {
    port == DOORBELL_PORT || port == CALL_PORT
}

/// Makes every access to a synthetic MSR exit to user space, and leaves all others to KVM.
fn filter_msrs(vm: &VmFd) -> Result<(), BackendError> {
    let mut cap = kvm_enable_cap { cap: KVM_CAP_X86_USER_SPACE_MSR, ..Default::default() };
    cap.args[0] = u64::from(MsrExitReason::Filter.bits());
    vm.enable_cap(&cap).map_err(BackendError::kvm("exits for filtered MSRs"))?;
    let range = MsrFilterRange {
        flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
        base: msr::BASE,
        msr_count: msr::COUNT,
        bitmap: &[0; FILTER_BYTES],
    };
    vm.set_msr_filter(MsrFilterDefaultAction::ALLOW, &[range]).map_err(BackendError::kvm("the MSR filter"))
}
