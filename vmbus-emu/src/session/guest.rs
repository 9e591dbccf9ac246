//! The guest's files: kernel, initramfs, command line, and what the report says of them.

use std::path::{Path, PathBuf};

use guest_kit::initramfs::{Initramfs, Role};
use guest_kit::kexec;
use guest_kit::modules::ModuleTree;
use guest_kit::packages::{self, FetchStep, GuestKernel};
use guest_kit::video_driver::VideoDriver;

use super::kernel_sha256::{KernelFile, KernelSha256};
use super::run::TemporaryFile;
use crate::cli::{Generation, GuestSource, RunArgs, Scenario, Userland};
use crate::exit::ExitError;
use crate::machine::EFI_CMDLINE;
use crate::progress::{Phase, Progress};

/// Modules that a guest with the agent gets, where they are not built in. The video driver comes on top.
const BUS_MODULE: &str = "hv_vmbus";

/// Which `--device` needs a module.
enum InputDevice {
    Keyboard,
    Mouse,
    Either,
}

/// A module of the input devices.
struct InputModule {
    name: &'static str,
    option: &'static str,
    device: InputDevice,
}

/// Modules of the input devices, where they are not built in.
const INPUT_MODULES: [InputModule; 4] = [
    InputModule { name: "atkbd", option: "CONFIG_KEYBOARD_ATKBD", device: InputDevice::Keyboard },
    InputModule { name: "hyperv_keyboard", option: "CONFIG_HYPERV_KEYBOARD", device: InputDevice::Keyboard },
    InputModule { name: "hid_hyperv", option: "CONFIG_HID_HYPERV_MOUSE", device: InputDevice::Mouse },
    InputModule { name: "evdev", option: "CONFIG_INPUT_EVDEV", device: InputDevice::Either },
];

/// Where the initramfs of a guest lies.
#[derive(Debug)]
pub(crate) enum Initrd {
    /// A file of the user's.
    Given(PathBuf),
    /// One that was built for this run.
    Built(TemporaryFile),
}

impl Initrd {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Built(file) => file.path(),
        }
    }
}

/// A guest that is ready to boot.
#[derive(Debug)]
pub(crate) struct PreparedGuest {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<Initrd>,
    pub(crate) release: Option<String>,
    pub(crate) package: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) sha256: KernelSha256,
}

/// Fetches and builds what is missing.
pub(crate) fn prepare(args: &RunArgs, progress: &Progress) -> Result<PreparedGuest, ExitError> {
    let driver = args.driver.as_ref();
    match &args.guest {
        GuestSource::Named(name) => {
            let kernel = fetch(name, progress)?;
            if let Some(built_for) = driver.and_then(|driver| driver.built_for.as_ref())
                && *built_for != kernel.release
            {
                progress.suspend(|| {
                    eprintln!(
                        "warning: the driver was built for {built_for}, the guest's kernel is {}",
                        kernel.release
                    );
                });
            }
            let initrd = build_initramfs(&kernel.image, Some(&kernel.modules), args, progress)?;
            Ok(PreparedGuest {
                kernel: kernel.image,
                initrd: Some(Initrd::Built(initrd)),
                release: Some(kernel.release),
                package: Some(kernel.package),
                version: Some(kernel.version),
                sha256: KernelSha256::OfPackage(kernel.sha256),
            })
        }
        GuestSource::Files { kernel, userland } => {
            let initrd = match userland {
                Userland::Initrd(path) => Initrd::Given(path.clone()),
                Userland::Agent { modules } => {
                    Initrd::Built(build_initramfs(kernel, modules.as_deref(), args, progress)?)
                }
            };
            let file = KernelFile::open(kernel).map_err(|error| {
                ExitError::usage(format!("cannot read kernel {}: {error}", kernel.display()))
            })?;
            Ok(PreparedGuest {
                kernel: kernel.clone(),
                initrd: Some(initrd),
                release: None,
                package: None,
                version: None,
                sha256: KernelSha256::OfFile(file),
            })
        }
    }
}

/// Gets a kernel by name, with progress.
pub(crate) fn fetch(name: &str, progress: &Progress) -> Result<GuestKernel, ExitError> {
    progress.begin(Phase::Download);
    let kernel = packages::fetch(name, &cache(), &mut |step| tell(step, progress)).map_err(package_error)?;
    progress.done(&format!("{} {}", kernel.package, kernel.version));
    Ok(kernel)
}

/// Where downloads are kept.
pub(crate) fn cache() -> PathBuf {
    guest_kit::cache::directory()
}

