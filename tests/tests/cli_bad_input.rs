//! Bad input as a shell sees it: one message that says what to do, the documented status, and no trace of the attempt.
//!
//! Hosts without KVM are made of a mount namespace with another /dev, which needs root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tests::bare_metal::requirement::skip;
use tests::program::vmbus_emu;

const USAGE: i32 = 2;
const CANNOT_RUN: i32 = 4;
const GUEST: [&str; 3] = ["run", "--guest", "debian/6.1-cloud"];

/// A command line, run in an empty directory of its own.
struct Attempt {
    words: Vec<String>,
    directory: TempDir,
    output: Output,
}

fn attempt(words: &[&str]) -> Attempt {
    attempt_by(Command::new(vmbus_emu()), words)
}

/// `launcher` is a command to which the words are added.
fn attempt_by(mut launcher: Command, words: &[&str]) -> Attempt {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("own directory");
    launcher.args(words).current_dir(directory.path()).env_remove("VMBUS_EMU_LOG");
    let output = launcher.output().unwrap_or_else(|error| panic!("cannot start {launcher:?}: {error}"));
    Attempt { words: words.iter().map(|&word| word.to_owned()).collect(), directory, output }
}

impl Attempt {
    /// It was refused with `status` and one message, on standard error; nothing was written. Returns the message.
    fn refused_with(&self, status: i32) -> String {
        let words = &self.words;
        let said = String::from_utf8(self.output.stderr.clone()).expect("text");
        assert_eq!(self.output.status.code(), Some(status), "{words:?} said:\n{said}");
        assert!(said.starts_with("error: "), "{words:?} said:\n{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{words:?} must say one thing:\n{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(self.output.stdout.is_empty(), "{words:?} wrote to standard output");
        let left: Vec<PathBuf> = fs::read_dir(self.directory.path())
            .expect("the directory is still there")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{words:?} left files behind");
        said
    }
}

/// Refused as a mistake in the command line, in words that hold all of `parts`.
fn usage(words: &[&str], parts: &[&str]) {
    let said = attempt(words).refused_with(USAGE);
    for part in parts {
        assert!(said.contains(part), "{words:?}: \"{part}\" is not in:\n{said}");
    }
}

fn device(text: &str) -> Vec<&str> {
    [&GUEST[..], &["--out", "out", "--device", text]].concat()
}

#[test]
fn unknown_device_is_quoted_with_the_known_and_the_nearest() {
    usage(
        &device("hyperv-synthvdi,vram=8M"),
        &[
            "--device: unknown device \"hyperv-synthvdi\"",
            "known devices: hyperv-synthvid",
            "did you mean hyperv-synthvid?",
        ],
    );
}

#[test]
fn unknown_key_is_quoted_pointed_at_and_the_known_are_listed() {
    let text = "hyperv-synthvid,vram=8M,repiant=strict";
    usage(&device(text), &["unknown key \"repiant\"", "known keys: vram", "did you mean repaint?"]);
    let said = attempt(&device(text)).refused_with(USAGE);
    let lines: Vec<&str> = said.lines().collect();
    let shown = lines.iter().position(|line| line.contains(text)).expect("the text is shown");
    let (from, marks) = (lines[shown].find("repiant"), lines[shown + 1]);
    assert_eq!((marks.find('^'), marks.matches('^').count()), (from, "repiant".len()), "{said}");
}

#[test]
fn unknown_value_is_quoted_and_the_known_are_listed() {
    usage(
        &device("hyperv-synthvid,repaint=strikt"),
        &["\"strikt\"", "known values: implied, strict", "did you mean strict?", "^^^^^^"],
    );
    usage(&device("hyperv-synthvid,vram=lots"), &["\"lots\"", "^^^^"]);
    usage(&device("hyperv-synthvid,vram"), &["vram"]);
    usage(&device("hyperv-synthvid,mode=1024"), &["\"1024\""]);
    usage(&device("hyperv-synthvid,vram=8M,vram=4M"), &["vram"]);
    usage(&device(""), &["known devices: hyperv-synthvid"]);
}

#[test]
fn vram_that_cannot_hold_the_mode_says_what_would() {
    usage(&device("hyperv-synthvid,vram=4M,mode=1920x1080"), &["needs 8294400 bytes", "vram=8M would do"]);
    usage(&device("hyperv-synthvid,vram=2M,modes=[800x600,1600x1200]"), &["1600x1200", "bytes"]);
    usage(&device("hyperv-synthvid,vram=0M"), &["0M"]);
}

#[test]
fn device_help_is_a_table_on_standard_output_and_no_error() {
    let output = attempt(&["run", "--device", "help"]).output;
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true), "{table}");
    for key in ["vram", "modes", "mode", "version", "repaint", "dirt"] {
        assert!(
            table.lines().any(|line| line.trim_start().starts_with(&format!("{key}="))),
            "{key}: {table}"
        );
    }
}

