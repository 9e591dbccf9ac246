//! Command lines, from the words to the checked arguments.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use device_model::options::{SynthvidOptions, key_rows};
use guest_kit::initramfs::{Initramfs, Role};

use super::*;
use crate::exit::ExitKind;
use crate::machine::test_image::bzimage;

fn words(line: &[&str]) -> Result<Invocation, Stop> {
    parse(std::iter::once("vmbus-emu").chain(line.iter().copied()).map(OsString::from))
}

fn run(line: &[&str]) -> RunArgs {
    match words(line).unwrap().command {
        Command::Run(args) => *args,
        other => panic!("not a run: {other:?}"),
    }
}

/// The status and the text of a command line that is refused.
fn refusal(line: &[&str]) -> (u8, String) {
    match words(line).unwrap_err() {
        Stop::Error(error) => (error.kind() as u8, error.to_string()),
        Stop::Clap(error) => (if error.use_stderr() { 2 } else { 0 }, error.to_string()),
        Stop::DeviceHelp => (0, device_model::options::help()),
        Stop::WorkloadHelp => (0, measure::workload_help()),
    }
}

/// A file that is a kernel as far as its header goes.
fn kernel() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bzImage");
    fs::write(&path, bzimage(&[])).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

const GUEST: [&str; 3] = ["run", "--guest", "debian/6.1-cloud"];

fn with_guest<'a>(more: &[&'a str]) -> Vec<&'a str> {
    GUEST.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn guest_alone_gets_every_default() {
    let args = run(&GUEST);
    assert_eq!(args.guest, GuestSource::Named("debian/6.1-cloud".to_owned()));
    assert_eq!(args.video, SynthvidOptions::default());
    assert_eq!((args.cpus, args.memory_bytes), (2, 512 << 20));
    assert_eq!((args.synic, args.kvm, args.scenario), (SynicChoice::Auto, KvmChoice::Auto, Scenario::Demo));
    assert_eq!((args.vmbus_version.to_string().as_str(), args.generation), ("5.3", Generation::One));
    assert_eq!(args.timeout, Duration::from_secs(180));
    assert_eq!((args.results.report(), args.console.file()), (None, None));
}

#[test]
fn every_option_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let report = dir.path().join("r.json");
    let args = run(&with_guest(&[
        "--device=hyperv-synthvid,vram=4M",
        "--vmbus-version=4.0",
        "--generation=2",
        "--cpus=4",
        "--memory=1G",
        "--synic=user",
        "--kvm=lab",
        "--lab-clock=instructions",
        "--scenario=boot",
        "--timeout=30",
        "--cmdline=-debug loglevel=7",
        "--console=-",
        "--report",
        report.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]));
    assert_eq!(args.video.vram_bytes, 4 << 20);
    assert_eq!(args.vmbus_version.wire(), 0x0004_0000);
    assert_eq!((args.generation, args.cpus, args.memory_bytes), (Generation::Two, 4, 1 << 30));
    assert_eq!((args.synic, args.kvm, args.scenario), (SynicChoice::User, KvmChoice::Lab, Scenario::Boot));
    assert_eq!(args.lab_clock, LabClock::Instructions);
    assert_eq!((args.timeout, args.cmdline.as_str()), (Duration::from_secs(30), "-debug loglevel=7"));
    assert!(args.console.to_stdout());
    assert_eq!(args.results.report(), Some(report));
    assert_eq!(args.results.picture("console"), Some(out.join("console.png")));
}

#[test]
fn firmware_framebuffer_is_as_large_as_the_mode_unless_a_size_is_named() {
    let size = |words: &[&str]| {
        let args = run(&with_guest(&[&["--generation=2"][..], words].concat()));
        args.firmware_framebuffer.map(|screen| (screen.width, screen.height))
    };
    assert_eq!(size(&[]), None);
    assert_eq!(size(&["--firmware-framebuffer", "--device=hyperv-synthvid,mode=800x600"]), Some((800, 600)));
    assert_eq!(size(&["--firmware-framebuffer", "640x480"]), Some((640, 480)));
}

