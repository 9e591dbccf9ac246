//! QEMU's command line for the lab, and its process, which must not outlive us.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use guest_agent::lab::{LINE_PORT, Share};

use super::{Lab, LabClock, LabJob, image::JobImage};
use crate::probe;

/// A CPU with SVM, and without XSAVE and what needs it: under nesting the emulated XSAVE area's sizes do not agree, and newer guest
/// kernels die of that.
const CPU: &str = "max,-xsave,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-pku";

/// Without the self-tests of the kernel's ciphers, which take half a second here, and without the check that the timer's interrupt
/// comes in time: on a loaded host it does not, and the kernel panics (`setup_IO_APIC`).
///
/// A processor that is stuck in the kernel ends the lab, with a stack in its log, as nothing in it would go on by itself.
const CMDLINE: &str = "console=ttyS0 panic=-1 mitigations=off nokaslr quiet cryptomgr.notests=1 no_timer_check \
                       softlockup_panic=1";

/// One processor. With two or more, each on a thread of its own, the emulator's SVM now and then loses a guest to a triple fault while
/// it starts a processor, or the lab's kernel to a lock-up; and a guest with more processors than the lab has waits for itself ever
/// longer (16 of them: minutes, where one processor takes seconds). One guest is no faster with two, and two labs side by side are.
const PROCESSORS: &str = "1";

/// A running QEMU. Killed and waited for when this is dropped.
#[derive(Debug)]
pub(super) struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts QEMU. Serial port 1 is the console, into a file; serial port 2 is QEMU's standard input and output, which are
    /// returned.
    pub(super) fn start(
        lab: &Lab,
        image: &JobImage,
        job: &LabJob,
        console_log: &Path,
    ) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let mut arguments =
            arguments(lab.clock, &lab.boot_image, &image.initrd, &image.shares, job.memory_mib, console_log);
        if let Some(port) = &job.line_port {
            arguments.extend(line_port(&port.host));
        }
        // The kernel kills QEMU when the thread that started it ends, even by SIGKILL. setpriv replaces itself by QEMU, so the
        // process id is QEMU's.
        let mut command = match probe::find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&lab.qemu);
                command
            }
            None => Command::new(&lab.qemu),
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C at the terminal is for the program in the lab, which we pass on.
            .process_group(0)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let running = Self { child };
        let (stdin, stdout) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((running, stdin, stdout))
    }

    /// Waits for the end, which must be near, and gives back what QEMU complained about.
    pub(super) fn wait_for_complaint(&mut self) -> String {
        let mut complaint = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What cannot be read is not told; the caller has a reason of its own beside it.
            let _ = io::Read::read_to_string(&mut stderr, &mut complaint);
        }
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("QEMU ended ({status}) {}", complaint.trim()).trim_end().to_owned()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(
    clock: LabClock,
    kernel: &Path,
    initrd: &Path,
    shares: &[Share],
    memory_mib: u32,
    console_log: &Path,
) -> Vec<OsString> {
    let cpu = format!("{CPU}{}", clock.processor_features());
    let mut arguments: Vec<OsString> = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        .into_iter()
        .chain(["-machine", "q35", "-cpu", &cpu, "-smp", PROCESSORS])
        .chain(clock.accelerator().iter().copied())
        .map(Into::into)
        .collect();
    let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    add("-m", memory_mib.to_string().into());
    add("-kernel", kernel.into());
    add("-initrd", initrd.into());
    add("-append", CMDLINE.into());
    add("-chardev", option("file,id=console,path=", console_log, ""));
    add("-serial", "chardev:console".into());
    add("-chardev", "stdio,id=agent,signal=off".into());
    add("-serial", "chardev:agent".into());
    for share in shares {
        let read_only = if share.writable { "" } else { ",readonly=on" };
        let rest = format!(",mount_tag={},security_model=none,multidevs=remap{read_only}", share.tag);
        add("-virtfs", option("local,path=", Path::new(&share.path), &rest));
    }
    arguments
}

/// A virtio port whose other end is a unix socket at `path`.
fn line_port(path: &Path) -> impl Iterator<Item = OsString> {
    let port = format!("virtserialport,chardev=lines,name={LINE_PORT}");
    let chardev = option("socket,id=lines,path=", path, ",server=on,wait=off");
    let words: [OsString; 6] = [
        "-device".into(),
        "virtio-serial-pci".into(),
        "-chardev".into(),
        chardev,
        "-device".into(),
        port.into(),
    ];
    words.into_iter()
}

/// An option with a path in it: QEMU wants a comma in a value doubled.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    format!("{before}{}{after}", path.to_string_lossy().replace(',', ",,")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_of(clock: LabClock, shares: &[Share]) -> Vec<OsString> {
        arguments(clock, Path::new("/vmlinux"), Path::new("/initrd"), shares, 1024, Path::new("/log"))
    }

    #[test]
    fn clock_by_instructions_takes_one_thread_and_does_not_skip_idle_time() {
        let follow = |clock, words: [&str; 4]| arguments_of(clock, &[]).windows(4).any(|four| four == words);
        let counting = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"];
        assert!(follow(LabClock::Instructions, counting));
        assert!(!follow(LabClock::Host, counting));
        assert!(!arguments_of(LabClock::Host, &[]).contains(&"-icount".into()));
    }

    #[test]
    fn shares_are_read_only_unless_they_are_outputs_and_commas_are_doubled() {
        let share = |path: &str, writable| Share { tag: "t".into(), path: path.into(), writable };
        let shares = [share("/in", false), share("/out,put", true)];
        let arguments = arguments_of(LabClock::Host, &shares);
        let virtfs: Vec<_> = arguments
            .windows(2)
            .filter(|pair| pair[0] == "-virtfs")
            .map(|pair| pair[1].to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            virtfs,
            [
                "local,path=/in,mount_tag=t,security_model=none,multidevs=remap,readonly=on",
                "local,path=/out,,put,mount_tag=t,security_model=none,multidevs=remap",
            ]
        );
    }
}
