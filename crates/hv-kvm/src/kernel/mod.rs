//! The SynIC that KVM has: registers, hypercall page, signals and vectors in the kernel, slots here.
//!
//! Needs CONFIG_KVM_HYPERV and the full in-kernel interrupt controllers. What is left for user space: posted
//! messages (KVM_EXIT_HYPERV), message slots and event flags, and telling KVM which connection id rings which
//! eventfd.

mod delivery;
mod sint_lines;

use std::sync::Arc;

use hv_abi::{msr, sint};
use kvm_bindings::{
    KVM_CAP_HYPERV_ENFORCE_CPUID, KVM_CAP_HYPERV_SYNIC2, KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET,
    Msrs, kvm_cpuid_entry2, kvm_enable_cap, kvm_msr_entry,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use synic::hypercall::Connections;
use synic::user::CrashReport;
use synic::{Doorbells, GuestSignal, Inbox, Sint, SynicStats};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::EventFd;

use self::delivery::Delivery;
use self::sint_lines::SintLines;
use crate::doorbells::KvmDoorbells;
use crate::ioctl::{self, Exit};
use crate::{BackendError, ExitOutcome, KvmSynic, SynicMode, SynicParameters, cpuid};

/// CONFIG of the first of four synthetic timers; its COUNT and the other timers follow (TLFS 12.5).
const STIMER0_CONFIG: u32 = 0x4000_00b0;
const STIMER3_COUNT: u32 = 0x4000_00b7;

/// The in-kernel SynIC of one VM.
#[derive(Debug)]
pub struct KernelSynic {
    memory: GuestMemoryMmap,
    connections: Connections,
    lines: Arc<SintLines>,
    delivery: Arc<Delivery>,
    doorbells: Arc<KvmDoorbells>,
    leaves: Vec<kvm_cpuid_entry2>,
    enforce_cpuid: bool,
    vps: u32,
}

impl KernelSynic {
    /// Asks KVM what it offers to guests; nothing is enabled before [`KvmSynic::attach_vcpu`].
    ///
    /// # Errors
    /// [`BackendError`]: a capability is missing, there are too many VPs, or KVM refuses.
    pub fn new(parameters: SynicParameters<'_>) -> Result<Self, BackendError> {
        parameters.check(SynicMode::Kernel)?;
        let SynicParameters { system, caps, vm, memory, vps, tsc_hz: _ } = parameters;
        let supported =
            ioctl::supported_hv_cpuid(system).map_err(BackendError::kvm("the list of Hyper-V leaves"))?;
        let inbox = Arc::new(Inbox::new(Inbox::DEFAULT_CAPACITY)?);
        let connections = Connections::new(inbox, Arc::default());
        let lines = Arc::new(SintLines::new(Arc::clone(&vm))?);
        let stats = Arc::clone(connections.stats());
        let delivery = Arc::new(Delivery::new(memory.clone(), Arc::clone(&lines), stats, vps));
        let table = Arc::clone(connections.doorbells());
        Ok(Self {
            memory,
            connections,
            lines,
            delivery,
            doorbells: Arc::new(KvmDoorbells::new(vm, SynicMode::Kernel, table)),
            leaves: cpuid::kernel_synic_leaves(supported.as_slice(), vps),
            enforce_cpuid: caps.has(KVM_CAP_HYPERV_ENFORCE_CPUID),
            vps,
        })
    }
}

impl KvmSynic for KernelSynic {
    fn mode(&self) -> SynicMode {
        SynicMode::Kernel
    }

    fn cpuid(&self) -> Vec<kvm_cpuid_entry2> {
        self.leaves.clone()
    }

    /// Activates the SynIC, makes KVM hold the guest to its CPUID, sets the VP index, says that crashes are
    /// listened to, and connects the SINT of VMBus.
    fn attach_vcpu(&self, vcpu: &VcpuFd, vp: u32, _apic_id: u32) -> Result<(), BackendError> {
        if vp >= self.vps {
            return Err(BackendError::NoSuchVp { vp, count: self.vps });
        }
        let synic = kvm_enable_cap { cap: KVM_CAP_HYPERV_SYNIC2, ..Default::default() };
        vcpu.enable_cap(&synic).map_err(BackendError::kvm("a SynIC for a vCPU"))?;
        if self.enforce_cpuid {
            let mut enforce = kvm_enable_cap { cap: KVM_CAP_HYPERV_ENFORCE_CPUID, ..Default::default() };
            enforce.args[0] = 1;
            vcpu.enable_cap(&enforce).map_err(BackendError::kvm("enforcement of Hyper-V CPUID"))?;
        }
        set_msrs(vcpu, &[(msr::VP_INDEX, u64::from(vp)), (msr::CRASH_CTL, msr::CRASH_NOTIFY)])?;
        self.lines.connect(vp, Sint::VMBUS)
    }

    fn claims(&self, exit: &VcpuExit<'_>) -> bool {
        match exit {
            VcpuExit::Hyperv => true,
            VcpuExit::SystemEvent(kind, _) => {
                matches!(*kind, KVM_SYSTEM_EVENT_CRASH | KVM_SYSTEM_EVENT_RESET)
            }
            _ => false,
        }
    }

    fn on_exit(&self, vp: u32, vcpu: &mut VcpuFd) -> Result<ExitOutcome, BackendError> {
        match ioctl::exit(vcpu) {
            Exit::SynicWrite { control, event_page, message_page } => {
                self.delivery.registers_written(vp, control, event_page, message_page);
            }
            Exit::Hypercall { control, params: [rdx, _] } => {
                ioctl::complete_hypercall(vcpu, self.connections.serve(&self.memory, control, rdx));
            }
            Exit::SystemEvent { kind: KVM_SYSTEM_EVENT_CRASH } => {
                return Ok(ExitOutcome::Crash(Box::new(crash_report(vcpu, vp)?)));
            }
            Exit::SystemEvent { kind: KVM_SYSTEM_EVENT_RESET } => return Ok(ExitOutcome::Reset),
            _ => return Ok(ExitOutcome::NotMine),
        }
        Ok(ExitOutcome::Handled)
    }

    fn signal(&self) -> Arc<dyn GuestSignal> {
        Arc::clone(&self.delivery) as Arc<dyn GuestSignal>
    }

    fn doorbells(&self) -> Arc<dyn Doorbells> {
        Arc::clone(&self.doorbells) as Arc<dyn Doorbells>
    }

    fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(self.connections.inbox())
    }

    fn stats(&self) -> Arc<SynicStats> {
        Arc::clone(self.connections.stats())
    }

    /// Written on EOM, and on EOI of a SINT's vector.
    fn slot_freed(&self) -> Option<&EventFd> {
        Some(self.lines.slot_freed())
    }

    fn reset_vcpu(&self, vp: u32, vcpu: &VcpuFd) -> Result<(), BackendError> {
        let sints = (msr::SINT0..=msr::SINT15).map(|index| (index, sint::RESET_VALUE));
        let timers = (STIMER0_CONFIG..=STIMER3_COUNT).map(|index| (index, 0));
        let rest = [
            (msr::SCONTROL, 0),
            (msr::SIMP, 0),
            (msr::SIEFP, 0),
            (msr::VP_ASSIST_PAGE, 0),
            (msr::REFERENCE_TSC, 0),
            // Takes the hypercall page with it.
            (msr::GUEST_OS_ID, 0),
            (msr::VP_INDEX, u64::from(vp)),
            (msr::CRASH_CTL, msr::CRASH_NOTIFY),
        ];
        set_msrs(vcpu, &timers.chain(sints).chain(rest).collect::<Vec<_>>())
    }

    fn reset(&self) {
        self.delivery.reset();
        self.connections.inbox().clear();
    }
}

