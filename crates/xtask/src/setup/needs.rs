//! The table of what must be there, each with a test for it and the Debian package that brings it.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::process;

/// Something that must be on the machine.
#[derive(Debug)]
pub(super) struct Need {
    /// What it is.
    pub(super) thing: &'static str,
    /// What cannot be done without it.
    pub(super) purpose: &'static str,
    /// Debian package that has it.
    pub(super) package: &'static str,
    probe: Probe,
}

#[derive(Debug)]
enum Probe {
    /// A program in PATH.
    Program(&'static str),
    /// A file that the C compiler finds among its libraries.
    Library(&'static str),
}

/// Everything, in the order in which packages are named to apt.
pub(super) const NEEDS: &[Need] = &[
    Need { thing: "cc", purpose: "linking", package: "gcc", probe: Probe::Program("cc") },
    Need {
        thing: "libc.a",
        purpose: "linking the guest's init, which is static",
        package: "libc6-dev",
        probe: Probe::Library("libc.a"),
    },
    Need {
        thing: "dpkg-deb",
        purpose: "unpacking guest kernels",
        package: "dpkg",
        probe: Probe::Program("dpkg-deb"),
    },
    Need {
        thing: "setpriv",
        purpose: "ending the KVM lab with its caller",
        package: "util-linux",
        probe: Probe::Program("setpriv"),
    },
    Need {
        thing: "qemu-system-x86_64",
        purpose: "the KVM lab, where this machine's own KVM cannot run Linux",
        package: "qemu-system-x86",
        probe: Probe::Program("qemu-system-x86_64"),
    },
    Need {
        thing: "make",
        purpose: "building wrong guest drivers, which tests must catch",
        package: "make",
        probe: Probe::Program("make"),
    },
    Need {
        thing: "gcc-12",
        purpose: "building them with the guest kernel's compiler",
        package: "gcc-12",
        probe: Probe::Program("gcc-12"),
    },
    Need {
        thing: "libelf.so.1",
        purpose: "the kernel's own programs in that build",
        package: "libelf1",
        probe: Probe::Library("libelf.so.1"),
    },
    Need {
        thing: "xz",
        purpose: "unpacking the driver's source",
        package: "xz-utils",
        probe: Probe::Program("xz"),
    },
    Need {
        thing: "iasl",
        purpose: "tests that read our ACPI tables back",
        package: "acpica-tools",
        probe: Probe::Program("iasl"),
    },
    Need {
        thing: "chromium",
        purpose: "tests that open the page of a measurement",
        package: "chromium",
        probe: Probe::Program("chromium"),
    },
];

const LAB_QEMU: &str = "building the KVM lab's own QEMU";

/// What building the KVM lab's own QEMU takes beside that.
pub(super) const LAB_QEMU_NEEDS: &[Need] = &[
    Need {
        thing: "dpkg-source",
        purpose: LAB_QEMU,
        package: "dpkg-dev",
        probe: Probe::Program("dpkg-source"),
    },
    Need { thing: "python3", purpose: LAB_QEMU, package: "python3", probe: Probe::Program("python3") },
    Need { thing: "meson", purpose: LAB_QEMU, package: "meson", probe: Probe::Program("meson") },
    Need { thing: "ninja", purpose: LAB_QEMU, package: "ninja-build", probe: Probe::Program("ninja") },
    Need {
        thing: "pkg-config",
        purpose: LAB_QEMU,
        package: "pkg-config",
        probe: Probe::Program("pkg-config"),
    },
    Need {
        thing: "libglib-2.0.so",
        purpose: LAB_QEMU,
        package: "libglib2.0-dev",
        probe: Probe::Library("libglib-2.0.so"),
    },
    Need {
        thing: "libpixman-1.so",
        purpose: LAB_QEMU,
        package: "libpixman-1-dev",
        probe: Probe::Library("libpixman-1.so"),
    },
    Need { thing: "libfdt.so", purpose: LAB_QEMU, package: "libfdt-dev", probe: Probe::Library("libfdt.so") },
    Need {
        thing: "libcap-ng.so",
        purpose: LAB_QEMU,
        package: "libcap-ng-dev",
        probe: Probe::Library("libcap-ng.so"),
    },
    Need { thing: "libz.so", purpose: LAB_QEMU, package: "zlib1g-dev", probe: Probe::Library("libz.so") },
];

impl Need {
    /// It is there.
    pub(super) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => in_path(name),
            Probe::Library(name) => library(name),
        }
    }
}

fn in_path(name: &str) -> bool {
    // Root's PATH on Debian may lack the sbin directories; nothing here lives there.
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// `cc` answers with a full path if it finds the library, and otherwise repeats the name.
fn library(name: &str) -> bool {
    let asked = process::output(Command::new("cc").arg(format!("-print-file-name={name}")));
    asked.is_ok_and(|output| {
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&answer).is_absolute()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_is_found_and_an_invented_program_is_not() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program-anywhere"));
    }

    #[test]
    fn invented_library_is_not_found() {
        assert!(!library("libno-such-library.a"));
    }
}
