//! The three questions to apt: which packages are there, what is in this one's record, give me its file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{KnownGuest, PackageError, sources::Sources};

/// A package as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    /// Packages that hold the rest of a kernel that was split; they have none themselves.
    #[serde(default)]
    pub(super) companions: Vec<Self>,
}

/// A package's record, as far as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) package: Package,
    /// What it depends on, as the index has it.
    pub(super) depends: String,
}

impl Package {
    /// It and its companions.
    pub(super) fn files(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.companions)
    }

    /// Size of all that is downloaded.
    pub(super) fn total_bytes(&self) -> u64 {
        self.files().map(|package| package.bytes).sum()
    }

    /// Its directory in the cache: another version is another directory.
    pub(super) fn directory_name(&self) -> String {
        format!("{}_{}", self.name, self.version.replace([':', '/'], "%"))
    }
}

/// The newest package of a guest. The error is the reason why the index cannot tell.
pub(super) fn newest(guest: &KnownGuest, sources: &Sources) -> Result<Package, String> {
    let names = output(sources.command("apt-cache").args(["pkgnames", guest.prefix()]))?;
    let mut numbers: Vec<(Vec<u32>, &str)> =
        names.lines().filter_map(|name| Some((guest.number(name)?, name))).collect();
    numbers.sort_unstable();
    let record = |name: &str| {
        let record = output(sources.command("apt-cache").args(["show", "--no-all-versions", name]));
        record.ok().as_deref().and_then(parse_record).map(|record| record.package)
    };
    // pkgnames also lists what is only mentioned, or installed and long gone from the index: take the newest with a record.
    for (_, name) in numbers.iter().rev() {
        let companions: Option<Vec<Package>> =
            guest.companions(name).iter().map(|name| record(name)).collect();
        if let (Some(package), Some(companions)) = (record(name), companions) {
            return Ok(Package { companions, ..package });
        }
    }
    Err(format!("the package index has no package {}", guest.pattern()))
}

/// Every version of a package that the index has, the newest first. The error is the reason why it cannot tell.
pub(super) fn records(name: &str, sources: &Sources) -> Result<Vec<Record>, String> {
    let records = output(sources.command("apt-cache").args(["show", "--all-versions", name]))?;
    Ok(records.split("\n\n").filter_map(parse_record).collect())
}

/// Downloads a package's file into `directory`, which has no other.
pub(super) fn download(
    package: &Package,
    sources: &Sources,
    directory: &Path,
) -> Result<PathBuf, PackageError> {
    let mut apt = sources.command("apt-get");
    apt.args(["download", "-q", &format!("{}={}", package.name, package.version)]).current_dir(directory);
    let command = run(apt, &package.name)?;
    let file = fs::read_dir(directory).ok().and_then(|mut entries| {
        entries.find_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "deb").then_some(path)
        })
    });
    file.ok_or_else(|| PackageError::Tool {
        package: package.name.clone(),
        command,
        failure: "apt-get succeeded but left no file".into(),
    })
}

/// Runs a command to its end and gives back its command line.
pub(super) fn run(mut command: Command, package: &str) -> Result<String, PackageError> {
    let line = command_line(&command);
    match output(&mut command) {
        Ok(_) => Ok(line),
        Err(failure) => Err(PackageError::Tool { package: package.to_owned(), command: line, failure }),
    }
}

/// What a command prints; the error says what it complained about.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().find(|line| line.starts_with("E:")).or_else(|| complaint.lines().next());
    Err(format!("{name} failed ({}): {}", output.status, first.unwrap_or("no message")))
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The first record of `apt-cache show`. None if it has no file to download, as a locally installed package.
fn parse_record(record: &str) -> Option<Record> {
    let record = record.split("\n\n").next()?;
    let field = |name: &str| {
        record.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.trim().to_owned())
        })
    };
    let package = Package {
        name: field("Package")?,
        version: field("Version")?,
        sha256: field("SHA256")?.to_ascii_lowercase(),
        bytes: field("Size")?.parse().ok()?,
        companions: Vec::new(),
    };
    Some(Record { package, depends: field("Depends").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "Package: linux-image-6.1.0-56-cloud-amd64\n\
        Source: linux-signed-amd64 (6.1.192+2)\n\
        Version: 6.1.192-2\n\
        Installed-Size: 105548\n\
        Depends: kmod, linux-base (>= 4.3~)\n\
        Description: Linux 6.1\n Version: not this one\n\
        Size: 26713492\n\
        SHA256: E7D02B943971EDCB8790E256C02CFAB3BCA6C3D37C1BF25392A57C71300615EE\n\n\
        Package: another\nVersion: 1\nSize: 1\nSHA256: 00\n";

    #[test]
    fn first_record_of_the_index_is_parsed() {
        let Record { package, depends } = parse_record(RECORD).unwrap();
        assert_eq!(depends, "kmod, linux-base (>= 4.3~)");
        assert_eq!(package.directory_name(), "linux-image-6.1.0-56-cloud-amd64_6.1.192-2");
        assert_eq!(package.bytes, 26_713_492);
        assert!(package.sha256.starts_with("e7d02b94"), "{}", package.sha256);
    }

    #[test]
    fn record_without_a_file_is_no_package() {
        assert_eq!(parse_record("Package: p\nVersion: 1\nStatus: install ok installed\n"), None);
        assert_eq!(parse_record(""), None);
    }

    #[test]
    fn failed_command_names_package_command_and_complaint() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo W: noise >&2; echo E: no such package >&2; exit 100"]);
        let error = run(command, "linux-image-x").unwrap_err().to_string();
        assert!(error.starts_with("package linux-image-x: sh failed"), "{error}");
        assert!(error.contains("E: no such package; to see more, run: sh -c"), "{error}");
    }

    #[test]
    fn missing_tool_is_named() {
        let error = run(Command::new("/no/such/tool"), "p").unwrap_err().to_string();
        assert!(error.contains("cannot run /no/such/tool"), "{error}");
    }
}
