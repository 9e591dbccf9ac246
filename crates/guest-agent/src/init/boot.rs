//! The first steps of any init: the kernel's file systems, and how long the boot took.

use std::{fs, io};

use rustix::mount::{MountFlags, mount};

/// Mounts devtmpfs, proc and sysfs. What fails is told on the console; later steps then fail with a reason of their own.
pub(crate) fn mount_kernel_filesystems() {
    for (kind, path) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/dev/shm")] {
        if let Err(error) = mount_at(kind, kind, path, MountFlags::empty(), "") {
            eprintln!("guest-agent: cannot mount {kind} at {path}: {error}");
        }
    }
}

/// Makes the directory if need be and mounts there.
pub(crate) fn mount_at(
    kind: &str,
    source: &str,
    path: &str,
    flags: MountFlags,
    options: &str,
) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let options = std::ffi::CString::new(options)?;
    Ok(mount(source, path, kind, flags, Some(options.as_c_str()))?)
}

/// Milliseconds since the kernel started.
pub(crate) fn uptime_ms() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let (seconds, hundredths) =
        text.split_whitespace().next().and_then(|number| number.split_once('.')).unwrap_or_default();
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    number(seconds).saturating_mul(1000).saturating_add(number(hundredths).saturating_mul(10))
}

/// The kernel's release.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
