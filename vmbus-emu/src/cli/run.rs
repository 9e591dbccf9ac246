//! Arguments of `run`, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use device_model::options::{ByteSize, DeviceSet, SynthvidOptions, nearest, screen_size};
use guest_kit::initramfs;
use guest_kit::kernel_tree::KernelTree;
use guest_kit::packages::KNOWN_GUESTS;
use guest_kit::video_driver::VideoDriver;

use super::choices::{Generation, KvmChoice, LabClock, Scenario, SynicChoice};
use super::{devices, files, low};
use crate::exit::ExitError;
use crate::machine::{FirmwareScreen, check_kernel};
use crate::output::{ConsoleOutput, ResultFiles};

/// Most virtual processors of a guest.
const CPUS_MAX: u32 = 64;
/// Least guest memory: a Debian cloud kernel, its initramfs and the agent need most of it.
const MEMORY_MIN: ByteSize = ByteSize(128 << 20);
/// Most guest memory.
const MEMORY_MAX: ByteSize = ByteSize(64 << 30);
/// How long a run may take if nothing is said, in seconds.
const TIMEOUT: u64 = 180;
/// Longest run, in seconds.
const TIMEOUT_MAX: u64 = 24 * 3600;
/// Most repetitions of a scenario.
const REPEAT_MAX: u64 = 1000;
/// Longest text after --cmdline; Linux itself stops at 2048 bytes, the machine's own words included
/// (`COMMAND_LINE_SIZE`, arch/x86).
const CMDLINE_MAX: usize = 1536;

/// What to boot, on what machine, and where the results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunArgs {
    /// The guest's kernel and what its user space is.
    pub(crate) guest: GuestSource,
    /// The user's video driver in place of the guest's own.
    pub(crate) driver: Option<VideoDriver>,
    /// A program of the user's that the guest can run.
    pub(crate) program: Option<PathBuf>,
    /// Words to add at the end of the kernel command line; empty if there are none.
    pub(crate) cmdline: String,
    /// The video device.
    pub(crate) video: SynthvidOptions,
    /// There is a keyboard too.
    pub(crate) keyboard: bool,
    /// There is a mouse too.
    pub(crate) mouse: bool,
    /// Highest VMBus version to accept.
    pub(crate) vmbus_version: vmbus::Version,
    /// Hyper-V generation of the machine.
    pub(crate) generation: Generation,
    /// What the firmware leaves on the screen's memory for the kernel; Generation 2 only.
    pub(crate) firmware_framebuffer: Option<FirmwareScreen>,
    /// Virtual processors, 1 to 64.
    pub(crate) cpus: u32,
    /// Guest memory in bytes, whole MiB.
    pub(crate) memory_bytes: u64,
    /// Where the SynIC is emulated.
    pub(crate) synic: SynicChoice,
    /// Whose KVM runs the guest.
    pub(crate) kvm: KvmChoice,
    /// What moves the lab's clock, if it is the lab's.
    pub(crate) lab_clock: LabClock,
    /// What the guest agent does. [`Scenario::None`] where there is no agent.
    pub(crate) scenario: Scenario,
    /// How often the scenario does what it is named after; its own number if none is given.
    pub(crate) repeat: Option<u32>,
    /// A reset ends the run, where the guest would be run on.
    pub(crate) no_reboot: bool,
    /// Pictures are written with the guest's pointer over them.
    pub(crate) pointer: bool,
    /// After this the run is stopped and counts as failed.
    pub(crate) timeout: Duration,
    /// Where the guest's serial console goes.
    pub(crate) console: ConsoleOutput,
    /// Where to listen for `ctl` meanwhile.
    pub(crate) control: Option<PathBuf>,
    /// Where pictures and the report go.
    pub(crate) results: ResultFiles,
}

/// Where a guest's kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GuestSource {
    /// A name that the guest kit knows, such as `debian/6.1-cloud`; the agent is its init.
    Named(String),
    /// A file of the user's.
    Files {
        /// bzImage.
        kernel: PathBuf,
        /// What runs on it.
        userland: Userland,
    },
}

/// What runs on a kernel of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Userland {
    /// The guest agent, with modules from this tree (or all drivers built in).
    Agent {
        /// Module tree.
        modules: Option<PathBuf>,
    },
    /// An initramfs of the user's; no agent, so no scenario.
    Initrd(PathBuf),
}

impl TryFrom<low::Run> for RunArgs {
    type Error = ExitError;

