//! The command line as typed. clap checks its form; what the words mean is checked in the modules beside.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use device_model::options::ByteSize;

use super::choices::{FailOn, Generation, KvmChoice, LabClock, ProgressStyle, Scenario, SynicChoice};

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
    /// Put workloads on a guest's video driver and measure its refresh traffic against what it writes.
    Measure(Measure),
    /// Compare measurements of two guests, or measure two guests in turn and compare them.
    Compare(Compare),
    /// Run the simulated guest against the same devices: no KVM, no kernel, the same report.
    Sim(Sim),
    /// Ask something of a run that was started with --control.
    #[command(after_help = crate::control::commands_help())]
    Ctl(Ctl),
    /// Show what this host can do, what would be used, and what to install to get more.
    Doctor(Doctor),
}

/// A guest and the machine that it gets.
#[derive(Args, Debug)]
pub(super) struct Machine {
    /// Guest kernel by name, fetched from Debian's archive: for example debian/6.1-cloud.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kernel", "initrd", "modules"])]
    pub(super) guest: Option<String>,
    /// Guest kernel of your own, a bzImage.
    #[arg(long, value_name = "FILE")]
    pub(super) kernel: Option<PathBuf>,
    /// Initramfs of your own in place of the guest agent's; the scenario is then your init's.
    #[arg(long, value_name = "FILE", requires = "kernel", conflicts_with = "modules")]
    pub(super) initrd: Option<PathBuf>,
    /// Kernel tree that was built: its bzImage, and its modules where they lie.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["guest", "kernel", "initrd", "modules"])]
    pub(super) kernel_tree: Option<PathBuf>,
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
    /// Frame buffer that the firmware leaves for efifb or a simple frame buffer driver, from which the video driver takes over;
    /// without a size as large as the device's mode. Generation 2 only.
    #[arg(long, value_name = "WxH", num_args = 0..=1)]
    pub(super) firmware_framebuffer: Option<Option<String>>,
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
    /// What moves the clock of the KVM lab; host without it. With "instructions" the guest runs in the lab, unless --kvm says otherwise.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) lab_clock: Option<LabClock>,
    /// Seconds after which the guest is stopped and counts as failed, by the lab's clock in the KVM lab; 180 by default, 900 where
    /// it is measured.
    #[arg(long, value_name = "SECS")]
    pub(super) timeout: Option<u64>,
    /// Where the guest's serial console goes: a file, or "-" for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub(super) console: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) machine: Machine,
    /// What the guest agent does; demo by default, none with --initrd.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(super) scenario: Option<Scenario>,
    /// How often a scenario does what it is named after, 1 to 1000.
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<u32>,
    /// End the run when the guest resets its machine, where it would be run on (scenario none).
    #[arg(long)]
    pub(super) no_reboot: bool,
    /// Draw the guest's pointer over the pictures of --out; checks look at them without it.
    #[arg(long, requires = "out")]
    pub(super) pointer: bool,
    /// Listen here for vmbus-emu ctl while the run goes on.
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
    #[command(flatten)]
    pub(super) results: Results,
}

#[derive(Args, Debug)]
pub(super) struct Measure {
    #[command(flatten)]
    pub(super) machine: Machine,
    /// Workloads, in this order; "help" lists them. Without it: all that apply to the guest, but the long ones.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(super) workload: Vec<String>,
    /// How much of each workload is done, in percent of its full size, 1 to 1000.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    pub(super) scale: u32,
    /// Seed of what the workloads draw, and where.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Limits to keep, in place of those that the program has for the driver.
    #[arg(long, value_name = "FILE")]
    pub(super) budget: Option<PathBuf>,
    /// Leave out the oracle: only declared traffic is measured, and nothing slows the event thread down.
    #[arg(long)]
    pub(super) no_oracle: bool,
    /// Milliseconds after which a changed pixel that no DIRT covers is missed, 1 to 10000; 100 by default, and 1000 in
    /// the KVM lab, where a guest is that much slower.
    #[arg(long, value_name = "MS")]
    pub(super) grace: Option<u64>,
    /// Run each workload a second time while the host wants no DIRT: what the refresh traffic costs the guest.
    #[arg(long)]
    pub(super) cost: bool,
    /// Measure each workload so many times in the same guest, 1 to 100: how far the counts agree.
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<u32>,
    /// Do each workload with the oracle and without it in turn, so many rounds, 1 to 100 (4 if none is given): what the
    /// oracle costs, as a ratio. It says something of workloads without a pace, such as flood.
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "4", require_equals = true,
          conflicts_with = "no_oracle")]
    pub(super) oracle_overhead: Option<u32>,
    /// Write everything into this directory: report.json, report.html, heat maps, pictures, trace.json, console.log.
    #[arg(long, value_name = "DIR", visible_alias = "out")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Compare {
    /// Reports of A, then of B: a report.json each, or a directory that holds some at any depth.
    #[arg(value_name = "A B", num_args = 2, conflicts_with_all = ["guest", "a", "b"])]
    pub(super) reports: Vec<PathBuf>,
    /// Guests to measure and compare, given twice: A, then B.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["a", "b"])]
    pub(super) guest: Vec<String>,
    /// Options of measure for A alone, as one word: for example "--guest debian/6.1-cloud --driver new.ko".
    #[arg(long, value_name = "OPTIONS", requires = "b", allow_hyphen_values = true)]
    pub(super) a: Option<String>,
    /// Options of measure for B alone.
    #[arg(long, value_name = "OPTIONS", requires = "a", allow_hyphen_values = true)]
    pub(super) b: Option<String>,
    /// How often each guest is measured, in the order A B B A; 4 is the least from which a test can tell.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(super) rounds: u32,
    /// Keep every measurement in this directory.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Write the comparison here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Verdict that ends with status 1; without it any verdict ends with 0.
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub(super) fail_on: Option<FailOn>,
    /// Options of measure for both guests, such as --workload and --scale.
    #[arg(last = true, value_name = "OPTIONS", conflicts_with = "reports")]
    pub(super) both: Vec<String>,
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
pub(super) struct Ctl {
    /// Socket of the run.
    #[arg(long, value_name = "PATH")]
    pub(super) socket: PathBuf,
    /// What to ask.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<String>,
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