#[test]
fn unknown_guest_is_quoted_with_the_known_and_the_nearest() {
    let words = ["run", "--guest", "debian/6.1-clowd", "--out", "out"];
    usage(&words, &["unknown guest \"debian/6.1-clowd\"", "debian/6.1", "did you mean debian/6.1-cloud?"]);
}

#[test]
fn missing_kernel_is_named_whatever_kvm_there_is() {
    for kvm in ["auto", "host", "lab"] {
        let words = ["run", "--kernel", "/no/such/bzImage", "--kvm", kvm, "--out", "out"];
        usage(&words, &["--kernel: there is no file /no/such/bzImage"]);
    }
    usage(&["run", "--kernel", "/", "--out", "out"], &["/ is a directory, expected a file"]);
}

#[test]
fn kernel_that_is_no_bzimage_is_named_with_what_gives_it_away_whatever_kvm_there_is() {
    let files = tempfile::tempdir().expect("a directory");
    let (text, empty) = (files.path().join("text"), files.path().join("empty"));
    fs::write(&text, "a kernel, believe me\n".repeat(100)).expect("own directory");
    fs::write(&empty, "").expect("own directory");
    let own = vmbus_emu().to_str().expect("a UTF-8 path");
    for kvm in ["auto", "host", "lab"] {
        let words = |kernel: &Path| -> Vec<String> {
            let kernel = kernel.to_str().expect("a UTF-8 path");
            ["run", "--kernel", kernel, "--kvm", kvm, "--out", "out"].map(str::to_owned).into()
        };
        for (kernel, parts) in [
            (text.as_path(), &["text is not a Linux bzImage", "no setup header"][..]),
            (Path::new(own), &["is not a Linux bzImage: it is an ELF file", "arch/x86/boot/bzImage"]),
            (empty.as_path(), &["is empty"]),
        ] {
            let words = words(kernel);
            usage(&words.iter().map(String::as_str).collect::<Vec<_>>(), parts);
        }
    }
}

#[test]
fn too_little_memory_says_how_much_is_needed() {
    usage(
        &[&GUEST[..], &["--memory", "64M", "--out", "out"]].concat(),
        &["--memory: 67108864", "at least 128M"],
    );
    usage(&[&GUEST[..], &["--memory", "0", "--out", "out"]].concat(), &["at least 128M"]);
    usage(&[&GUEST[..], &["--memory", "much", "--out", "out"]].concat(), &["much"]);
}

#[test]
fn unwritable_report_is_found_before_the_work() {
    for (place, part) in [
        ("no/such/directory/report.json", "there is no directory no/such/directory"),
        ("/proc/report.json", "cannot write /proc/report.json"),
        ("/", "it is a directory"),
        ("/dev/full", "it is a device or a pipe"),
    ] {
        usage(&[&GUEST[..], &["--report", place]].concat(), &["--report: cannot write", part]);
        usage(&["sim", "--report", place], &["--report: cannot write", part]);
    }
    usage(&[&GUEST[..], &["--out", "/proc/out"]].concat(), &["--out: cannot make the directory /proc/out"]);
    usage(&[&GUEST[..], &["--out", "/dev/null/out"]].concat(), &["--out: cannot make the directory"]);
}

