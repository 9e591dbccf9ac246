//! Whether this machine can run the lab and fetch guests, and what to install if not.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The emulator that carries the lab.
pub const QEMU: &str = "qemu-system-x86_64";

/// A program that has to be there for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The program's name.
    pub name: &'static str,
    /// What it is for, for a reader.
    pub purpose: &'static str,
    /// Where it is; none if it is not in PATH.
    pub path: Option<PathBuf>,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// All tools, found or not.
    pub tools: Vec<Tool>,
    /// QEMU's version line, if it could be asked.
    pub qemu_version: Option<String>,
}

const TOOLS: [(&str, &str, &str); 5] = [
    (QEMU, "the KVM lab", "qemu-system-x86"),
    ("apt-cache", "finding guest kernels", "apt"),
    ("apt-get", "downloading guest kernels", "apt"),
    ("dpkg-deb", "unpacking guest kernels", "dpkg"),
    ("setpriv", "ending the KVM lab with its caller", "util-linux"),
];

impl Readiness {
    /// Looks around. Starts QEMU once, to ask its version.
    #[must_use]
    pub fn probe() -> Self {
        let tools =
            TOOLS.map(|(name, purpose, package)| Tool { name, purpose, path: find_program(name), package });
        Self { qemu_version: qemu_version(), tools: tools.into() }
    }

    /// Whether the lab can run: it needs QEMU, and a kernel that is in the cache or can be fetched.
    #[must_use]
    pub const fn lab(&self) -> bool {
        self.qemu_version.is_some()
    }

    /// Packages that would bring what is missing.
    #[must_use]
    pub fn packages_to_install(&self) -> Vec<&'static str> {
        let mut packages: Vec<_> =
            self.tools.iter().filter(|tool| tool.path.is_none()).map(|tool| tool.package).collect();
        packages.dedup();
        packages
    }

    /// The command that installs what is missing; none if nothing is.
    #[must_use]
    pub fn install_command(&self) -> Option<String> {
        let packages = self.packages_to_install();
        (!packages.is_empty())
            .then(|| format!("apt-get install --no-install-recommends --yes {}", packages.join(" ")))
    }
}

fn qemu_version() -> Option<String> {
    let output = Command::new(QEMU).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// The program called `name` in PATH.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(missing: &[&str]) -> Readiness {
        let tools = TOOLS.map(|(name, purpose, package)| {
            let path = (!missing.contains(&name)).then(|| PathBuf::from("/usr/bin").join(name));
            Tool { name, purpose, path, package }
        });
        Readiness { tools: tools.into(), qemu_version: None }
    }

    #[test]
    fn missing_tools_name_each_package_once() {
        assert_eq!(readiness(&[]).install_command(), None);
        assert_eq!(
            readiness(&[QEMU, "apt-get", "apt-cache"]).install_command().unwrap(),
            "apt-get install --no-install-recommends --yes qemu-system-x86 apt"
        );
    }

    #[test]
    fn shell_is_found_and_nonsense_is_not() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }
}
