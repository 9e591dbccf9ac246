//! A guest of a few hundred bytes on real KVM: what no simulation shows, without a kernel to boot.
//!
//! The guest is dumb on purpose. Its CPUs run a loop that takes commands out of a mailbox in their memory:
//! RDMSR, WRMSR, a hypercall through the hypercall page, a load, a store. The *logic* of a guest, what Linux
//! would do between those, is host code in the tests. So a test here proves the path from guest instruction
//! to back end and back (exits, filters, doorbells, vectors, slots), and nothing about a guest's behaviour.
//!
//! All CPUs run on the caller's thread, one command at a time; between two commands every CPU stands at an
//! exit, and interrupts sent meanwhile are taken at the start of its next command.

pub mod memory;
pub mod program;
pub mod requirement;
pub mod suite;

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use hv_abi::{hypercall, msr, sint};
use hv_kvm::caps::HostCaps;
use hv_kvm::cpuid::guest_cpuid;
use hv_kvm::layout::{IDENTITY_MAP_GPA, MmioWindows, TSS_GPA};
use hv_kvm::mem_slots::MemorySlots;
use hv_kvm::{ExitOutcome, KvmSynic, SynicMode, SynicParameters, open_synic};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, KVM_MP_STATE_RUNNABLE, kvm_mp_state};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use self::memory::{CpuArea, HYPERCALL_PAGE, RAM_BYTES};
use self::program::{Opcode, Program, READY_PORT, field};

/// Window in which the guest may put VRAM.
pub const VRAM_WINDOW: std::ops::Range<u64> = 0xf800_0000..0xf900_0000;
/// Frequency that the user-space SynIC reports.
pub const TSC_HZ: u64 = 2_000_000_000;
/// Exits that one command may take. A command is a handful of instructions.
const MAX_EXITS: u32 = 64;

/// Results of one command.
pub type Results = [u64; 4];

/// The guest and its VM.
pub struct BareMetal {
    synic: Arc<dyn KvmSynic>,
    slots: Arc<MemorySlots>,
    vcpus: Vec<VcpuFd>,
    events: Vec<ExitOutcome>,
}

impl BareMetal {
    /// Builds a VM with `vps` CPUs on the SynIC of `mode`, and runs each CPU to its first command.
    ///
    /// `None`, with the reason printed, when this host has no such SynIC.
    ///
    /// # Errors
    /// KVM can do it but fails.
    pub fn new(mode: SynicMode, vps: u32) -> Result<Option<Self>> {
        let system = match Kvm::new() {
            Ok(system) => system,
            Err(error) => {
                requirement::skip("kvm", &format!("/dev/kvm: {error}"));
                return Ok(None);
            }
        };
        let caps = HostCaps::probe(&system);
        if let Some(missing) = caps.missing_for(mode).first() {
            let what = if mode == SynicMode::Kernel { requirement::KERNEL_SYNIC } else { "kvm" };
            requirement::skip(what, &format!("KVM lacks {} ({})", missing.name, missing.provided_by));
            return Ok(None);
        }
        Self::build(mode, &system, &caps, vps).map(Some)
    }