    /// Checks what costs nothing first, and places to write to last, so that a refused command leaves no trace.
    fn try_from(run: low::Run) -> Result<Self, ExitError> {
        let machine = run.machine;
        let guest = match machine.kernel_tree {
            Some(tree) => kernel_tree(&tree, machine.driver.is_some())?,
            None => guest_source(machine.guest, machine.kernel, machine.initrd, machine.modules)?,
        };
        let scenario = scenario(run.scenario, &guest)?;
        let DeviceSet { video, keyboard, mouse } = devices(&machine.device)?;
        if scenario == Scenario::Input && !keyboard && !mouse {
            return Err(ExitError::usage("--scenario input: there is nothing to type or point with")
                .with_hint("add --device hyperv-keyboard or --device hyperv-mouse"));
        }
        let firmware_framebuffer = machine
            .firmware_framebuffer
            .map(|size| firmware_framebuffer(size.as_deref(), machine.generation, &video))
            .transpose()?;
        in_range("--cpus", u64::from(machine.cpus), 1, u64::from(CPUS_MAX))?;
        let timeout = machine.timeout.unwrap_or(TIMEOUT);
        in_range("--timeout", timeout, 1, TIMEOUT_MAX)?;
        if let Some(repeat) = run.repeat {
            in_range("--repeat", u64::from(repeat), 1, REPEAT_MAX)?;
            if !scenario.repeats() {
                return Err(ExitError::usage(format!(
                    "--repeat: there is nothing to repeat in scenario {scenario}"
                )));
            }
        }
        let memory_bytes = memory(machine.memory)?;
        let cmdline = machine.cmdline.unwrap_or_default();
        if cmdline.len() > CMDLINE_MAX {
            let len = cmdline.len();
            return Err(ExitError::usage(format!("--cmdline: {len} bytes, limit is {CMDLINE_MAX}")));
        }
        if cmdline.contains(['\0', '\n']) {
            return Err(ExitError::usage(
                "--cmdline: a zero byte or a line break cannot be passed to a kernel",
            ));
        }
        if let GuestSource::Files { kernel, .. } = &guest {
            check_kernel(kernel).map_err(|error| ExitError::usage(format!("--kernel: {error}")))?;
        }
        let driver = machine.driver.map(|file| video_driver(&file)).transpose()?;
        let results = ResultFiles::claim(run.results.report, run.results.out)?;
        let console = ConsoleOutput::claim(machine.console, &results)?;
        Ok(Self {
            guest,
            driver,
            program: None,
            cmdline,
            video,
            keyboard,
            mouse,
            vmbus_version: machine.vmbus_version,
            generation: machine.generation,
            firmware_framebuffer,
            cpus: machine.cpus,
            memory_bytes,
            synic: machine.synic,
            kvm: whose_kvm(machine.kvm, machine.lab_clock)?,
            lab_clock: machine.lab_clock.unwrap_or_default(),
            scenario,
            repeat: run.repeat,
            no_reboot: run.no_reboot,
            pointer: run.pointer,
            timeout: Duration::from_secs(timeout),
            console,
            control: run.control,
            results,
        })
    }
}

fn guest_source(
    guest: Option<String>,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    modules: Option<PathBuf>,
) -> Result<GuestSource, ExitError> {
    let kernel = match (guest, kernel) {
        (Some(name), _) => return named_guest(name),
        (None, Some(kernel)) => kernel,
        (None, None) => {
            return Err(ExitError::usage("no guest was named")
                .with_hint(
                "--guest debian/6.1-cloud boots Debian's kernel, --kernel FILE or --kernel-tree DIR one of your own",
            ));
        }
    };
    files::readable_file("--kernel", &kernel)?;
    let userland = match initrd {
        Some(initrd) => {
            files::readable_file("--initrd", &initrd)?;
            Userland::Initrd(initrd)
        }
        None => {
            if let Some(modules) = &modules {
                files::readable_directory("--modules", modules)?;
            }
            Userland::Agent { modules }
        }
    };
    Ok(GuestSource::Files { kernel, userland })
}

/// What `make` left in a kernel tree, with the agent on top.
fn kernel_tree(tree: &Path, own_driver: bool) -> Result<GuestSource, ExitError> {
    files::readable_directory("--kernel-tree", tree)?;
    let KernelTree { image, modules } = KernelTree::open(tree, own_driver)
        .map_err(|error| ExitError::usage(format!("--kernel-tree: {error}")))?;
    Ok(GuestSource::Files { kernel: image, userland: Userland::Agent { modules } })
}

/// A name that the guest kit knows.
fn named_guest(name: String) -> Result<GuestSource, ExitError> {
    if KNOWN_GUESTS.iter().any(|guest| guest.name == name) {
        return Ok(GuestSource::Named(name));
    }
    let known: Vec<&str> = KNOWN_GUESTS.iter().map(|guest| guest.name).collect();
    let message = format!("--guest: unknown guest \"{name}\", known guests: {}", known.join(", "));
    Err(ExitError::usage(message).with_hint(match nearest(&name, known) {
        Some(guest) => format!("did you mean {guest}?"),
        None => "a kernel file of your own is named by --kernel FILE".to_owned(),
    }))
}

