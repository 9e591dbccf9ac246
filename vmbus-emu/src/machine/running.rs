//! The machine itself: built stopped, started once, stopped once, dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use hv_kvm::SynicMode;
use hv_kvm::mem_slots::MemorySlots;
use hv_kvm::vram::{Aperture, KvmVramMapper};
use kvm_ioctls::VcpuFd;
use synic::{Doorbells, GuestSignal, Inbox, SynicStats};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::agent_port::AgentPort;
use super::build::{self, Parts};
use super::config::{FirmwareScreen, Generation, MachineConfig};
use super::console::Console;
use super::error::MachineError;
use super::event::MachineEvent;
use super::exits::{ExitSnapshot, KvmExits};
use super::power::AcpiFixedHardware;
use super::vcpu::{Shared, VcpuThread};

/// How long a vCPU may take to leave the guest after it has been kicked. Far beyond what an exit handler
/// needs; reached only when KVM or the host hangs.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Time between two kicks.
const KICK_INTERVAL: Duration = Duration::from_millis(1);

/// One virtual machine.
///
/// *Life*: [`Self::build`] leaves it stopped with the kernel in memory, [`Self::start`] lets it run,
/// [`Self::stop`] ends it for good. A guest that resets is run again by [`Self::built_again`]: new RAM, new
/// SynIC, and therefore a new bus on top.
///
/// *Drop*: stops. Then the vCPUs go, the SynIC with its doorbells, the memory slots, and last the memory
/// itself, which everything before may write to. Handles given out ([`Self::signal`], [`Self::memory`], ...)
/// keep what they need alive, and do nothing useful any more.
pub(crate) struct Machine {
    // Fields drop in this order.
    threads: Vec<VcpuThread>,
    vcpus: Vec<VcpuFd>,
    kvm_exits: KvmExits,
    shared: Arc<Shared>,
    acpi: Arc<AcpiFixedHardware>,
    agent: AgentPort,
    console: Console,
    slots: Arc<MemorySlots>,
    generation: Generation,
    started: bool,
}

impl Machine {
    /// Checks the configuration, opens `/dev/kvm` and sets everything up.
    ///
    /// # Errors
    /// [`MachineError`]: the configuration or a file is wrong, or the host cannot do it.
    pub(crate) fn build(config: &MachineConfig) -> Result<Self, MachineError> {
        build::build(config, None).map(|parts| Self::stopped(config, parts))
    }

    /// A machine as [`Self::build`] makes it, that writes on in this one's console log: what a reset leaves.
    ///
    /// # Errors
    /// As for [`Self::build`].
    pub(crate) fn built_again(&self, config: &MachineConfig) -> Result<Self, MachineError> {
        build::build(config, Some(self.console.clone())).map(|parts| Self::stopped(config, parts))
    }

    fn stopped(config: &MachineConfig, parts: Parts) -> Self {
        let Parts { vcpus, kvm_exits, shared, console, agent, acpi, slots } = parts;
        Self {
            threads: Vec::new(),
            vcpus,
            kvm_exits,
            shared,
            acpi,
            agent,
            console,
            slots,
            generation: config.generation,
            started: false,
        }
    }