    fn build(mode: SynicMode, system: &Kvm, caps: &HostCaps, vps: u32) -> Result<Self> {
        let vm = Arc::new(system.create_vm().context("creating a VM")?);
        vm.set_identity_map_address(IDENTITY_MAP_GPA).context("identity map")?;
        vm.set_tss_address(usize::try_from(TSS_GPA)?).context("TSS address")?;
        vm.create_irq_chip().context("interrupt controllers")?;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), usize::try_from(RAM_BYTES)?)])?;
        let program = Program::assemble();
        memory::load(&memory, &program)?;
        let windows = MmioWindows::new(std::slice::from_ref(&VRAM_WINDOW))?;
        let slots = MemorySlots::new(Arc::clone(&vm), caps, memory.clone(), windows)?;
        let parameters = SynicParameters { system, caps, vm: Arc::clone(&vm), memory, vps, tsc_hz: TSC_HZ };
        let synic = open_synic(mode, parameters)?;
        let supported = system.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
        let mut vcpus = Vec::new();
        for vp in 0..vps {
            let vcpu = vm.create_vcpu(u64::from(vp)).context("creating a vCPU")?;
            vcpu.set_cpuid2(&guest_cpuid(&supported, &synic.cpuid(), vp, vps)?).context("CPUID")?;
            synic.attach_vcpu(&vcpu, vp, vp)?;
            start(&vcpu, vp, &program)?;
            vcpus.push(vcpu);
        }
        let mut this = Self { synic, slots, vcpus, events: Vec::new() };
        for vp in 0..vps {
            this.run_until_ready(vp)?;
        }
        Ok(this)
    }

    /// Runs one command on `vp`.
    ///
    /// # Errors
    /// KVM fails, or the guest does something else than the command.
    pub fn command(&mut self, vp: u32, opcode: Opcode, operands: &[u64]) -> Result<Results> {
        let mailbox = CpuArea::of(vp).mailbox();
        self.store(mailbox + u64::from(field::OPCODE), opcode as u64)?;
        for (at, operand) in (mailbox + u64::from(field::OPERANDS)..).step_by(8).zip(operands) {
            self.store(at, *operand)?;
        }
        self.run_until_ready(vp)?;
        let mut results = [0; 4];
        for (at, result) in (mailbox + u64::from(field::RESULTS)..).step_by(8).zip(&mut results) {
            *result = self.load(at)?;
        }
        Ok(results)
    }

    /// RDMSR; `None` when it faults.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn read_msr(&mut self, vp: u32, index: u32) -> Result<Option<u64>> {
        let before = self.faults(vp)?;
        let [value, ..] = self.command(vp, Opcode::ReadMsr, &[u64::from(index)])?;
        Ok((self.faults(vp)? == before).then_some(value))
    }

    /// WRMSR; whether it went through without a fault.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn write_msr(&mut self, vp: u32, index: u32, value: u64) -> Result<bool> {
        let before = self.faults(vp)?;
        self.command(vp, Opcode::WriteMsr, &[u64::from(index), value])?;
        Ok(self.faults(vp)? == before)
    }

    /// Calls the hypercall page with RCX, RDX and R8; RAX.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn hypercall(&mut self, vp: u32, control: u64, rdx: u64, r8: u64) -> Result<u64> {
        let [rax, ..] = self.command(vp, Opcode::Hypercall, &[control, rdx, r8, HYPERCALL_PAGE])?;
        Ok(rax)
    }

    /// HvCallPostMessage of type 1 from `vp`; RAX.
    ///
    /// # Errors
    /// As [`Self::command`], or the payload does not fit.
    pub fn post(&mut self, vp: u32, connection_id: u32, payload: &[u8]) -> Result<u64> {
        use hypercall::post_message::{CONNECTION_ID, MESSAGE_TYPE, PAYLOAD, PAYLOAD_SIZE, SIZE};
        ensure!(payload.len() <= SIZE - PAYLOAD, "payload of {} bytes", payload.len());
        let mut block = [0; SIZE];
        block[CONNECTION_ID..][..4].copy_from_slice(&connection_id.to_le_bytes());
        block[MESSAGE_TYPE..][..4].copy_from_slice(&1_u32.to_le_bytes());
        block[PAYLOAD_SIZE..][..4].copy_from_slice(&u32::try_from(payload.len())?.to_le_bytes());
        block[PAYLOAD..][..payload.len()].copy_from_slice(payload);
        let input = CpuArea::of(vp).hypercall_input();
        self.memory().write_slice(&block, GuestAddress(input))?;
        self.hypercall(vp, u64::from(hypercall::POST_MESSAGE), input, 0)
    }

    /// HvCallSignalEvent as Linux makes it; RAX.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn signal(&mut self, vp: u32, connection_id: u32) -> Result<u64> {
        self.hypercall(vp, hv_kvm::hypercall_page::FAST_SIGNAL, u64::from(connection_id), 0)
    }

    /// What Linux does from boot to `hv_synic_enable_regs`: OS id, hypercall page, and on each VP its pages,
    /// SINT 2 and SCONTROL.
    ///
    /// # Errors
    /// As [`Self::command`], or a write faults.
    pub fn enable_synic(&mut self) -> Result<()> {
        let mut writes = vec![
            (0, msr::GUEST_OS_ID, 0x8100_0006_0001_0000),
            (0, msr::HYPERCALL, HYPERCALL_PAGE | msr::ENABLE),
        ];
        for vp in 0..self.vps() {
            let area = CpuArea::of(vp);
            writes.extend([
                (vp, msr::SIMP, area.message_page() | msr::ENABLE),
                (vp, msr::SIEFP, area.event_page() | msr::ENABLE),
                (vp, msr::SINT0 + u32::from(sint::VMBUS), u64::from(sint::LINUX_VECTOR)),
                (vp, msr::SCONTROL, msr::ENABLE),
            ]);
        }
        for (vp, index, value) in writes {
            ensure!(
                self.write_msr(vp, index, value)?,
                "WRMSR of {index:#x} with {value:#x} on VP {vp} faults"
            );
        }
        Ok(())
    }

    /// If the slot of SINT 2 holds a message: copies it, frees it, then looks at the pending flag and writes
    /// EOM if it is set. Payload, and whether EOM was written.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn take_message(&mut self, vp: u32) -> Result<Option<(Vec<u8>, bool)>> {
        let (slot, scratch) = (message_slot(vp), CpuArea::of(vp).scratch());
        self.command(vp, Opcode::Copy, &[slot, scratch, hv_abi::message::SLOT_SIZE / 8])?;
        let mut copy = [0; 256];
        self.memory().read_slice(&mut copy, GuestAddress(scratch))?;
        if copy[..4] == [0; 4] {
            return Ok(None);
        }
        self.command(vp, Opcode::Swap, &[slot, 0])?;
        let [header, ..] = self.command(vp, Opcode::Load, &[slot])?;
        let pending = header >> 40 & u64::from(hv_abi::message::FLAG_PENDING) != 0;
        if pending {
            ensure!(self.write_msr(vp, msr::EOM, 0)?, "WRMSR of EOM faults");
        }
        let size = usize::from(copy[4]);
        Ok(Some((copy[16..].get(..size).context("payload size")?.to_vec(), pending)))
    }

    /// Frees the slot of SINT 2 and does nothing else.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn free_slot(&mut self, vp: u32) -> Result<()> {
        self.command(vp, Opcode::Swap, &[message_slot(vp), 0]).map(drop)
    }

    /// Tests and clears the event flags of SINT 2.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn take_flags(&mut self, vp: u32) -> Result<Vec<u16>> {
        let area = CpuArea::of(vp);
        let flags = area.event_page() + u64::from(sint::VMBUS) * hv_abi::message::EVENT_FLAGS_SIZE;
        self.command(vp, Opcode::Take, &[flags, area.scratch(), 2048 / 64])?;
        let mut bytes = [0; 256];
        self.memory().read_slice(&mut bytes, GuestAddress(area.scratch()))?;
        Ok((0..2048_u16).filter(|flag| bytes[usize::from(flag / 8)] & (1 << (flag % 8)) != 0).collect())
    }

    /// Interrupts that `vp` has taken, after it had the chance to take what is pending.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn interrupts(&mut self, vp: u32) -> Result<u64> {
        self.command(vp, Opcode::Nop, &[])?;
        self.load(CpuArea::of(vp).mailbox() + u64::from(field::INTERRUPTS))
    }

    /// What an event loop does between guest instructions: deliver what waits for a slot that may be free.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn settle(&mut self) -> Result<()> {
        for vp in 0..self.vps() {
            self.command(vp, Opcode::Nop, &[])?;
        }
        let freed = self.synic.slot_freed().is_some_and(|event| event.read().is_ok());
        if freed {
            self.synic.signal().retry();
        }
        Ok(())
    }

    /// Resets the machine: SynIC and CPUs, not the memory.
    ///
    /// # Errors
    /// KVM fails.
    pub fn reset(&mut self) -> Result<()> {
        let program = Program::assemble();
        for (vp, vcpu) in (0..).zip(&self.vcpus) {
            self.synic.reset_vcpu(vp, vcpu)?;
            start(vcpu, vp, &program)?;
        }
        self.synic.reset();
        (0..self.vps()).try_for_each(|vp| self.run_until_ready(vp))
    }

    /// Crashes and resets that the guest has asked for since the last call.
    pub fn take_events(&mut self) -> Vec<ExitOutcome> {
        std::mem::take(&mut self.events)
    }

    /// CPUs.
    #[must_use]
    pub fn vps(&self) -> u32 {
        u32::try_from(self.vcpus.len()).unwrap_or(u32::MAX)
    }

    /// The back end.
    #[must_use]
    pub fn synic(&self) -> &Arc<dyn KvmSynic> {
        &self.synic
    }

    /// RAM.
    #[must_use]
    pub fn memory(&self) -> &GuestMemoryMmap {
        self.slots.ram()
    }

    /// A CPU, which stands at an exit.
    #[must_use]
    pub fn vcpu(&self, vp: u32) -> Option<&VcpuFd> {
        self.vcpus.get(usize::try_from(vp).ok()?)
    }

    /// Memory slots.
    #[must_use]
    pub fn slots(&self) -> &Arc<MemorySlots> {
        &self.slots
    }

    fn faults(&self, vp: u32) -> Result<u64> {
        self.load(CpuArea::of(vp).mailbox() + u64::from(field::FAULTS))
    }

    fn load(&self, at: u64) -> Result<u64> {
        Ok(self.memory().read_obj(GuestAddress(at))?)
    }

    fn store(&self, at: u64, value: u64) -> Result<()> {
        Ok(self.memory().write_obj(value, GuestAddress(at))?)
    }

    fn run_until_ready(&mut self, vp: u32) -> Result<()> {
        let vcpu = self.vcpus.get_mut(usize::try_from(vp)?).context("no such VP")?;
        for _ in 0..MAX_EXITS {
            let exit = match vcpu.run() {
                Err(error) if error.errno() == libc::EINTR => continue,
                exit => exit.context("KVM_RUN")?,
            };
            if self.synic.claims(&exit) {
                match self.synic.on_exit(vp, vcpu)? {
                    ExitOutcome::Handled => {}
                    ExitOutcome::NotMine => bail!("the SynIC claims an exit and then does not know it"),
                    event => self.events.push(event),
                }
                continue;
            }
            match exit {
                VcpuExit::IoOut(port, _) if port == u16::from(READY_PORT) => return Ok(()),
                other => bail!("VP {vp} exits with {other:?}"),
            }
        }
        bail!("VP {vp} has made {MAX_EXITS} exits in one command")
    }
}

fn message_slot(vp: u32) -> u64 {
    CpuArea::of(vp).message_page() + u64::from(sint::VMBUS) * hv_abi::message::SLOT_SIZE
}

/// Puts a CPU in front of the program's first instruction.
fn start(vcpu: &VcpuFd, vp: u32, program: &Program) -> Result<()> {
    let area = CpuArea::of(vp);
    let mut sregs = vcpu.get_sregs()?;
    memory::enter_long_mode(&mut sregs);
    vcpu.set_sregs(&sregs).context("special registers")?;
    let mut regs = vcpu.get_regs()?;
    (regs.rip, regs.rsp, regs.rbp, regs.rflags) =
        (memory::entry(program), area.stack_top(), area.mailbox(), 2);
    vcpu.set_regs(&regs).context("registers")?;
    vcpu.set_mp_state(kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE }).context("run state")
}
