//! The command line as typed. clap checks its form; what the words mean is checked in the modules beside.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use device_model::options::ByteSize;

use super::choices::{Generation, KvmChoice, ProgressStyle, Scenario, SynicChoice};

/// A KVM host for Linux's Hyper-V video drivers.
#[derive(Debug, Parser)]
#[command(name = "vmbus-emu", version, about, after_help = EXIT_STATUS, max_term_width = 100)]
pub(super) struct Line {
    #[command(subcommand)]
    pub(super) command: Command,
    /// More log lines on standard error; up to three times.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// How to show progress on standard error.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "STYLE", hide = true)]
    pub(super) progress: ProgressStyle,
}

const EXIT_STATUS: &str = "Exit status: 0 all is well, 1 a check failed, 2 the command line is wrong, \
                           4 this host cannot run it.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot a guest, let it draw, and write pictures and a traffic report.
    Run(Run),
    /// Run the simulated guest against the same devices: no KVM, no kernel, the same report.
    Sim(Sim),
    /// Show what this host can do, what would be used, and what to install to get more.
    Doctor(Doctor),
}

#[derive(Args, Debug)]
pub(super) struct Run {
    /// Guest kernel by name, fetched from Debian's archive: for example debian/6.1-cloud.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kernel", "initrd", "modules"])]
    pub(super) guest: Option<String>,
    /// Guest kernel of your own, a bzImage.
    #[arg(long, value_name = "FILE")]
    pub(super) kernel: Option<PathBuf>,
    /// Initramfs of your own in place of the guest agent's; the scenario is then your init's.
    #[arg(long, value_name = "FILE", requires = "kernel", conflicts_with = "modules")]
    pub(super) initrd: Option<PathBuf>,
    /// Words to add at the end of the kernel command line.
    #[arg(long, value_name = "STR", allow_hyphen_values = true)]
    pub(super) cmdline: Option<String>,
    /// Module tree of your kernel (lib/modules/RELEASE, or a build's INSTALL_MOD_PATH).
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub(super) modules: Option<PathBuf>,
    /// Video driver of your own, hyperv_fb.ko or hyperv_drm.ko, in place of the guest's.
    #[arg(long, value_name = "FILE", conflicts_with = "initrd")]
    pub(super) driver: Option<PathBuf>,
    /// Device and its keys; "help" lists all. May be given again, once for each kind; hyperv-synthvid is there
    /// without being named.
    #[arg(long, value_name = "NAME[,KEY=VALUE...]")]
    pub(super) device: Vec<String>,
    /// Highest VMBus version to accept.
    #[arg(long, value_name = "VERSION", default_value_t = vmbus::Version::LATEST)]
    pub(super) vmbus_version: vmbus::Version,
    /// Hyper-V generation of the machine.
    #[arg(long, value_enum, default_value_t, value_name = "NUMBER")]
    pub(super) generation: Generation,
    /// Virtual processors, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) cpus: u32,
    /// Guest memory, 128M to 64G.
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(512 << 20))]
    pub(super) memory: ByteSize,
    /// Where the SynIC is emulated.
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub(super) synic: SynicChoice,
    /// Whose KVM runs the guest.
    #[arg(long, value_enum, default_value_t, value_name = "WHOSE")]
    pub(super) kvm: KvmChoice,
    /// What the guest agent does; demo by default, none with --initrd.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(super) scenario: Option<Scenario>,
    /// How often a scenario does what it is named after, 1 to 1000.
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<u32>,
    /// End the run when the guest resets its machine, where it would be run on (scenario none).
    #[arg(long)]
    pub(super) no_reboot: bool,
    /// Seconds after which the run is stopped and counts as failed.
    #[arg(long, value_name = "SECS", default_value_t = 180)]
    pub(super) timeout: u64,
    /// Where the guest's serial console goes: a file, or "-" for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub(super) console: Option<PathBuf>,
    #[command(flatten)]
    pub(super) results: Results,
}

#[derive(Args, Debug)]
pub(super) struct Sim {
    /// Script that the simulated guest follows.
    #[arg(long, value_name = "NAME")]
    pub(super) script: Option<String>,
    /// Device and its keys; "help" lists them.
    #[arg(long, value_name = "NAME[,KEY=VALUE...]")]
    pub(super) device: Vec<String>,
    #[command(flatten)]
    pub(super) results: Results,
}

#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Whose KVM to look at.
    #[arg(long, value_enum, default_value_t, value_name = "WHOSE")]
    pub(super) kvm: KvmChoice,
}

/// Where results go.
#[derive(Args, Debug, Default)]
pub(super) struct Results {
    /// Write the report here, as JSON; replaced whole or not at all.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Write everything into this directory: graphics.png, console.png, report.json, console.log.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}