    /// Starts one thread a processor. Subscribe to the SynIC before: the guest runs at once.
    ///
    /// # Errors
    /// [`MachineError::AlreadyStarted`], or a thread cannot be made; the machine is stopped then.
    pub(crate) fn start(&mut self) -> Result<(), MachineError> {
        if std::mem::replace(&mut self.started, true) {
            return Err(MachineError::AlreadyStarted);
        }
        for (id, vcpu) in (0..).zip(std::mem::take(&mut self.vcpus)) {
            match VcpuThread::spawn(id, vcpu, Arc::clone(&self.shared)) {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    self.stop()?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes all processors out of the guest and joins their threads. Harmless when stopped already.
    ///
    /// # Errors
    /// [`MachineError::Host`] when a vCPU does not come back or its thread panicked.
    pub(crate) fn stop(&mut self) -> Result<(), MachineError> {
        self.shared.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.threads.iter().any(|thread| !thread.has_ended()) {
            if Instant::now() >= deadline {
                let source = io::ErrorKind::TimedOut.into();
                return Err(MachineError::Host { what: "a clean stop of all vCPU threads", source });
            }
            self.threads.iter().filter(|thread| !thread.has_ended()).for_each(VcpuThread::kick);
            thread::sleep(KICK_INTERVAL);
        }
        let mut panicked = false;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Some(vcpu) => self.vcpus.push(vcpu),
                None => panicked = true,
            }
        }
        self.console.finish();
        if panicked {
            let source = io::Error::other("the thread panicked");
            return Err(MachineError::Host { what: "a clean end of a vCPU thread", source });
        }
        Ok(())
    }

    /// The next event, waiting up to `timeout` for it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for an owner with nothing else to wait for"))]
    pub(crate) fn wait_event(&self, timeout: Duration) -> Option<MachineEvent> {
        self.shared.events.next(timeout)
    }

    /// The next event, if there is one already.
    pub(crate) fn try_event(&self) -> Option<MachineEvent> {
        self.shared.events.try_next()
    }

    /// Presses the power button; a guest that listens (acpid, systemd) shuts down.
    #[expect(dead_code, reason = "for a guest that has no agent to ask")]
    pub(crate) fn press_power_button(&self) {
        self.acpi.press_power_button();
    }

    /// Whether the guest has not been stopped, by itself or by [`Self::stop`].
    pub(crate) fn is_running(&self) -> bool {
        self.started && !self.shared.stop.load(Ordering::Acquire)
    }

    /// Guest RAM. Clones share the mapping.
    pub(crate) fn memory(&self) -> &GuestMemoryMmap {
        self.slots.ram()
    }

    /// Memory slots, for dirty logging.
    pub(crate) fn slots(&self) -> &Arc<MemorySlots> {
        &self.slots
    }

    /// Which SynIC the machine got.
    pub(crate) fn synic_mode(&self) -> SynicMode {
        self.shared.synic.mode()
    }

    /// Host to guest: messages and event flags.
    pub(crate) fn signal(&self) -> Arc<dyn GuestSignal> {
        self.shared.synic.signal()
    }

    /// Guest to host: an eventfd for each connection.
    pub(crate) fn doorbells(&self) -> Arc<dyn Doorbells> {
        self.shared.synic.doorbells()
    }

    /// Guest to host: posted messages.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.shared.synic.inbox()
    }

    /// What the SynIC counted.
    pub(crate) fn synic_stats(&self) -> Arc<SynicStats> {
        self.shared.synic.stats()
    }

    /// An eventfd that is written when a message slot may have become free: read it, then call
    /// [`GuestSignal::retry`]. `None` when the vCPU threads do that themselves.
    pub(crate) fn slot_freed(&self) -> Option<&EventFd> {
        self.shared.synic.slot_freed()
    }

    /// A mapper that backs VRAM of up to `bytes` wherever the guest declares it, and its memory. A Generation 2
    /// guest may declare it in the MMIO windows only, and finds it mapped already if its firmware left a screen there.
    ///
    /// # Errors
    /// [`MachineError::Memory`], or [`MachineError::FirmwareScreen`].
    pub(crate) fn vram(&self, bytes: u64) -> Result<(KvmVramMapper, Arc<Aperture>), MachineError> {
        let aperture = Aperture::new(bytes).map_err(|source| MachineError::Memory { bytes, source })?;
        let mapper = KvmVramMapper::new(Arc::clone(&self.slots), Arc::clone(&aperture));
        let mapper = match self.generation {
            Generation::One { .. } => mapper,
            Generation::Two { screen: None } => mapper.in_windows_only(),
            Generation::Two { screen: Some(screen) } => mapper
                .in_windows_only()
                .mapped_by_firmware(screen.gpa(), FirmwareScreen::mapped_bytes(bytes), screen.bytes())
                .map_err(MachineError::FirmwareScreen)?,
        };
        Ok((mapper, aperture))
    }

    /// COM1's output.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// The host's end of COM2.
    pub(crate) fn agent(&self) -> &AgentPort {
        &self.agent
    }

    /// Exits to user space so far.
    pub(crate) fn exits(&self) -> ExitSnapshot {
        self.shared.exits.snapshot()
    }

    /// Exits so far, those that the kernel handled included, as KVM counts them; `None` when it does not.
    pub(crate) fn kvm_exits(&self) -> Option<u64> {
        self.kvm_exits.total()
    }

    /// The same by the name that KVM's statistics give the reason; not every exit has one. Empty when KVM does not count.
    pub(crate) fn kvm_exits_by_reason(&self) -> BTreeMap<String, u64> {
        self.kvm_exits.by_reason()
    }

    /// Processor time of the processors' threads so far, KVM's work for them included. `None` while they do not run, or when the host does
    /// not tell.
    pub(crate) fn vcpu_cpu(&self) -> Option<Duration> {
        if self.threads.is_empty() {
            return None;
        }
        self.threads.iter().map(VcpuThread::cpu_time).sum()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("synic", &self.synic_mode())
            .field("running", &self.is_running())
            .field("exits", &self.exits())
            .finish_non_exhaustive()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "machine dropped");
        }
    }
}
