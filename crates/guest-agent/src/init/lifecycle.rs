//! The steps of a driver's life, by way of sysfs and the system calls for modules.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use guest_agent::{
    lifecycle::{Step, kexec},
    protocol::console_line,
};
use rustix::{io::Errno, system::delete_module};

use crate::{
    framebuffer::{self, Framebuffer},
    modules,
};

const DEVICES: &str = "/sys/bus/vmbus/devices";
const DRIVERS: &str = "/sys/bus/vmbus/drivers";
/// Class of a synthetic video device (`HV_SYNTHVID_GUID` in Linux `include/linux/hyperv.h`), as sysfs writes it.
const VIDEO_CLASS: &str = "{da0a7802-e377-4aac-8e77-0558eb1073f8}";
const VIDEO_DRIVERS: [&str; 2] = ["hyperv_fb", "hyperv_drm"];
/// How long a screen may take to come or go. A driver's own waits are 10 s each.
const SCREEN_WAIT: Duration = Duration::from_secs(15);
/// Between two looks at what shall come or go.
const POLL: Duration = Duration::from_millis(2);
/// Between two lines of the printer: far more lines than refresh periods, and still time for others.
const LINE_PAUSE: Duration = Duration::from_millis(4);
/// The printer's lines are numbered up to this, and then from the start.
const PRINTED_LINES: u32 = 9999;

/// What the steps leave for one another.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    printer: Option<Printer>,
    /// The driver that was there last.
    driver: Option<String>,
}

impl Lifecycle {
    /// Takes one step. The answer may hold something that is worth telling.
    pub(crate) fn take(&mut self, step: Step) -> Result<Option<String>, String> {
        match step {
            Step::PrintStart => {
                self.printer = Some(Printer::start());
                Ok(None)
            }
            Step::PrintStop => match self.printer.take() {
                Some(printer) => Ok(Some(printer.stop())),
                None => Err("nobody prints".into()),
            },
            Step::Unbind => {
                let (driver, device) = self.bound()?;
                write(&format!("{DRIVERS}/{driver}/unbind"), &device)?;
                await_screen(false).map(|()| None)
            }
            Step::Bind => {
                let (driver, device) = (self.known_driver()?, video_device()?);
                write(&format!("{DRIVERS}/{driver}/bind"), &name(&device))?;
                await_screen(true).map(|()| None)
            }
            Step::UnloadModule => {
                let (driver, _) = self.bound()?;
                let told = unload(&driver)?;
                await_screen(false).map(|()| told)
            }
            Step::LoadModule => {
                modules::load_again(&self.known_driver()?)?;
                await_screen(true)?;
                // A console that was taken off by hand is not put back by itself.
                set_frame_buffer_console(true).map(|()| None)
            }
            Step::LetGo => {
                // To know the driver later; one that is unbound is known from before.
                let _ = self.bound();
                Ok(None)
            }
            Step::AwaitGone => {
                await_until("the device is still there", || video_device().is_err())?;
                await_screen(false).map(|()| None)
            }
            Step::AwaitBack => {
                await_until("the device is not there", || video_device().is_ok())?;
                await_screen(true).map(|()| None)
            }
            Step::Hibernate => hibernate().map(Some),
            Step::KexecLoad => load_kernel().map(|()| None),
            Step::KexecStart => Ok(None),
        }
    }

    /// The video driver and the name of the device that it is bound to.
    fn bound(&mut self) -> Result<(String, String), String> {
        let device = video_device()?;
        let driver = fs::read_link(device.join("driver"))
            .map_err(|error| format!("no driver is bound to {}: {error}", device.display()))?;
        self.driver = Some(name(&driver));
        Ok((name(&driver), name(&device)))
    }

    fn known_driver(&self) -> Result<String, String> {
        let loaded = || VIDEO_DRIVERS.into_iter().find(|driver| Path::new(DRIVERS).join(driver).exists());
        self.driver
            .clone()
            .or_else(|| loaded().map(str::to_owned))
            .ok_or_else(|| "there is no video driver".into())
    }
}

/// The thread that prints.
#[derive(Debug)]
struct Printer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Printer {
    fn start() -> Self {
        let stop = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut printed, mut failed) = (0, 0);
            for number in (1..=PRINTED_LINES).cycle() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                match print(&console_line(number, PRINTED_LINES)) {
                    Ok(()) => printed += 1,
                    Err(_) => failed += 1,
                }
                thread::sleep(LINE_PAUSE);
            }
            (printed, failed)
        });
        Self { stop, thread }
    }

    fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok((printed, failed)) => format!("{printed} lines printed, {failed} not taken by the console"),
            Err(_) => "the thread that printed panicked".into(),
        }
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut console = File::options().write(true).open("/dev/tty1")?;
    console.write_all(format!("{line}\r\n").as_bytes())
}