/// Says what a fetch is doing.
pub(crate) fn tell(step: FetchStep, progress: &Progress) {
    match step {
        FetchStep::Resolving => progress.note("asking the package index"),
        FetchStep::IndexUnavailable { reason } => tracing::info!("no package index: {reason}"),
        FetchStep::Downloading { package, bytes } => {
            progress.note(&format!("{package}, {} MiB", bytes >> 20));
        }
        FetchStep::Verifying => progress.note("comparing checksums"),
        FetchStep::Unpacking => progress.note("unpacking"),
        FetchStep::Ready => {}
    }
}

/// An unknown name is the user's, everything else this host's.
pub(crate) fn package_error(error: packages::PackageError) -> ExitError {
    let text = error.to_string();
    if matches!(error, packages::PackageError::UnknownGuest { .. }) {
        ExitError::usage(text)
    } else {
        ExitError::cannot_run(text)
    }
}

fn build_initramfs(
    kernel: &Path,
    modules: Option<&Path>,
    args: &RunArgs,
    progress: &Progress,
) -> Result<TemporaryFile, ExitError> {
    let driver = args.driver.as_ref();
    progress.begin(Phase::Initramfs);
    let usage = |error: &dyn std::fmt::Display| ExitError::usage(error.to_string());
    let modules = match modules {
        Some(directory) => {
            let tree = ModuleTree::open(directory).map_err(|error| usage(&error))?;
            let mut names = vec![BUS_MODULE];
            names.extend(input_modules(&tree, directory, args)?);
            let closure = match driver {
                Some(driver) => tree.closure_with(&names, driver),
                None => {
                    names.push(own_driver(&tree, directory)?);
                    tree.closure(&names)
                }
            };
            closure.map_err(|error| usage(&error))?
        }
        None => driver.map(VideoDriver::module).into_iter().collect(),
    };
    let mut image = Initramfs::with_agent(Role::Guest, &modules);
    if args.scenario == Scenario::Kexec {
        let first = image.clone();
        kexec::add_to(&mut image, kernel, &first).map_err(|error| usage(&error))?;
    }
    if let Some(program) = &args.program {
        image.exec_program(program).map_err(|error| usage(&error))?;
    }
    let image = image.to_bytes().map_err(|error| usage(&error))?;
    let file = TemporaryFile::with("initramfs", &image)
        .map_err(|error| ExitError::cannot_run(format!("cannot write the initramfs: {error}")))?;
    progress.done(&format!("{} modules, {} KiB", modules.len(), image.len() >> 10));
    Ok(file)
}

/// The drivers of the input devices that were asked for, and what makes their events readable.
fn input_modules(
    tree: &ModuleTree,
    directory: &Path,
    args: &RunArgs,
) -> Result<Vec<&'static str>, ExitError> {
    let wanted = INPUT_MODULES.iter().filter(|module| match module.device {
        InputDevice::Keyboard => args.keyboard,
        InputDevice::Mouse => args.mouse,
        InputDevice::Either => args.keyboard || args.mouse,
    });
    let mut names = Vec::new();
    for InputModule { name, option, .. } in wanted {
        if !tree.has_file(name) && !tree.is_built_in(name) {
            return Err(ExitError::usage(format!(
                "the module tree {} has no {name}, which an input device needs",
                directory.display()
            ))
            .with_hint(format!("build the kernel with {option}=m")));
        }
        names.push(*name);
    }
    Ok(names)
}

/// The video driver that the kernel came with.
fn own_driver(tree: &ModuleTree, directory: &Path) -> Result<&'static str, ExitError> {
    tree.video_driver().ok_or_else(|| {
        ExitError::usage(format!(
            "the module tree {} has neither hyperv_drm nor hyperv_fb",
            directory.display()
        ))
        .with_hint("build the kernel with CONFIG_DRM_HYPERV=m or CONFIG_FB_HYPERV=m")
    })
}

/// The kernel's command line: the console on the first serial port, nothing printed on the text console that a
/// picture is taken of, what the machine's generation needs, and the user's words last, so that they win.
pub(crate) fn command_line(args: &RunArgs) -> String {
    // The last console named is /dev/console as well.
    let screen = if args.scenario == Scenario::Panic { "console=tty0 " } else { "" };
    let mut words = format!("{screen}console=ttyS0,115200 panic=-1 consoleblank=0");
    if args.generation == Generation::Two {
        words.push(' ');
        words.push_str(EFI_CMDLINE);
    }
    if !args.cmdline.is_empty() {
        words.push(' ');
        words.push_str(&args.cmdline);
    }
    words
}