fn video_driver(file: &Path) -> Result<VideoDriver, ExitError> {
    files::readable_file("--driver", file)?;
    VideoDriver::open(file).map_err(|error| ExitError::usage(format!("--driver: {error}")))
}

fn scenario(asked: Option<Scenario>, guest: &GuestSource) -> Result<Scenario, ExitError> {
    let initrd = match guest {
        GuestSource::Files { userland: Userland::Initrd(initrd), .. } => Some(initrd),
        _ => None,
    };
    // One that was built around the agent can play a scenario, if somebody asks for it.
    let agents = |initrd: &PathBuf| initramfs::runs_guest_agent(initrd).unwrap_or(false);
    let own_init = initrd.is_some_and(|initrd| asked.is_none() || !agents(initrd));
    match (asked, own_init) {
        (Some(Scenario::None), _) | (None, true) => Ok(Scenario::None),
        (None, false) => Ok(Scenario::Demo),
        (Some(scenario), false) => Ok(scenario),
        (Some(scenario), true) => Err(ExitError::usage(format!(
            "--scenario {scenario} needs the guest agent, which an initramfs of your own does not run"
        ))
        .with_hint("leave out --initrd, or take --scenario none")),
    }
}

/// Whose KVM it is, if the lab's clock was chosen.
fn whose_kvm(kvm: KvmChoice, lab_clock: Option<LabClock>) -> Result<KvmChoice, ExitError> {
    match (kvm, lab_clock) {
        (KvmChoice::Host, Some(clock)) => {
            Err(ExitError::usage(format!("--lab-clock {clock}: with --kvm host there is no lab"))
                .with_hint("leave out --kvm host, or take --kvm lab"))
        }
        (KvmChoice::Auto, Some(LabClock::Instructions)) => Ok(KvmChoice::Lab),
        (kvm, _) => Ok(kvm),
    }
}

/// The firmware's screen, of the size that was named or else of the device's mode.
fn firmware_framebuffer(
    size: Option<&str>,
    generation: Generation,
    video: &SynthvidOptions,
) -> Result<FirmwareScreen, ExitError> {
    const OPTION: &str = "--firmware-framebuffer";
    if generation != Generation::Two {
        return Err(ExitError::usage(format!(
            "{OPTION}: a machine of Generation {generation} boots without firmware, only Generation 2 has its frame buffer"
        ))
        .with_hint("add --generation 2"));
    }
    let size = match size {
        Some(text) => {
            screen_size(text).map_err(|error| ExitError::usage(format!("{OPTION}: {}", error.reason)))?
        }
        None => video.mode(),
    };
    let (Ok(width), Ok(height)) = (u16::try_from(size.width), u16::try_from(size.height)) else {
        return Err(ExitError::usage(format!("{OPTION}: {size} is beyond the limit of 65535 either way")));
    };
    let screen = FirmwareScreen { width, height };
    if width > FirmwareScreen::WIDTH_MAX {
        return Err(ExitError::usage(format!(
            "{OPTION}: {width} pixels in a row, limit is {}",
            FirmwareScreen::WIDTH_MAX
        )));
    }
    let held = FirmwareScreen::mapped_bytes(video.vram_bytes);
    if screen.bytes() > held {
        return Err(ExitError::usage(format!(
            "{OPTION}: {size} needs {} bytes at 32 bits per pixel, limit is {held}: what the MMIO window below 4 GiB holds of \
             vram={}",
            screen.bytes(),
            ByteSize(video.vram_bytes)
        )));
    }
    Ok(screen)
}

fn memory(ByteSize(bytes): ByteSize) -> Result<u64, ExitError> {
    if bytes < MEMORY_MIN.0 {
        return Err(ExitError::usage(format!(
            "--memory: {bytes} bytes is too little for a guest, at least {MEMORY_MIN} is needed"
        )));
    }
    if bytes > MEMORY_MAX.0 {
        return Err(ExitError::usage(format!(
            "--memory: {bytes} bytes is more than the limit, {MEMORY_MAX}"
        )));
    }
    if bytes % (1 << 20) != 0 {
        return Err(ExitError::usage(format!("--memory: {bytes} bytes is not a whole number of MiB")));
    }
    Ok(bytes)
}

pub(super) fn in_range(option: &str, value: u64, min: u64, max: u64) -> Result<(), ExitError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ExitError::usage(format!("{option}: {value} is outside {min} to {max}")))
}
