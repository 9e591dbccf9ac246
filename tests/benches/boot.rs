//! Boot to the first DIRT, beside QEMU with `vmbus-bridge` that boots the same kernel and initramfs to the same line of the guest agent,
//! in turn; and the program's memory. Run with `cargo xtask bench-boot`, or `cargo bench -p tests --bench boot -- OPTIONS`.
//!
//! Where this machine's KVM cannot run Linux all of it goes on in one KVM lab, timed inside by the lab's own clock.
//!
//! Status 1 if a limit is not kept, 2 if the options are wrong, 4 if this machine cannot do it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest_kit::initramfs::{Initramfs, Role};
use guest_kit::lab::{Lab, LabClock, LabJob, LabOutput, ProgramEnd};
use guest_kit::modules::ModuleTree;
use guest_kit::{cache, probe};
use serde_json::json;
use tests::boot_race::{self, Boot, Limits, Monitor, Plan, Verdict};
use tests::{guest_run, program};

const USAGE: &str = "options, each with its default:
  --rounds 5            how often each boots
  --cpus 1              virtual processors in the rounds
  --memory 512          guest memory in MiB
  --memory-cpus 1,4,16  virtual processors of further boots for the program's memory
  --qemu-machine q35    QEMU's -machine
  --lab-clock host      what moves the KVM lab's clock: host, or instructions, which takes cargo xtask lab-qemu
                        and is the lab's even if this machine's KVM could run Linux
  --limit 0.8           median ratio vmbus-emu/QEMU
  --memory-limit 24     the program's MiB beside guest RAM and VRAM with one virtual processor
  --growth-limit 0.5    MiB for each further one
  --json FILE           where the result goes [target/bench-boot.json]";

/// First word of the command line inside the lab; a plan follows.
const INSIDE: &str = "inside";
/// Firmware that QEMU needs to start a PC with a kernel.
const FIRMWARE: [&str; 4] = ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "linuxboot.bin"];
/// Where Debian puts it.
const FIRMWARE_DIRECTORIES: [&str; 2] = ["/usr/share/seabios", "/usr/share/qemu"];
/// What the lab needs beside the guest's memory: its kernel, two monitors with their libraries.
const LAB_MEMORY_MIB: u32 = 1024;
/// How long one boot may take on the average.
const BOOT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let ended = match words.as_slice() {
        [inside, plan] if inside == INSIDE => carry_out(plan),
        _ => match options(&words) {
            Ok(Some(options)) => outside(options),
            Ok(None) => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                eprintln!("error: {error:#}\nhint: --help lists the options");
                return ExitCode::from(2);
            }
        },
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(4)
    })
}

/// Inside the lab: each boot is a line of standard output.
fn carry_out(plan: &str) -> Result<ExitCode> {
    let plan: Plan = serde_json::from_str(plan)?;
    boot_race::carry_out(&plan, &mut |boot| println!("{}", json!(boot)))?;
    Ok(ExitCode::SUCCESS)
}

struct Options {
    plan: Plan,
    limits: Limits,
    clock: LabClock,
    json: Option<PathBuf>,
}

