//! The KVM lab: a host program run under a real KVM inside QEMU's emulator.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::packages::{FetchStep, GuestKernel};

/// What to run in the lab. Paths mean the same inside as outside.
#[derive(Debug, Clone)]
pub struct LabJob {
    /// The program: any executable of this machine; its shared libraries are found and taken along.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub arguments: Vec<String>,
    /// Its whole environment, besides PATH, HOME and a library path.
    pub environment: Vec<(String, String)>,
    /// Where it starts; must exist.
    pub working_directory: PathBuf,
    /// Files and directories that it may read.
    pub inputs: Vec<PathBuf>,
    /// Directories that it may write; must exist.
    pub outputs: Vec<PathBuf>,
    /// How long one attempt may take, boot included.
    pub timeout: Duration,
    /// How often to start again after a hang.
    pub retries: u32,
    /// Where to keep the lab kernel's console log, if it should outlive the run.
    pub console_log: Option<PathBuf>,
    /// Raised by the caller to stop: the program gets SIGINT, and a while later QEMU is killed.
    pub stop: Arc<AtomicBool>,
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
    /// The lab hung and is started again; what came before belongs to an attempt that did not count.
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
#[derive(Debug, Clone)]
pub struct LabRun {
    /// How the program ended.
    pub end: ProgramEnd,
    /// Attempts that hung before this one, with what was seen.
    pub hangs: Vec<String>,
    /// Milliseconds from QEMU's start to the lab's init.
    pub boot_ms: u64,
    /// Milliseconds that the program ran.
    pub run_ms: u64,
    /// Milliseconds in all, hung attempts included.
    pub total_ms: u64,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// To be filled in.
    #[error("not written yet")]
    Unwritten,
}

/// A lab that is ready to run jobs: QEMU, and a kernel with `kvm-amd`.
#[derive(Debug, Clone)]
pub struct Lab {
    kernel: GuestKernel,
}

impl Lab {
    /// Finds QEMU and gets the lab's kernel into `cache`.
    ///
    /// # Errors
    /// See [`LabError`].
    pub fn prepare(_cache: &Path, _step: &mut dyn FnMut(FetchStep)) -> Result<Self, LabError> {
        Err(LabError::Unwritten)
    }

    /// The kernel that the lab runs.
    #[must_use]
    pub const fn kernel(&self) -> &GuestKernel {
        &self.kernel
    }

    /// Runs one job to its end; `output` is called on this thread.
    ///
    /// # Errors
    /// See [`LabError`].
    pub fn run(&self, _job: &LabJob, _output: &mut dyn FnMut(LabOutput)) -> Result<LabRun, LabError> {
        Err(LabError::Unwritten)
    }
}
