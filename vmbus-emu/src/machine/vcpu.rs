//! A virtual processor: set up once, then run on its own thread until the machine stops.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hv_kvm::coalesced::CoalescedPort;
use hv_kvm::{ExitOutcome, KvmSynic};
use kvm_bindings::{
    CpuId, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, Msrs, kvm_lapic_state, kvm_msr_entry,
};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use vmm_sys_util::errno;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::bus::{self, PortBus};
use super::error::MachineError;
use super::event::{EventQueue, MachineEvent, ResetCause};
use super::exits::ExitCounters;

/// What all vCPU threads share.
pub(super) struct Shared {
    pub(super) ports: PortBus,
    pub(super) exits: ExitCounters,
    pub(super) events: EventQueue,
    pub(super) synic: Arc<dyn KvmSynic>,
    /// Port writes that KVM only notes down; `None` where it cannot.
    pub(super) coalesced: Option<Arc<CoalescedPort>>,
    /// Set once; no vCPU enters the guest afterwards.
    pub(super) stop: AtomicBool,
}

impl Shared {
    /// Carries out the port writes that KVM has noted down. Before anything that came after them, in the guest's order.
    fn drain_coalesced(&self) {
        let Some(coalesced) = &self.coalesced else { return };
        coalesced.drain(|byte| {
            self.exits.coalesced.add();
            // A serial port, which asks for nothing.
            let _ = self.ports.write(coalesced.port(), &[byte], &self.exits);
        });
    }
}

/// Creates processor `id` with its CPUID, its reset-time MSRs and its SynIC.
///
/// Processors other than 0 then wait in the kernel for INIT and SIPI.
pub(super) fn create(
    vm: &VmFd,
    id: u32,
    cpuid: &CpuId,
    synic: &dyn KvmSynic,
) -> Result<VcpuFd, MachineError> {
    let vcpu = vm.create_vcpu(u64::from(id)).map_err(MachineError::kvm("create a virtual processor"))?;
    vcpu.set_cpuid2(cpuid).map_err(MachineError::kvm("set CPUID"))?;
    synic.attach_vcpu(&vcpu, id, id)?;
    set_boot_msrs(&vcpu)?;
    wire_local_interrupts(&vcpu)?;
    Ok(vcpu)
}

