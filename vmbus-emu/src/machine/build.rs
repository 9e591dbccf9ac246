//! From a checked configuration to a machine that stands still: KVM objects, memory, devices, processors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hv_kvm::caps::HostCaps;
use hv_kvm::coalesced::CoalescedPort;
use hv_kvm::layout::{IDENTITY_MAP_GPA, TSS_GPA};
use hv_kvm::mem_slots::MemorySlots;
use hv_kvm::{KvmSynic, SynicMode, SynicParameters, open_synic};
use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use super::acpi::{Platform, Tables};
use super::agent_port::AgentPort;
use super::bus::{IgnoredPorts, PortBus};
use super::config::{Generation, MachineConfig, SynicChoice};
use super::console::Console;
use super::cpuid::CpuidTemplate;
use super::error::MachineError;
use super::event::EventQueue;
use super::exits::{ExitCounters, KvmExits};
use super::pci::{self, PciHost};
use super::power::{self, AcpiFixedHardware, KeyboardController, RESET_PORT, ResetRegister};
use super::rtc::{self, CmosClock};
use super::serial::{COM1_GSI, COM1_PORTS, COM1_TRANSMIT, COM2_GSI, COM2_PORTS, SerialPort};
use super::vcpu::{self, Shared};
use super::{boot, memory};

/// Everything that [`super::Machine`] is made of.
pub(super) struct Parts {
    pub(super) vcpus: Vec<VcpuFd>,
    pub(super) kvm_exits: KvmExits,
    pub(super) shared: Arc<Shared>,
    pub(super) console: Console,
    pub(super) agent: AgentPort,
    pub(super) acpi: Arc<AcpiFixedHardware>,
    pub(super) slots: Arc<MemorySlots>,
}

/// Opens `/dev/kvm` and builds the machine on it. Its console goes on in `console`, or else in the configuration's sink.
pub(super) fn build(config: &MachineConfig, console: Option<Console>) -> Result<Parts, MachineError> {
    let plan = config.plan()?;
    // Before anything that takes time or memory: the most common mistake is a wrong path.
    boot::KernelImage::open(&config.kernel)?;
    let system = Kvm::new().map_err(|error| MachineError::NoKvm(error.into()))?;
    let caps = HostCaps::probe(&system);
    let mode = choose_synic(config.synic, &caps)?;

    let ram = memory::create(&plan.ram)?;
    let platform = Platform {
        vcpus: config.vcpus,
        windows: plan.windows.ranges(),
        has_pci: config.generation.has_pci(),
    };
    let rsdp = Tables::build(platform, boot::layout::ACPI).write(&ram)?;
    boot::write_page_tables(&ram)?;
    let entry = boot::load(config, &ram, rsdp)?;

    let vm = Arc::new(create_vm(&system)?);
    let slots = MemorySlots::new(Arc::clone(&vm), &caps, ram.clone(), plan.windows)?;
    let synic = open_synic(
        mode,
        SynicParameters {
            system: &system,
            caps: &caps,
            vm: Arc::clone(&vm),
            memory: ram.clone(),
            vps: config.vcpus,
            tsc_hz: tsc_hz(&system)?,
        },
    )?;

    let console = console.map_or_else(|| Console::new(&config.console), Ok)?;
    let agent = AgentPort::new();
    let acpi = Arc::new(AcpiFixedHardware::new(sci_line(Arc::clone(&vm))));
    let (com1, com1_line) = SerialPort::output_only(COM1_PORTS, console.clone())?;
    vm.register_irqfd(&com1_line, COM1_GSI)
        .map_err(MachineError::kvm("connect a serial port's interrupt"))?;
    let com1 = Arc::new(com1);
    let ports = attach_devices(config, &vm, &com1, &agent, &acpi)?;
    let vcpus = create_vcpus(&system, &vm, config.vcpus, &*synic)?;
    let kvm_exits = KvmExits::open(&caps, &vm, &vcpus);
    let mut coalesced = None;
    if let Some(first) = vcpus.first() {
        boot::enter_64_bit(first, entry)?;
        coalesced = CoalescedPort::new(&caps, &vm, first, COM1_TRANSMIT)?.map(Arc::new);
        if let Some(letters) = coalesced.clone() {
            com1.on_waiting_for_room(Box::new(move |waits| letters.set_on(!waits)));
        }
    }
    let shared = Arc::new(Shared {
        ports,
        exits: ExitCounters::default(),
        events: EventQueue::default(),
        synic,
        coalesced,
        stop: AtomicBool::new(false),
    });
    Ok(Parts { vcpus, kvm_exits, shared, console, agent, acpi, slots })
}