#[test]
fn arguments_read_back_as_the_same_run() {
    let (dir, kernel) = kernel();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (modules, out, report, console) = (path(""), path("out"), path("r.json"), path("c.log"));
    for line in [
        with_guest(&[]),
        with_guest(&["--out", &out, "--cmdline=--x 'y' z=\"1 2\"", "--console=-", "--scenario=none"]),
        vec!["run", "--kernel", &kernel, "--modules", &modules, "--report", &report, "--console", &console],
        vec!["run", "--kernel", &kernel, "--initrd", &kernel, "--kvm=host", "--synic=kernel"],
        vec!["run", "--kernel", &kernel, "--device=hyperv-synthvid,vram=4M,repaint=strict", "--cpus=64"],
        with_guest(&["--generation=2"]),
        with_guest(&["--out", &out, "--pointer", "--no-reboot"]),
        with_guest(&["--generation=2", "--firmware-framebuffer"]),
        with_guest(&["--generation=2", "--firmware-framebuffer", "640x480", "--cpus=1"]),
        with_guest(&["--control=/tmp/control"]),
        with_guest(&[
            "--device=hyperv-mouse",
            "--device=hyperv-synthvid,vram=4M",
            "--device=hyperv-keyboard",
        ]),
    ] {
        let args = run(&line);
        let again = args.to_arguments().unwrap();
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        assert_eq!(run(&again), args, "{line:?} became {again:?}");
    }
}

#[test]
fn relative_paths_become_absolute_for_another_instance() {
    let (_dir, kernel) = kernel();
    let args = run(&["run", "--kernel", &kernel, "--initrd", "Cargo.toml"]);
    let initrd = args.to_arguments().unwrap().into_iter().find(|word| word.starts_with("--initrd=")).unwrap();
    let expected = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert_eq!(initrd, format!("--initrd={}", expected.display()));
}

#[test]
fn clock_by_instructions_is_the_labs_and_no_hosts() {
    let args = run(&with_guest(&["--lab-clock", "instructions"]));
    assert_eq!((args.kvm, args.lab_clock), (KvmChoice::Lab, LabClock::Instructions));
    assert_eq!(run(&with_guest(&["--lab-clock", "host"])).kvm, KvmChoice::Auto);
    let (status, text) = refusal(&with_guest(&["--kvm", "host", "--lab-clock", "instructions"]));
    assert_eq!(status, 2);
    assert!(text.contains("--lab-clock instructions: with --kvm host there is no lab"), "{text}");
}

#[test]
fn own_initramfs_has_no_scenario() {
    let (_dir, kernel) = kernel();
    let args = run(&["run", "--kernel", &kernel, "--initrd", "Cargo.toml"]);
    assert_eq!(args.scenario, Scenario::None);
    let (status, text) =
        refusal(&["run", "--kernel", "Cargo.toml", "--initrd", "Cargo.toml", "--scenario", "demo"]);
    assert_eq!(status, 2);
    assert!(text.contains("--scenario demo needs the guest agent"), "{text}");
}

#[test]
fn initramfs_around_the_agent_plays_a_scenario_that_is_asked_for() {
    let (_dir, kernel) = kernel();
    let initrd = tempfile::NamedTempFile::new().unwrap();
    let image = Initramfs::with_agent(Role::Guest, &[]).to_bytes().unwrap();
    fs::write(initrd.path(), image).unwrap();
    let initrd = initrd.path().to_str().unwrap();
    let args = run(&["run", "--kernel", &kernel, "--initrd", initrd, "--scenario", "boot"]);
    assert_eq!(args.scenario, Scenario::Boot);
    assert_eq!(run(&["run", "--kernel", &kernel, "--initrd", initrd]).scenario, Scenario::None);
}