/// MSRs that firmware leaves set. With MTRRs off Linux would take all memory for uncached.
fn set_boot_msrs(vcpu: &VcpuFd) -> Result<(), MachineError> {
    const MTRR_DEFAULT_TYPE: u32 = 0x2ff;
    const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;
    const MISC_ENABLE: u32 = 0x1a0;
    const FAST_STRINGS: u64 = 1;
    for (index, data) in [(MTRR_DEFAULT_TYPE, MTRR_ENABLED_WRITE_BACK), (MISC_ENABLE, FAST_STRINGS)] {
        let entry = kvm_msr_entry { index, data, ..Default::default() };
        let msrs = Msrs::from_entries(&[entry]).map_err(|_| MachineError::Kvm {
            operation: "allocate an MSR list",
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        // The answer is the number of MSRs set: a host without one of them goes on without it.
        vcpu.set_msrs(&msrs).map_err(MachineError::kvm("set boot MSRs"))?;
    }
    Ok(())
}

/// LINT0 takes the PIC's interrupts and LINT1 the NMI, as firmware leaves them ("virtual wire mode").
fn wire_local_interrupts(vcpu: &VcpuFd) -> Result<(), MachineError> {
    const LVT_LINT0: usize = 0x350;
    const LVT_LINT1: usize = 0x360;
    const EXTINT: u32 = 0x700;
    const NMI: u32 = 0x400;
    let mut lapic = vcpu.get_lapic().map_err(MachineError::kvm("read the local APIC"))?;
    set_register(&mut lapic, LVT_LINT0, EXTINT);
    set_register(&mut lapic, LVT_LINT1, NMI);
    vcpu.set_lapic(&lapic).map_err(MachineError::kvm("set the local APIC"))
}

fn set_register(lapic: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (register, byte) in lapic.regs.iter_mut().skip(offset).zip(value.to_le_bytes()) {
        *register = byte.cast_signed();
    }
}

/// A running vCPU.
pub(super) struct VcpuThread {
    id: u32,
    handle: JoinHandle<VcpuFd>,
    /// The thread's number for the host's kernel, as soon as it runs.
    tid: Arc<OnceLock<i32>>,
}

impl VcpuThread {
    pub(super) fn spawn(id: u32, vcpu: VcpuFd, shared: Arc<Shared>) -> Result<Self, MachineError> {
        install_kick()?;
        let tid = Arc::new(OnceLock::new());
        let own_tid = Arc::clone(&tid);
        let handle = thread::Builder::new()
            .name(format!("vcpu-{id}"))
            .spawn(move || {
                let _ = own_tid.set(rustix::thread::gettid().as_raw_nonzero().get());
                run(id, vcpu, &shared)
            })
            .map_err(MachineError::host("a vCPU thread"))?;
        Ok(Self { id, handle, tid })
    }

    /// Processor time that the thread has used, in the guest, in KVM and here; on another processor it may be old by a tick.
    /// `None` when it has not begun, or the host keeps no such count.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let counts = fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.tid.get()?)).ok()?;
        counts.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }

    /// Makes KVM_RUN return. May come too early, between the thread's look at `stop` and KVM_RUN, and is
    /// then without effect: repeat until [`Self::has_ended`].
    pub(super) fn kick(&self) {
        if let Err(error) = self.handle.kill(SIGRTMIN()) {
            tracing::debug!(%error, vcpu = self.id, "kick");
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the thread and gives the vCPU back; `None` when the thread panicked.
    pub(super) fn join(self) -> Option<VcpuFd> {
        self.handle.join().ok()
    }
}

/// A handler must exist for the signal to interrupt KVM_RUN instead of ending the process.
fn install_kick() -> Result<(), MachineError> {
    extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    static INSTALLED: OnceLock<Result<(), errno::Error>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| register_signal_handler(SIGRTMIN(), ignore));
    installed.map_err(|error| MachineError::Host { what: "the vCPU signal handler", source: error.into() })
}

fn run(id: u32, mut vcpu: VcpuFd, shared: &Shared) -> VcpuFd {
    while !shared.stop.load(Ordering::Acquire) {
        let event = match step(id, &mut vcpu, shared) {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            Err(reason) => MachineEvent::Failed { vcpu: id, reason },
        };
        // Of several ends only the first is told: the others follow from it.
        if !event.is_final() || !shared.stop.swap(true, Ordering::AcqRel) {
            shared.events.push(event);
        }
    }
    complete_pending_exit(&mut vcpu);
    shared.drain_coalesced();
    vcpu
}

/// An exit that was answered takes effect on the next KVM_RUN only. This one does that and nothing else.
fn complete_pending_exit(vcpu: &mut VcpuFd) {
    vcpu.set_kvm_immediate_exit(1);
    let _ = vcpu.run();
    vcpu.set_kvm_immediate_exit(0);
}

/// Enters the guest once and serves what it left for.
fn step(id: u32, vcpu: &mut VcpuFd, shared: &Shared) -> Result<Option<MachineEvent>, String> {
    let exits = &shared.exits;
    let exit = vcpu.run();
    shared.drain_coalesced();
    let exit = match exit {
        Ok(exit) => exit,
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
            exits.user.add();
            exits.interrupted.add();
            return Ok(None);
        }
        Err(error) => return Err(format!("KVM_RUN: {error}{}", where_is(vcpu))),
    };
    exits.user.add();
    match &exit {
        VcpuExit::IoIn(..) | VcpuExit::IoOut(..) => exits.io.add(),
        VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..) => exits.mmio.add(),
        VcpuExit::Hyperv => exits.hyperv.add(),
        VcpuExit::X86Rdmsr(_) | VcpuExit::X86Wrmsr(_) => exits.msr.add(),
        VcpuExit::Intr => exits.interrupted.add(),
        _ => exits.other.add(),
    }
    if shared.synic.claims(&exit) {
        return match shared.synic.on_exit(id, vcpu) {
            Ok(ExitOutcome::Handled | ExitOutcome::NotMine) => Ok(None),
            Ok(ExitOutcome::Crash(report)) => Ok(Some(MachineEvent::Crash(*report))),
            Ok(ExitOutcome::Reset) => Ok(Some(MachineEvent::Reset(ResetCause::HypervMsr))),
            Err(error) => Err(format!("SynIC: {error}")),
        };
    }
    match exit {
        VcpuExit::IoIn(port, data) => shared.ports.read(port, data, exits),
        VcpuExit::IoOut(port, data) => return Ok(shared.ports.write(port, data, exits).map(Into::into)),
        VcpuExit::MmioRead(_, data) => bus::read_mmio(data, exits),
        VcpuExit::MmioWrite(..) => exits.unclaimed_mmio.add(),
        // An MSR that nobody knows: #GP, as on hardware.
        VcpuExit::X86Rdmsr(access) => *access.error = 1,
        VcpuExit::X86Wrmsr(access) => *access.error = 1,
        VcpuExit::Intr | VcpuExit::IrqWindowOpen | VcpuExit::Hlt | VcpuExit::SetTpr => {}
        VcpuExit::Shutdown => return Ok(Some(MachineEvent::TripleFault { vcpu: id })),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => return Ok(Some(MachineEvent::PowerOff)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => {
            return Ok(Some(MachineEvent::Reset(ResetCause::Kvm)));
        }
        other => {
            let reason = format!("unexpected exit {other:?}");
            return Err(reason + &where_is(vcpu));
        }
    }
    Ok(None)
}

/// " at RIP 0x..", or nothing when even that cannot be read.
fn where_is(vcpu: &VcpuFd) -> String {
    vcpu.get_regs().map_or_else(|_| String::new(), |regs| format!(" at RIP {:#x}", regs.rip))
}