#[test]
fn words_that_do_not_belong_together_are_refused() {
    usage(&["run", "--out", "out"], &["no guest was named", "--guest debian/6.1-cloud"]);
    usage(&[&GUEST[..], &["--kernel", "/boot/vmlinuz"]].concat(), &["cannot be used with"]);
    usage(&[&GUEST[..], &["--synic", "both"]].concat(), &["'both'", "kernel, user"]);
    usage(&["rum"], &["'rum'", "'run'"]);
    usage(&["sim", "--script", "dmeo", "--out", "out"], &["\"dmeo\"", "did you mean demo?"]);
}

/// A launcher that runs its arguments on a machine whose mounts are made by `arrange`, a shell script; none with the reason
/// printed.
fn with_mounts(arrange: &str) -> Option<Command> {
    in_namespace(&format!("{arrange}\nexec \"$@\""))
}

/// A launcher for a shell script with mounts of its own.
fn in_namespace(script: &str) -> Option<Command> {
    let allowed = Command::new("unshare").args(["--mount", "true"]).output();
    match allowed {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip("namespaces", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            skip("namespaces", &format!("unshare: {error}"));
            return None;
        }
    }
    let mut launcher = Command::new("unshare");
    launcher.args(["--mount", "--propagation", "private", "sh", "-e", "-c"]);
    launcher.args([script, "sh"]);
    Some(launcher)
}

const ON_THIS_HOST: [&str; 7] =
    ["run", "--guest", "debian/6.1-cloud", "--kvm", "host", "--report", "/tmp/r.json"];

#[test]
fn host_without_dev_kvm_cannot_run_and_says_what_to_load() {
    let Some(mut launcher) = with_mounts("mount -t tmpfs none /dev; mount -t tmpfs none /tmp") else {
        return;
    };
    launcher.arg(vmbus_emu());
    let said = attempt_by(launcher, &ON_THIS_HOST).refused_with(CANNOT_RUN);
    // Which hint depends on this host's processor and on what is loaded already.
    let hints = ["modprobe kvm_", "--device /dev/kvm", "enable it in the firmware"];
    assert!(said.contains("there is no /dev/kvm\nhint: "), "{said}");
    assert!(hints.iter().any(|hint| said.contains(hint)), "{said}");
}

#[test]
fn dev_kvm_that_is_something_else_cannot_run() {
    let arrange = "mount -t tmpfs none /tmp; touch /tmp/kvm
        mount --bind /dev/null /tmp/kvm; mount -t tmpfs none /dev; touch /dev/kvm; mount --move /tmp/kvm /dev/kvm";
    let Some(mut launcher) = with_mounts(arrange) else { return };
    launcher.arg(vmbus_emu());
    let said = attempt_by(launcher, &ON_THIS_HOST).refused_with(CANNOT_RUN);
    assert!(said.contains("kvm"), "{said}");
}

#[test]
fn user_without_permission_on_dev_kvm_cannot_run_and_reads_which_group_to_join() {
    let arrange = "mount -t tmpfs none /dev; touch /dev/kvm; chmod 600 /dev/kvm; mount -t tmpfs none /tmp";
    let Some(mut launcher) = with_mounts(arrange) else { return };
    // A user who is not root may not get at the target directory.
    let shared = tempfile::tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(shared.path(), Permissions::from_mode(0o755)).expect("own directory");
    let program = shared.path().join("vmbus-emu");
    fs::copy(vmbus_emu(), &program).expect("room for a copy of the program");
    launcher.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    let said = attempt_by(launcher, &ON_THIS_HOST).refused_with(CANNOT_RUN);
    assert!(said.contains("no permission to open /dev/kvm") && said.contains("adduser $USER kvm"), "{said}");
}