#[test]
fn wrong_arguments_are_usage_errors_that_quote_them() {
    for (line, part) in [
        (&["run"][..], "no guest was named"),
        (&["run", "--guest", "debian/6.1-clout"], "did you mean debian/6.1-cloud?"),
        (
            &["run", "--guest", "/boot/vmlinuz"],
            "unknown guest \"/boot/vmlinuz\", known guests: debian/6.1-cloud",
        ),
        (&["run", "--guest", "/boot/vmlinuz"], "is named by --kernel FILE"),
        (&["run", "--kernel", "/no/such/bzImage"], "--kernel: there is no file /no/such/bzImage"),
        (&["run", "--kernel", "src"], "src is a directory, expected a file"),
        (
            &["run", "--kernel", "/dev/null", "--initrd", "/no/initrd"],
            "--initrd: there is no file /no/initrd",
        ),
        (
            &["run", "--kernel", "/dev/null", "--modules", "/no/dir"],
            "--modules: there is no directory /no/dir",
        ),
        (&["run", "--kernel", "/dev/null", "--modules", "Cargo.toml"], "is a file, expected a directory"),
        (&with_guest(&["--driver", "/no/such.ko"]), "--driver: there is no file /no/such.ko"),
        (&with_guest(&["--driver", "Cargo.toml"]), "--driver: Cargo.toml is no kernel module: not an x86"),
        (&with_guest(&["--driver", "/proc/self/exe"]), "is no kernel module: it is a linked ELF file"),
        (&with_guest(&["--firmware-framebuffer"]), "a machine of Generation 1 boots without firmware"),
        (
            &with_guest(&["--generation=2", "--firmware-framebuffer=800"]),
            "--firmware-framebuffer: \"800\" is not WIDTHxHEIGHT",
        ),
        (
            &with_guest(&["--generation=2", "--firmware-framebuffer=16384x64"]),
            "16384 pixels in a row, limit is 16383",
        ),
        (
            &with_guest(&["--generation=2", "--firmware-framebuffer=1920x1200"]),
            "1920x1200 needs 9216000 bytes at 32 bits per pixel, limit is 8388608",
        ),
        (
            &with_guest(&[
                "--generation=2",
                "--firmware-framebuffer",
                "--device=hyperv-synthvid,vram=128M,mode=7680x4320",
            ]),
            "7680x4320 needs 132710400 bytes at 32 bits per pixel, limit is 67108864",
        ),
        (&with_guest(&["--cpus", "0"]), "--cpus: 0 is outside 1 to 64"),
        (&with_guest(&["--cpus", "65"]), "--cpus: 65 is outside 1 to 64"),
        (&with_guest(&["--timeout", "0"]), "--timeout: 0 is outside 1 to 86400"),
        (&with_guest(&["--memory", "64M"]), "67108864 bytes is too little for a guest, at least 128M"),
        (&with_guest(&["--memory", "65G"]), "is more than the limit, 64G"),
        (&with_guest(&["--memory", "200000K"]), "not a whole number of MiB"),
        (&with_guest(&["--cmdline", "a\nb"]), "a line break cannot be passed"),
        (&with_guest(&["--report", "/no/such/dir/r.json"]), "there is no directory /no/such/dir"),
        (&with_guest(&["--report", "/"]), "it is a directory"),
        (&with_guest(&["--console", "/no/such/dir/c.log"]), "--console: cannot write /no/such/dir/c.log"),
        (&with_guest(&["--out", "/proc/no"]), "--out: cannot make the directory /proc/no"),
        (&["sim", "--report", "/no/such/dir/r.json"], "there is no directory /no/such/dir"),
    ] {
        let (status, text) = refusal(line);
        assert_eq!(status, ExitKind::Usage as u8, "{line:?}: {text}");
        assert!(text.contains(part), "{line:?}: {text}");
        assert!(text.starts_with("error: "), "{line:?}: {text}");
    }
}