fn choose_synic(choice: SynicChoice, caps: &HostCaps) -> Result<SynicMode, MachineError> {
    let lacking = |modes: &[SynicMode]| {
        let mut names: Vec<_> =
            modes.iter().flat_map(|&mode| caps.missing_for(mode)).map(|missing| missing.name).collect();
        names.dedup();
        names.join(", ")
    };
    match choice {
        SynicChoice::Auto => caps.recommended_synic().ok_or_else(|| MachineError::NoSynic {
            wanted: "kernel or user-space".to_owned(),
            missing: lacking(&[SynicMode::Kernel, SynicMode::User]),
        }),
        SynicChoice::Only(mode) if caps.missing_for(mode).is_empty() => Ok(mode),
        SynicChoice::Only(mode) => {
            Err(MachineError::NoSynic { wanted: mode.to_string(), missing: lacking(&[mode]) })
        }
    }
}

/// A VM with LAPICs, IOAPIC, PIC and PIT in the kernel.
///
/// The PIT is there for guests that find no frequency MSRs; it costs nothing until it is programmed. Its
/// speaker dummy answers port 0x61, which Linux reads in NMI handling.
fn create_vm(system: &Kvm) -> Result<VmFd, MachineError> {
    let vm = system.create_vm().map_err(MachineError::kvm("create a VM"))?;
    let tss = usize::try_from(TSS_GPA)
        .map_err(|error| MachineError::Host { what: "the TSS pages", source: io::Error::other(error) })?;
    vm.set_identity_map_address(IDENTITY_MAP_GPA).map_err(MachineError::kvm("place its identity map"))?;
    vm.set_tss_address(tss).map_err(MachineError::kvm("place its TSS"))?;
    vm.create_irq_chip().map_err(MachineError::kvm("create the interrupt controllers"))?;
    let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(pit).map_err(MachineError::kvm("create the interval timer"))?;
    Ok(vm)
}

/// The guest's TSC rate. Only a vCPU can tell, and the SynIC wants to know before there is one, so ask one of
/// a VM that is thrown away.
fn tsc_hz(system: &Kvm) -> Result<u64, MachineError> {
    let vm = system.create_vm().map_err(MachineError::kvm("create a VM"))?;
    let vcpu = vm.create_vcpu(0).map_err(MachineError::kvm("create a virtual processor"))?;
    let khz = vcpu.get_tsc_khz().map_err(MachineError::kvm("tell the TSC frequency"))?;
    Ok(u64::from(khz) * 1000)
}

fn create_vcpus(
    system: &Kvm,
    vm: &VmFd,
    count: u32,
    synic: &dyn KvmSynic,
) -> Result<Vec<VcpuFd>, MachineError> {
    let template = CpuidTemplate::new(system, count)?;
    (0..count).map(|id| vcpu::create(vm, id, &template.of(id, synic)?, synic)).collect()
}

fn sci_line(vm: Arc<VmFd>) -> power::SciLine {
    Box::new(move |level| {
        if let Err(error) = vm.set_irq_line(power::SCI_GSI, level) {
            tracing::warn!(%error, "cannot drive the SCI");
        }
    })
}

fn attach_devices(
    config: &MachineConfig,
    vm: &VmFd,
    com1: &Arc<SerialPort<Console>>,
    agent: &AgentPort,
    acpi: &Arc<AcpiFixedHardware>,
) -> Result<PortBus, MachineError> {
    let (com2, com2_line) = SerialPort::with_agent(COM2_PORTS, agent)?;
    let irqfd = MachineError::kvm("connect a serial port's interrupt");
    vm.register_irqfd(&com2_line, COM2_GSI).map_err(irqfd)?;

    let mut ports = PortBus::default();
    ports.attach(COM1_PORTS, Arc::clone(com1) as Arc<dyn super::bus::PortDevice>);
    ports.attach(COM2_PORTS, com2);
    match &config.generation {
        Generation::One { video } => ports.attach(pci::PORTS, Arc::new(PciHost::new(video.as_ref()))),
        Generation::Two { .. } => ports.attach(RESET_PORT..=RESET_PORT, Arc::new(ResetRegister)),
    }
    ports.attach(power::PM_PORTS, Arc::clone(acpi) as Arc<dyn super::bus::PortDevice>);
    ports.attach(rtc::PORTS, Arc::new(CmosClock::new()));
    ports.attach(0x60..=0x60, Arc::new(KeyboardController));
    ports.attach(0x64..=0x64, Arc::new(KeyboardController));
    ports.attach(0x80..=0x80, Arc::new(IgnoredPorts));
    ports.attach(0x402..=0x402, Arc::new(IgnoredPorts));
    ports.attach(0xed..=0xed, Arc::new(IgnoredPorts));
    Ok(ports)
}

/// The pieces that do not depend on KVM are tested in their own files; here only the order of refusals.
#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut MachineConfig)) -> String {
        let mut config = MachineConfig::new("/nonexistent/vmlinuz");
        change(&mut config);
        match build(&config, None) {
            Ok(_) => panic!("a machine without a kernel was built"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn configuration_is_refused_before_the_kernel_is_looked_for() {
        assert!(refusal(|config| config.vcpus = 65).contains("65 virtual processors"));
    }

    #[test]
    fn missing_kernel_is_refused_before_kvm_is_opened() {
        let text = refusal(|_| {});
        assert!(text.starts_with("cannot open or read kernel /nonexistent/vmlinuz"), "{text}");
    }
}