/// Reads the crash parameters. KVM keeps no "message" bit, so P3 and P4 are never taken for one.
fn crash_report(vcpu: &VcpuFd, vp: u32) -> Result<CrashReport, BackendError> {
    let wanted: Vec<_> = (msr::CRASH_P0..=msr::CRASH_P4).map(|index| (index, 0)).collect();
    let mut list = msr_list(&wanted)?;
    vcpu.get_msrs(&mut list).map_err(BackendError::kvm("reading the crash parameters"))?;
    let mut parameters = [0; 5];
    parameters.iter_mut().zip(list.as_slice()).for_each(|(parameter, entry)| *parameter = entry.data);
    Ok(CrashReport { vp, parameters, message: None })
}

fn set_msrs(vcpu: &VcpuFd, values: &[(u32, u64)]) -> Result<(), BackendError> {
    const OPERATION: &str = "setting synthetic MSRs";
    let written = vcpu.set_msrs(&msr_list(values)?).map_err(BackendError::kvm(OPERATION))?;
    match values.get(written) {
        None => Ok(()),
        Some((index, _)) => {
            tracing::error!("KVM refuses a value for MSR {index:#x}");
            Err(BackendError::Kvm { operation: OPERATION, source: errno::Error::new(libc::EINVAL) })
        }
    }
}

fn msr_list(values: &[(u32, u64)]) -> Result<Msrs, BackendError> {
    let entry = |&(index, data): &(u32, u64)| kvm_msr_entry { index, data, ..Default::default() };
    let entries: Vec<_> = values.iter().map(entry).collect();
    Msrs::from_entries(&entries).map_err(|_| BackendError::Kvm {
        operation: "a list of MSRs",
        source: errno::Error::new(libc::E2BIG),
    })
}