/// Opens the screen that a driver has just made: its device node is there before its geometry is in sysfs.
pub(crate) fn open_screen() -> Result<Framebuffer, String> {
    let deadline = Instant::now() + SCREEN_WAIT;
    loop {
        match Framebuffer::open() {
            Ok(screen) => return Ok(screen),
            Err(error) if Instant::now() >= deadline => return Err(format!("/dev/fb0: {error}")),
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// The synthetic video device in sysfs.
fn video_device() -> Result<PathBuf, String> {
    let entries = fs::read_dir(DEVICES).map_err(|error| format!("cannot read {DEVICES}: {error}"))?;
    let is_video = |path: &PathBuf| {
        fs::read_to_string(path.join("class_id")).is_ok_and(|class| class.trim() == VIDEO_CLASS)
    };
    let mut devices = entries.filter_map(Result::ok).map(|entry| entry.path());
    devices.find(is_video).ok_or_else(|| format!("no device of class {VIDEO_CLASS} in {DEVICES}"))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write \"{text}\" to {path}: {error}"))
}

fn await_screen(present: bool) -> Result<(), String> {
    let missing = if present { "there is no frame buffer" } else { "the frame buffer is still there" };
    await_until(missing, || framebuffer::exists() == present)
}

fn await_until(otherwise: &str, done: impl Fn() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + SCREEN_WAIT;
    while !done() {
        if Instant::now() >= deadline {
            return Err(format!("{otherwise} after {} s", SCREEN_WAIT.as_secs()));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Removes a module. The console holds the frame buffer's driver on some kernels; it is taken off then.
fn unload(module: &str) -> Result<Option<String>, String> {
    let module_name = std::ffi::CString::new(module).map_err(|error| error.to_string())?;
    let remove = || delete_module(&module_name, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let cannot = |error: Errno| format!("cannot remove module {module}: {error}");
    match remove() {
        Ok(()) => Ok(None),
        Err(Errno::AGAIN | Errno::BUSY) => {
            set_frame_buffer_console(false)?;
            remove().map_err(cannot)?;
            Ok(Some(format!(
                "the console had to be taken off the frame buffer before {module} could be removed"
            )))
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Puts the text console on the frame buffer or takes it off, if there is such a console.
fn set_frame_buffer_console(on: bool) -> Result<(), String> {
    let consoles = fs::read_dir("/sys/class/vtconsole").map_err(|error| format!("no consoles: {error}"))?;
    for console in consoles.filter_map(Result::ok).map(|entry| entry.path()) {
        let what = fs::read_to_string(console.join("name")).unwrap_or_default();
        let bind = console.join("bind");
        let state = fs::read_to_string(&bind).unwrap_or_default();
        if what.contains("frame buffer") && (state.trim() == "1") != on {
            write(&bind.to_string_lossy(), if on { "1" } else { "0" })?;
        }
    }
    Ok(())
}

/// Hibernation up to the image. There is no swap space to write it to, which Linux finds out after it has frozen every device, made
/// the image, and thawed them again.
fn hibernate() -> Result<String, String> {
    match fs::write("/sys/power/state", "disk") {
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
            Ok("devices frozen, image made, devices thawed; no place to write the image".into())
        }
        Ok(()) => Ok("hibernated and came back".into()),
        Err(error) => Err(format!("cannot write \"disk\" to /sys/power/state: {error}")),
    }
}

fn load_kernel() -> Result<(), String> {
    let open = |path: &str| File::open(path).map_err(|error| format!("cannot open {path}: {error}"));
    let cmdline = fs::read_to_string("/proc/cmdline").map_err(|error| format!("no command line: {error}"))?;
    let status = Command::new(kexec::LOADER)
        .arg(cmdline.trim())
        .stdin(Stdio::from(open(kexec::KERNEL)?))
        .stdout(Stdio::from(open(kexec::INITRAMFS)?))
        .status()
        .map_err(|error| format!("cannot run {}: {error}", kexec::LOADER))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(errno) => Err(format!("kexec_file_load: {}", io::Error::from_raw_os_error(errno))),
        None => Err(format!("{} ended with {status}", kexec::LOADER)),
    }
}