#[test]
fn mistakes_of_form_are_usage_errors() {
    for (line, part) in [
        (&["run", "--gest", "x"][..], "--gest"),
        (&["rnu"], "rnu"),
        (&with_guest(&["--kernel", "/dev/null"]), "cannot be used with"),
        (&with_guest(&["--pointer"]), "--out <DIR>"),
        (&["run", "--initrd", "/dev/null"], "--kernel <FILE>"),
        (&with_guest(&["--modules", "/"]), "cannot be used with"),
        (&["run", "--kernel", "x", "--initrd", "x", "--driver", "x.ko"], "cannot be used with"),
        (&with_guest(&["--synic", "kernle"]), "kernel"),
        (&with_guest(&["--kvm", "labb"]), "lab"),
        (&with_guest(&["--generation", "3"]), "[possible values: 1, 2]"),
        (&with_guest(&["--vmbus-version", "6.0"]), "known are 2.4"),
        (&with_guest(&["--memory", "much"]), "is not a size"),
        (&with_guest(&["--cpus", "two"]), "two"),
    ] {
        let (status, text) = refusal(line);
        assert_eq!(status, 2, "{line:?}: {text}");
        assert!(text.contains(part), "{line:?}: {text}");
    }
}

#[test]
fn wrong_device_is_pointed_at_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (device, part) in [
        ("hyperv-synthvit", "did you mean hyperv-synthvid?"),
        ("hyperv-keybord", "did you mean hyperv-keyboard?"),
        ("hyperv-mouse,dpi=1", "this device has none"),
        ("hyperv-synthvid,vrma=4M", "did you mean vram?"),
        ("hyperv-synthvid,repaint=stric", "did you mean strict?"),
        ("hyperv-synthvid,vram=4M,mode=1920x1080", "needs 8294400 bytes of VRAM"),
    ] {
        let (status, text) = refusal(&with_guest(&["--out", out.to_str().unwrap(), "--device", device]));
        assert_eq!(status, 2);
        assert!(text.starts_with("error: --device: ") && text.contains(part), "{text}");
        assert!(text.contains("^^^") && text.ends_with("hint: --device help lists every key"), "{text}");
        assert!(!out.exists());
    }
    let (status, text) =
        refusal(&with_guest(&["--device=hyperv-synthvid", "--device=hyperv-synthvid,vram=4M"]));
    assert_eq!(status, 2);
    assert!(text.contains("a second hyperv-synthvid, \"hyperv-synthvid,vram=4M\", limit is 1"), "{text}");
}

#[test]
fn input_devices_stand_beside_the_video_device_and_not_in_a_simulation() {
    let args = run(&with_guest(&["--device=hyperv-keyboard"]));
    assert_eq!((args.keyboard, args.mouse, args.video), (true, false, SynthvidOptions::default()));
    let (status, text) = refusal(&with_guest(&["--device=hyperv-keyboard", "--device=hyperv-keyboard"]));
    assert_eq!(status, 2);
    assert!(text.contains("a second hyperv-keyboard"), "{text}");
    let (status, text) = refusal(&with_guest(&["--scenario=input"]));
    assert_eq!(status, 2);
    assert!(text.contains("add --device hyperv-keyboard"), "{text}");
    let (status, text) = refusal(&["sim", "--device=hyperv-mouse"]);
    assert_eq!(status, 2);
    assert!(text.contains("the simulated guest has no driver for hyperv-mouse"), "{text}");
}

#[test]
fn ctl_takes_a_command_after_its_socket_and_names_the_nearest_to_a_wrong_one() {
    match words(&["ctl", "--socket=c", "screenshot", "/a.png", "--pointer"]).unwrap().command {
        Command::Ctl(CtlArgs { socket, request: Request::Screenshot { file, pointer } }) => {
            assert_eq!((socket, file.as_str(), pointer), (PathBuf::from("c"), "/a.png", true));
        }
        other => panic!("{other:?}"),
    }
    for (line, part) in [
        (&["ctl", "--socket=c", "statsu"][..], "did you mean status?"),
        (&["ctl", "--socket=c"], "no command, known are"),
        (&["ctl", "--socket=c", "key", "ctrl+alt+dle"], "did you mean del?"),
        (&["ctl", "--socket=c", "mode", "huge"], "\"huge\" is not WIDTHxHEIGHT"),
        (&["ctl", "status"], "--socket"),
    ] {
        let (status, text) = refusal(line);
        assert_eq!(status, 2, "{line:?}: {text}");
        assert!(text.contains(part), "{line:?}: {text}");
    }
}

