//! apt, without questions: as root, with sudo where that asks for no password, or as a line to type.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process;

/// Where apt keeps what the archive offers.
const LISTS: &str = "/var/lib/apt/lists";

/// Where it writes while it updates them, which changes this directory's time even if nothing is new.
const LISTS_ON_THEIR_WAY: &str = "/var/lib/apt/lists/partial";

/// Lists older than this name packages that the archive has replaced since, and does not have any more.
const LISTS_KEEP: Duration = Duration::from_secs(48 * 60 * 60);

/// How apt can be run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    Root,
    Sudo,
    None,
}

/// This machine's apt.
#[derive(Debug)]
pub(super) struct Apt {
    rights: Rights,
}

impl Apt {
    /// apt, if there is one.
    pub(super) fn find() -> Option<Self> {
        if !process::succeeds(Command::new("apt-get").arg("--version")) {
            return None;
        }
        let id = process::output(Command::new("id").arg("-u")).ok()?;
        let rights = if id.stdout.trim_ascii() == b"0" {
            Rights::Root
        } else if process::succeeds(Command::new("sudo").args(["-n", "true"])) {
            Rights::Sudo
        } else {
            Rights::None
        };
        Some(Self { rights })
    }

    /// apt knows what the archive offers. A fresh container image does not, and cannot fetch a guest kernel.
    pub(super) fn has_lists(&self) -> bool {
        has_package_lists(fs::read_dir(LISTS).into_iter().flatten().flatten().map(|entry| entry.file_name()))
    }

    /// Those lists were fetched so long ago that packages in them may be gone.
    pub(super) fn has_old_lists(&self) -> bool {
        self.has_lists() && [LISTS, LISTS_ON_THEIR_WAY].iter().all(|place| is_old(Path::new(place)))
    }

    /// Fetches lists anew, where that can be done; otherwise says what to type. Old ones may still do, on a machine that has in its
    /// cache what is needed.
    pub(super) fn renew_lists(&self) {
        if self.rights == Rights::None || self.update().is_err() {
            let line = line_to_type(&[]);
            eprintln!("setup: the package lists are old, and packages in them may be gone; type: {line}");
        }
    }

    /// Installs `packages` (perhaps none) and makes sure that the lists are there.
    ///
    /// # Errors
    /// Neither root nor sudo: the message is the line to type.
    pub(super) fn install(&self, packages: &[&str]) -> Result<(), Failure> {
        if self.rights == Rights::None {
            return Err(Failure::cannot_run(format!(
                "setting this machine up takes root, or a sudo that asks for no password; type\n  {}\nand run this again",
                line_to_type(packages)
            )));
        }
        let had_lists = self.has_lists();
        if !had_lists {
            self.update()?;
        }
        if packages.is_empty() {
            return Ok(());
        }
        match process::run(&mut self.install_command(packages)) {
            // Lists of last month name files that the archive has replaced since.
            Err(_) if had_lists => {
                self.update()?;
                process::run(&mut self.install_command(packages)).map_err(|_| self.refused(packages))
            }
            ended => ended.map_err(|_| self.refused(packages)),
        }
    }

    fn update(&self) -> Result<(), Failure> {
        let mut update = self.command();
        update.args(["-q", "update"]);
        process::run(&mut update)
            .map_err(|_| Failure::cannot_run("apt-get update failed: is the archive reachable?"))
    }

    fn refused(&self, packages: &[&str]) -> Failure {
        Failure::cannot_run(format!("apt-get could not install {}", packages.join(" ")))
    }

    fn install_command(&self, packages: &[&str]) -> Command {
        let mut install = self.command();
        install.args(["-q", "install", "--yes", "--no-install-recommends"]).args(packages);
        install
    }

    /// apt-get that waits for another one to finish, asks nothing and draws no progress bar.
    fn command(&self) -> Command {
        let mut command = match self.rights {
            Rights::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
                sudo
            }
            Rights::Root | Rights::None => {
                let mut apt = Command::new("apt-get");
                apt.env("DEBIAN_FRONTEND", "noninteractive");
                apt
            }
        };
        command.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]);
        command
    }
}

fn is_old(place: &Path) -> bool {
    let age =
        fs::metadata(place).and_then(|about| about.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age > LISTS_KEEP)
}

fn has_package_lists(names: impl Iterator<Item = std::ffi::OsString>) -> bool {
    names.into_iter().any(|name| name.to_string_lossy().contains("_Packages"))
}

fn line_to_type(packages: &[&str]) -> String {
    if packages.is_empty() {
        return "sudo apt-get update".to_owned();
    }
    let packages = packages.join(" ");
    format!("sudo apt-get update && sudo apt-get install --yes --no-install-recommends {packages}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_image_has_no_lists() {
        let names = |names: &[&str]| has_package_lists(names.iter().map(std::ffi::OsString::from));
        assert!(!names(&["lock", "partial", "auxfiles"]));
        assert!(names(&["lock", "deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages.lz4"]));
    }

    #[test]
    fn directory_that_was_just_written_is_not_old_and_one_from_long_ago_is() {
        let place = std::env::temp_dir().join(format!("vmbus-emu-lists-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        assert!(!is_old(&place));
        let long_ago = std::time::SystemTime::now() - LISTS_KEEP - Duration::from_secs(60);
        fs::File::open(&place).unwrap().set_modified(long_ago).unwrap();
        assert!(is_old(&place));
        fs::remove_dir(&place).unwrap();
        assert!(!is_old(&place), "what is not there says nothing");
    }

    #[test]
    fn without_rights_the_exact_line_is_told() {
        let failure = Apt { rights: Rights::None }.install(&["qemu-system-x86", "acpica-tools"]).unwrap_err();
        let told = format!("{failure:?}");
        let line = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends \
                    qemu-system-x86 acpica-tools";
        assert!(told.contains(line) && told.contains("status: 4"), "{told}");
    }
}