fn outside(options: Options) -> Result<ExitCode> {
    let place = match options.clock {
        LabClock::Host => guest_run::place().context("there is nowhere to run a guest")?,
        LabClock::Instructions => "lab, its clock by instructions",
    };
    let program = program::vmbus_emu();
    let qemu = probe::find_program(probe::QEMU).context("no QEMU; cargo xtask setup installs it")?;
    let Options { mut plan, limits, clock, json } = options;
    (plan.vmbus_emu, plan.qemu) = (program.to_owned(), qemu);
    let target = program.ancestors().nth(2).context("the program lies in the target directory")?;
    let json = json.unwrap_or_else(|| target.join("bench-boot.json"));
    let kernel = guest_run::kernel()?;
    println!(
        "{} {} in the {place}, {} with {}",
        guest_run::GUEST,
        kernel.version,
        plan.qemu.display(),
        plan.qemu_machine
    );
    let tree = ModuleTree::open(&kernel.modules)?;
    let driver = tree.video_driver().context("the kernel has no video driver")?;
    let modules = tree.closure(&["hv_vmbus", driver])?;
    let directory = tempfile::tempdir()?;
    plan.initrd = directory.path().join("initrd");
    fs::write(&plan.initrd, Initramfs::with_agent(Role::Guest, &modules).to_bytes()?)?;
    plan.kernel = kernel.image;

    let mut boots = Vec::new();
    let mut take = |boot: &Boot| {
        print_boot(boot);
        boots.push(boot.clone());
    };
    let hangs = match place {
        "host" => boot_race::carry_out(&plan, &mut take).map(|()| Vec::new()),
        _ => in_lab(&plan, clock, &mut take),
    }?;
    let verdict = Verdict::of(&boots, limits);
    print!("{verdict}");
    let document = json!({
        "schema": "vmbus-emu.bench-boot/1",
        "place": place,
        "plan": plan,
        "kernel_sha256": kernel.sha256,
        "lab_hangs": hangs,
        "boots": boots,
        "verdict": verdict,
    });
    fs::write(&json, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", json.display()))?;
    println!("written to {}", json.display());
    Ok(if verdict.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs this program in one lab. What a lab that hung had told does not count; its hangs come back.
fn in_lab(plan: &Plan, clock: LabClock, take: &mut dyn FnMut(&Boot)) -> Result<Vec<String>> {
    let firmware = plan.firmware.iter().flat_map(|directory| FIRMWARE.map(|file| directory.join(file)));
    let firmware = firmware.filter(|file| file.is_file());
    let starts = plan.rounds * 2 + u32::try_from(plan.memory_vcpus.len())?;
    let job = LabJob {
        more_programs: vec![plan.vmbus_emu.clone(), plan.qemu.clone()],
        arguments: vec![INSIDE.into(), serde_json::to_string(plan)?],
        inputs: firmware.chain([plan.kernel.clone(), plan.initrd.clone()]).collect(),
        memory_mib: plan.memory_mib + LAB_MEMORY_MIB,
        boot_timeout: clock.on_the_host(BOOT),
        timeout: clock.on_the_host(BOOT * (starts + 2)),
        ..LabJob::new(std::env::current_exe()?)
    };
    let lab = Lab::prepare(&cache::directory(), clock, &mut |_| ())?;
    let (mut boots, mut said) = (Vec::new(), Vec::new());
    let run = lab.run(&job, &mut |output| match output {
        LabOutput::Stdout(line) => match serde_json::from_str::<Boot>(&line) {
            Ok(boot) => {
                eprintln!("{:?} with {} vCPUs: {:.0} ms", boot.monitor, boot.vcpus, boot.modules_ms);
                boots.push(boot);
            }
            Err(_) => said.push(line),
        },
        LabOutput::Stderr(line) => said.push(line),
        LabOutput::Retrying { reason } => {
            eprintln!("warning: the KVM lab hung and is started again: {reason}");
            boots.clear();
        }
        LabOutput::Booted { .. } | LabOutput::Started => {}
    })?;
    ensure!(run.end == ProgramEnd::Code(0), "inside the lab: {:?}, it said:\n{}", run.end, said.join("\n"));
    boots.iter().for_each(take);
    Ok(run.hangs)
}

fn print_boot(boot: &Boot) {
    let round = boot.round.map_or_else(|| "memory".to_owned(), |round| format!("round {round}"));
    let monitor = match boot.monitor {
        Monitor::VmbusEmu => "vmbus-emu",
        Monitor::Qemu => "QEMU",
    };
    let dirt = boot.first_dirt_ms.map_or_else(String::new, |ms| format!("  first DIRT {ms:6.0} ms"));
    let memory = boot.vmm_memory_kib.map_or_else(String::new, |kib| format!("  memory {kib} KiB"));
    println!(
        "{round:<8} {monitor:<9} {:>2} vCPUs  hello {:6.0} ms  modules {:6.0} ms{dirt}{memory}",
        boot.vcpus, boot.hello_ms, boot.modules_ms
    );
}

/// `None` if the user asks for help.
fn options(words: &[String]) -> Result<Option<Options>> {
    let mut options = Options {
        plan: Plan {
            vmbus_emu: PathBuf::new(),
            qemu: PathBuf::new(),
            qemu_machine: "q35".to_owned(),
            firmware: FIRMWARE_DIRECTORIES.map(PathBuf::from).into(),
            kernel: PathBuf::new(),
            initrd: PathBuf::new(),
            rounds: 5,
            vcpus: 1,
            memory_mib: 512,
            memory_vcpus: vec![1, 4, 16],
        },
        limits: Limits { ratio: 0.8, memory_mib: 24.0, memory_per_vcpu_mib: 0.5 },
        clock: LabClock::Host,
        json: None,
    };
    let mut words = words.iter();
    while let Some(option) = words.next() {
        if option == "--help" {
            return Ok(None);
        }
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        let wrong = || format!("{option} {value}");
        let Options { plan, limits, clock, json } = &mut options;
        match option.as_str() {
            "--rounds" => plan.rounds = value.parse().with_context(wrong)?,
            "--cpus" => plan.vcpus = value.parse().with_context(wrong)?,
            "--memory" => plan.memory_mib = value.parse().with_context(wrong)?,
            "--memory-cpus" => {
                let counts: Result<Vec<u32>, _> = value.split(',').map(str::parse).collect();
                plan.memory_vcpus = counts.with_context(wrong)?;
            }
            "--qemu-machine" => plan.qemu_machine.clone_from(value),
            "--limit" => limits.ratio = value.parse().with_context(wrong)?,
            "--memory-limit" => limits.memory_mib = value.parse().with_context(wrong)?,
            "--growth-limit" => limits.memory_per_vcpu_mib = value.parse().with_context(wrong)?,
            "--lab-clock" => {
                *clock = match value.as_str() {
                    "host" => LabClock::Host,
                    "instructions" => LabClock::Instructions,
                    _ => bail!("{option} {value}: known are host and instructions"),
                }
            }
            "--json" => *json = Some(value.into()),
            _ => bail!("unknown option {option}"),
        }
    }
    Ok(Some(options))
}