#[test]
fn bad_command_line_is_told_before_a_missing_kvm() {
    let Some(mut launcher) = with_mounts("mount -t tmpfs none /dev") else { return };
    launcher.arg(vmbus_emu());
    let words = ["run", "--kernel", "/etc/passwd", "--kvm", "host", "--out", "out"];
    let said = attempt_by(launcher, &words).refused_with(USAGE);
    assert!(said.contains("/etc/passwd is not a Linux bzImage"), "{said}");
}

/// The disk that `out` is on is full but for the names of files.
const FULL_DISK: &str = "mkdir out; mount -t tmpfs -o size=64k none out; echo old > out/report.json
    head -c 1000000 /dev/zero > out/filler || true
    status=0; \"$@\" || status=$?
    ls -A out > left; cat out/report.json > report; exit $status";

#[test]
fn disk_that_fills_up_cannot_run_and_leaves_the_earlier_report_whole() {
    for words in [["sim", "--report", "out/report.json"], ["sim", "--out", "out"]] {
        let Some(mut launcher) = in_namespace(FULL_DISK) else { return };
        launcher.arg(vmbus_emu());
        let attempt = attempt_by(launcher, &words);
        let said = String::from_utf8_lossy(&attempt.output.stderr).into_owned();
        assert_eq!(attempt.output.status.code(), Some(CANNOT_RUN), "{words:?} said:\n{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{words:?} must say one thing:\n{said}");
        assert!(said.contains("out/") && said.contains("No space left on device"), "{said}");
        let read = |name: &str| {
            fs::read_to_string(attempt.directory.path().join(name)).expect("the script wrote it")
        };
        assert_eq!(read("left"), "filler\nreport.json\n", "{words:?} left files behind");
        assert_eq!(read("report"), "old\n");
    }
}

const MEASURE: [&str; 5] = ["measure", "--guest", "debian/6.1-cloud", "--report", "out"];

fn measure<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&MEASURE[..], more].concat()
}

#[test]
fn unknown_workload_is_quoted_with_the_known_and_the_nearest() {
    usage(
        &measure(&["--workload", "box,flod"]),
        &["unknown workload \"flod\"; known are idle, cursor, flood,", "did you mean flood?"],
    );
    usage(&measure(&["--workload", "box,box"]), &["box is there twice"]);
    usage(&measure(&["--workload", "exec"]), &["exec needs a program", "hint: exec:PATH"]);
    usage(&measure(&["--workload", "exec:/no/such/program"]), &["there is no file /no/such/program"]);
    usage(&measure(&["--workload", "exec:/bin/sh"]), &["/bin/sh cannot run in a guest"]);
}

#[test]
fn scale_and_grace_outside_of_their_bounds_are_refused() {
    usage(&measure(&["--scale", "0"]), &["--scale: 0 is outside 1 to 1000"]);
    usage(&measure(&["--scale", "1001"]), &["--scale: 1001 is outside 1 to 1000"]);
    usage(&measure(&["--grace", "0"]), &["--grace: 0 is outside 1 to 10000"]);
}

#[test]
fn budget_that_is_none_is_told_with_file_key_and_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("budget.toml");
    let path = file.to_str().expect("text");
    for (text, parts) in [
        ("[default]\nmax_dirt_per_min = 1\n", &["budget.toml: line 2: unknown key \"max_dirt_per_min\""][..]),
        ("[workload.idle]\nmax_missed_px = -1\n", &["line 2: max_missed_px is -1, a limit is a number"][..]),
        ("[workload.idel]\nmax_missed_px = 0\n", &["unknown workload \"idel\"", "did you mean idle?"][..]),
        ("[default\n", &["budget.toml", "line 1"][..]),
    ] {
        fs::write(&file, text).expect("writable");
        usage(&measure(&["--budget", path]), parts);
    }
    usage(&measure(&["--budget", "/no/such/budget"]), &["--budget: there is no file /no/such/budget"]);
}