#[test]
fn device_help_needs_no_guest_and_names_every_key() {
    for line in [&["run", "--device", "help"][..], &["sim", "--device=help"]] {
        let (status, text) = refusal(line);
        assert_eq!(status, 0);
        for row in key_rows() {
            assert!(text.contains(row.key) && text.contains(row.doc), "{} is missing in {text}", row.key);
        }
    }
}

#[test]
fn sim_and_doctor_are_read() {
    match words(&["sim", "--script", "demo", "-vv"]).unwrap() {
        Invocation { command: Command::Sim(args), verbosity, .. } => {
            assert_eq!((args.script, verbosity), (guest_sim::Script::Demo, 2));
        }
        other => panic!("{other:?}"),
    }
    match words(&["doctor", "--kvm", "host"]).unwrap().command {
        Command::Doctor(DoctorArgs { kvm }) => assert_eq!(kvm, KvmChoice::Host),
        other => panic!("{other:?}"),
    }
}

/// The README's table is written by hand and must say what the key table says.
#[test]
fn readme_lists_every_device_key_as_it_is() {
    let readme = include_str!("../../../README.md");
    let table: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| key |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<String> = key_rows()
        .iter()
        .map(|row| {
            let value = row.value.replace('|', "\\|");
            format!("| `{}` | `{value}` | {} | {} |", row.key, row.default, row.doc)
        })
        .collect();
    assert_eq!(table, expected, "README.md, device keys");
}

fn measure(line: &[&str]) -> MeasureArgs {
    match words(line).unwrap().command {
        Command::Measure(args) => *args,
        other => panic!("not a measurement: {other:?}"),
    }
}

#[test]
fn arguments_read_back_as_the_same_measurement() {
    let dir = tempfile::tempdir().unwrap();
    let budget = dir.path().join("budget.toml");
    fs::write(&budget, "[workload.box]\nmax_missed_px = 0\n").unwrap();
    let (out, budget) = (dir.path().join("out"), budget.to_str().unwrap().to_owned());
    let guest = ["measure", "--guest", "debian/6.1-cloud"];
    for more in [
        vec![],
        vec!["--workload=box,idle", "--scale=20", "--seed=7", "--grace=250", "--cost"],
        vec!["--repeat=10", "--oracle-overhead"],
        vec!["--oracle-overhead=7"],
        vec!["--no-oracle", "--budget", &budget, "--report", out.to_str().unwrap(), "--generation=2"],
    ] {
        let line: Vec<&str> = guest.into_iter().chain(more).collect();
        let args = measure(&line);
        let again = args.to_arguments().unwrap();
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        assert_eq!(measure(&again), args, "{line:?} became {again:?}");
    }
}

#[test]
fn measurement_without_a_workload_has_all_but_the_long_one_and_the_users_own() {
    let args = measure(&["measure", "--guest", "debian/6.1-cloud"]);
    let names: Vec<String> = args.workloads.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), guest_agent::workload::Workload::ALL.len() - 2, "{names:?}");
    assert!(!names.contains(&"flood".to_owned()) && !names.contains(&"exec".to_owned()), "{names:?}");
    assert!(args.oracle && args.grace.is_none() && args.scale_percent == 100);
}

#[test]
fn comparison_gives_each_side_its_own_options_and_both_the_common_ones() {
    let line = ["compare", "--a", "--guest debian/6.1-cloud --no-oracle", "--b", "--guest debian/6.12-cloud"];
    let line: Vec<&str> = line.into_iter().chain(["--rounds=5", "--", "--workload=box"]).collect();
    let Command::Compare(args) = words(&line).unwrap().command else { panic!("not a comparison") };
    let Compared::Rounds(rounds) = args.compared else { panic!("not rounds") };
    assert_eq!(rounds.rounds, 5);
    assert_eq!((rounds.a.oracle, rounds.b.oracle), (false, true));
    assert_eq!(rounds.a.workloads, rounds.b.workloads);
    assert_eq!(rounds.b.run.guest, GuestSource::Named("debian/6.12-cloud".to_owned()));
}
