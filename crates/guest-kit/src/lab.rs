//! The KVM lab: a host program run under a real KVM, for machines whose own KVM cannot run Linux or that have none.
//!
//! QEMU's emulator (TCG) emulates AMD SVM with nested paging, so a stock Debian kernel booted in it has a working `kvm-amd` with every
//! Hyper-V feature. The lab boots one with the agent as init; the agent mounts the job's directories by 9p at the paths that they
//! have on the host, runs the program, passes its output on over a serial port, and powers off. So a command line means the same
//! inside as outside.
//!
//! A lab that hangs is a finding: it is retried as often as the job allows, and every hang is in the result.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use crate::{
    modules::ModuleTree,
    packages::{self, FetchStep, GuestKernel},
};

mod attempt;
mod clock;
mod error;
mod image;
mod kernel_image;
mod libraries;
mod qemu;

pub use self::{
    clock::{BUILT_QEMU_REVISION, LabClock},
    error::LabError,
};
pub use guest_agent::lab::{LineAnswer, LineRequest};

use self::{attempt::AttemptEnd, image::JobImage};

/// The kernel that the lab runs: the cloud flavour has no 9p.
pub const LAB_GUEST: &str = "debian/6.1";

/// What the lab's kernel loads: 9p over virtio, and KVM.
const LAB_MODULES: [&str; 5] = ["9p", "9pnet_virtio", "virtio_pci", "ccp", "kvm_amd"];

/// What to run in the lab. Paths mean the same inside as outside; relative ones are taken from the current directory.
#[derive(Debug, Clone)]
pub struct LabJob {
    /// The program: any x86-64 executable of this machine; its shared libraries are found and taken along.
    pub program: PathBuf,
    /// Further programs that it starts, taken along in the same way.
    pub more_programs: Vec<PathBuf>,
    /// Its arguments, without the program's name.
    pub arguments: Vec<String>,
    /// Its environment. PATH, HOME and LD_LIBRARY_PATH are added unless they are here.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Files and directories that it may read. A file is copied when the lab starts, a directory is shared.
    pub inputs: Vec<PathBuf>,
    /// Directories that it may write; must exist.
    pub outputs: Vec<PathBuf>,
    /// Memory of the lab in MiB, of which a guest's is a part.
    pub memory_mib: u32,
    /// How long the lab may take to its init. Longer is a hang.
    pub boot_timeout: Duration,
    /// How long one attempt may take in all. Longer is a hang.
    pub timeout: Duration,
    /// How often to start again after a hang.
    pub retries: u32,
    /// Where to keep the lab kernel's console log, if it should outlive the run. Attempts before the last add their number to it.
    pub console_log: Option<PathBuf>,
    /// A way to speak with the program while it runs, line by line.
    pub line_port: Option<LinePort>,
    /// Raised by the caller to stop: the program gets SIGINT, and 20 s later QEMU is killed.
    pub stop: Arc<AtomicBool>,
}

impl LabJob {
    /// A job with the usual limits: 2 GiB, 60 s to boot, 180 s in all, one retry. It starts in `/`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            more_programs: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            working_directory: "/".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            memory_mib: 2048,
            boot_timeout: Duration::from_secs(60),
            timeout: Duration::from_secs(180),
            retries: 1,
            console_log: None,
            line_port: None,
            stop: Arc::default(),
        }
    }
}

/// Connects a unix socket of the host with one of the program's, line by line: a [`LineRequest`] written to the first becomes a
/// line of a client of the second, and its answer comes back as a [`LineAnswer`]. The first takes one connection at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePort {
    /// Made by QEMU when the lab starts, with the permissions of its directory alone: make that private.
    pub host: PathBuf,
    /// Where the program listens, a path inside the lab.
    pub inside: PathBuf,
}

/// What comes out while a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabOutput {
    /// The lab's kernel is up.
    Booted {
        /// Its release.
        release: String,
        /// Milliseconds since QEMU was started.
        ms: u64,
    },
    /// The program starts.
    Started,
    /// A line of its standard output.
    Stdout(String),
    /// A line of its standard error.
    Stderr(String),
    /// The lab hung and is started again; what came before belongs to an attempt that does not count.
    Retrying {
        /// What was seen.
        reason: String,
    },
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramEnd {
    /// It exited.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

/// A job that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabRun {
    /// How the program ended.
    pub end: ProgramEnd,
    /// What was seen in attempts that hung before this one.
    pub hangs: Vec<String>,
    /// Milliseconds from QEMU's start to the lab's init.
    pub boot_ms: u64,
    /// Milliseconds that the program ran.
    pub run_ms: u64,
    /// Milliseconds in all: the image, the lab's power-off and hung attempts included.
    pub total_ms: u64,
}

/// A lab that is ready to run jobs: QEMU, and a kernel with `kvm-amd`.
#[derive(Debug, Clone)]
pub struct Lab {
    qemu: PathBuf,
    clock: LabClock,
    kernel: GuestKernel,
    /// What QEMU boots: the kernel's image, or the same unpacked.
    boot_image: PathBuf,
}

impl Lab {
    /// Finds QEMU and gets the lab's kernel into `cache`.
    ///
    /// # Errors
    /// [`LabError::NoQemu`] or [`LabError::NoBuiltQemu`], or why there is no kernel.
    pub fn prepare(cache: &Path, clock: LabClock, step: &mut dyn FnMut(FetchStep)) -> Result<Self, LabError> {
        let qemu = clock.find_qemu(cache)?;
        let kernel = packages::fetch(LAB_GUEST, cache, step)?;
        let boot_image = kernel_image::for_qemu(&kernel);
        Ok(Self { qemu, clock, kernel, boot_image })
    }

    /// The kernel that the lab runs.
    #[must_use]
    pub const fn kernel(&self) -> &GuestKernel {
        &self.kernel
    }

    /// Runs one job to its end. `output` is called on this thread. QEMU dies with this thread's process, however that ends.
    ///
    /// # Errors
    /// A job that cannot be (a path that does not exist), a lab that does not work, or hung too often.
    pub fn run(&self, job: &LabJob, output: &mut dyn FnMut(LabOutput)) -> Result<LabRun, LabError> {
        let start = Instant::now();
        let mut names = LAB_MODULES.to_vec();
        names.extend(job.line_port.as_ref().map(|_| "virtio_console"));
        let modules = ModuleTree::open(&self.kernel.modules)?.closure(&names)?;
        let image = JobImage::build(job, &modules)?;
        let mut hangs = Vec::new();
        loop {
            let console_log = image::attempt_log(job, &image, hangs.len());
            match attempt::run(self, job, &image, &console_log, output)? {
                AttemptEnd::Finished { end, boot_ms, run_ms } => {
                    let total_ms = attempt::milliseconds(start);
                    return Ok(LabRun { end, hangs, boot_ms, run_ms, total_ms });
                }
                AttemptEnd::Hung { reason } => {
                    tracing::warn!(reason, console = %console_log.display(), "the KVM lab hung");
                    hangs.push(reason.clone());
                    if hangs.len() > job.retries as usize {
                        let console_tail = attempt::tail_of(&console_log);
                        return Err(LabError::Hung { hangs, console_tail });
                    }
                    output(LabOutput::Retrying { reason });
                }
            }
        }
    }
}