#[test]
fn comparison_of_nothing_of_one_and_of_other_files_is_refused() {
    usage(&["compare"], &["nothing to compare was named", "hint: name two reports"]);
    usage(&["compare", "--guest", "debian/6.1-cloud"], &["--guest: 1 given, a comparison is of 2"]);
    usage(&["compare", "/no/such/a", "/no/such/b"], &["there is no file or directory /no/such/a"]);
    usage(&["compare", "--guest=debian/6.1-cloud", "--guest=debian/0"], &["--b: --guest: unknown guest"]);
    usage(
        &["compare", "--a", "--guest debian/6.1-cloud", "--b", "--guest debian/6.1-cloud", "--", "--scale=0"],
        &["--a: --scale: 0 is outside 1 to 1000"],
    );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("report.json");
    let path = file.to_str().expect("text");
    fs::write(&file, "{\"schema\": \"vmbus-emu.report/1\"}").expect("writable");
    usage(
        &["compare", path, path],
        &["it is a \"vmbus-emu.report/1\", expected a \"vmbus-emu.measurement/1\""],
    );
}

#[test]
fn control_socket_of_another_run_is_named_and_left_to_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let socket = socket.to_str().expect("UTF-8");
    let said = attempt(&[&GUEST[..], &["--control", socket]].concat()).refused_with(CANNOT_RUN);
    assert!(said.contains(&format!("control socket {socket} is in use")), "{said}");
    std::os::unix::net::UnixStream::connect(socket).expect("it is still there");
}

#[test]
fn ctl_without_a_run_or_with_a_wrong_command_says_what_to_do() {
    let said = attempt(&["ctl", "--socket", "no-such-socket", "status"]).refused_with(CANNOT_RUN);
    assert!(said.contains("no-such-socket: there is no such socket") && said.contains("--control"), "{said}");
    for (words, part) in [
        (&["statsu"][..], "did you mean status?"),
        (&["key", "entre"], "did you mean enter?"),
        (&["mode", "12x"], "\"12x\" is not WIDTHxHEIGHT"),
        (&[], "no command, known are"),
    ] {
        usage(&[&["ctl", "--socket", "s"][..], words].concat(), &[part, "vmbus-emu ctl --help"]);
    }
}

#[test]
fn mode_list_that_cannot_be_offered_is_refused_at_its_place() {
    let many: Vec<String> = (0..65).map(|step| format!("{}x64", 64 + step)).collect();
    for (modes, parts) in [
        ("", &["a list needs at least one mode", "^^"][..]),
        ("640x480,640x480", &["640x480 is listed twice"]),
        (&many.join(","), &["65 modes are listed, limit is 64"]),
        ("1024x768,1920x1200", &["mode 1920x1200 needs 9216000 bytes of VRAM", "vram=9M would do"]),
    ] {
        usage(&device(&format!("hyperv-synthvid,modes=[{modes}]")), parts);
    }
}

#[test]
fn package_that_cannot_be_had_is_named_with_what_apt_said() {
    let apt = tempfile::tempdir().expect("a directory");
    let program = apt.path().join("apt-get");
    fs::write(&program, "#!/bin/sh\necho 'E: the archive is on fire' >&2\nexit 100\n")
        .expect("own directory");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("own file");
    let path = std::env::var("PATH").expect("a machine has programs");
    let mut launcher = Command::new(vmbus_emu());
    launcher.env("PATH", format!("{}:{path}", apt.path().display()));
    launcher.env("VMBUS_EMU_CACHE", apt.path().join("cache"));
    let words = ["run", "--guest", "debian/6.12-cloud", "--kvm", "lab", "--report", "report.json"];
    let attempt = attempt_by(launcher, &words);
    let said = String::from_utf8_lossy(&attempt.output.stderr).into_owned();
    assert_eq!(attempt.output.status.code(), Some(CANNOT_RUN), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).expect("an error is told");
    assert!(error.contains("linux-image-6.12.") && error.contains("-cloud-amd64"), "{said}");
    assert!(error.contains("the archive is on fire") && error.contains("apt-get"), "{said}");
    assert!(!attempt.directory.path().join("report.json").exists());
}
