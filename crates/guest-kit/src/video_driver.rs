//! A video driver of the user's: a module file that takes the place of the guest's own.

use std::{
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    elf::{self, ElfError},
    module_file,
    modules::{Module, VIDEO_DRIVERS},
};

/// A module that drives Hyper-V's synthetic video, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoDriver {
    /// Its name, one of [`VIDEO_DRIVERS`].
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The modules that it needs, by name.
    pub needs: Vec<String>,
    /// The kernel release that it was built for, if it says so. A kernel with MODVERSIONS takes it too if all symbols that it uses are
    /// the same there; any other refuses it.
    pub built_for: Option<String>,
    /// SHA-256 of the module, unpacked; 64 hexadecimal digits.
    pub sha256: String,
}

/// Why a file is no video driver.
#[derive(Debug, thiserror::Error)]
pub enum VideoDriverError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no kernel module: {found}", path = path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// It is another module.
    #[error("{path} is the module {found:?}, expected {}", VIDEO_DRIVERS.join(" or "), path = path.display())]
    OtherModule {
        /// The file.
        path: PathBuf,
        /// The module's name.
        found: String,
    },
}

impl VideoDriver {
    /// Reads what the module in `path` says of itself: a relocatable x86-64 ELF file with a `.modinfo` section, which
    /// may be compressed with xz if the file's name says so.
    ///
    /// # Errors
    /// Each variant of [`VideoDriverError`] names the file and what was found in it.
    pub fn open(path: &Path) -> Result<Self, VideoDriverError> {
        let read_error = |source| VideoDriverError::Read { path: path.to_owned(), source };
        let file = module_file::read(path).map_err(read_error)?;
        let not_a_module = |found: String| VideoDriverError::NotAModule { path: path.to_owned(), found };
        let elf_error = |error: ElfError| not_a_module(error.to_string());
        if !elf::is_relocatable(&file).map_err(elf_error)? {
            return Err(not_a_module("it is a linked ELF file, a program or a library".into()));
        }
        let info = elf::section(&file, ".modinfo").map_err(elf_error)?;
        let info = info.ok_or_else(|| not_a_module("it has no section .modinfo".into()))?;
        let found = value(info, "name").ok_or_else(|| not_a_module(".modinfo has no name".into()))?;
        let name = VIDEO_DRIVERS
            .into_iter()
            .find(|known| *known == found)
            .ok_or_else(|| VideoDriverError::OtherModule { path: path.to_owned(), found: found.clone() })?;
        Ok(Self {
            name,
            path: path.to_owned(),
            needs: crate::modules::depends(info),
            built_for: value(info, "vermagic")
                .and_then(|magic| Some(magic.split_whitespace().next()?.to_owned())),
            sha256: Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl VideoDriver {
    /// As a module to load.
    #[must_use]
    pub fn module(&self) -> Module {
        Module { name: self.name.to_owned(), path: self.path.clone() }
    }
}

/// The value of the first `KEY=VALUE` entry of a `.modinfo` section.
fn value(info: &[u8], key: &str) -> Option<String> {
    let entry = info
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(key.as_bytes()).and_then(|entry| entry.strip_prefix(b"=")))?;
    Some(String::from_utf8_lossy(entry).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A relocatable ELF file with one section of contents, `.modinfo`.
    fn module(kind: u16, info: &[u8]) -> Vec<u8> {
        const HEADER: usize = 64;
        const ENTRY: u16 = 64;
        let names = b"\0.modinfo\0.shstrtab\0";
        let (info_at, names_at) = (HEADER, HEADER + info.len());
        let sections_at = names_at + names.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(kind.to_le_bytes());
        file.extend(62_u16.to_le_bytes());
        file.resize(40, 0);
        file.extend((sections_at as u64).to_le_bytes());
        file.resize(58, 0);
        for field in [ENTRY, 3, 2] {
            file.extend(field.to_le_bytes());
        }
        file.extend(info);
        file.extend(names);
        for (name, at, bytes) in [(0_u32, 0, 0), (1, info_at, info.len()), (10, names_at, names.len())] {
            let start = file.len();
            file.extend(name.to_le_bytes());
            file.resize(start + 24, 0);
            file.extend((at as u64).to_le_bytes());
            file.extend((bytes as u64).to_le_bytes());
            file.resize(start + usize::from(ENTRY), 0);
        }
        file
    }

    fn open(contents: &[u8]) -> Result<VideoDriver, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), contents).unwrap();
        let shown = file.path().display().to_string();
        VideoDriver::open(file.path()).map_err(|error| error.to_string().replace(&shown, "FILE"))
    }

    #[test]
    fn driver_tells_its_name_its_kernel_and_what_it_needs() {
        let info =
            b"license=GPL\0depends=hv_vmbus,drm-kms\0name=hyperv_drm\0vermagic=6.1.0-56-amd64 SMP preempt \0";
        let driver = open(&module(1, info)).unwrap();
        assert_eq!(driver.name, "hyperv_drm");
        assert_eq!(driver.needs, ["hv_vmbus", "drm_kms"]);
        assert_eq!(driver.built_for.as_deref(), Some("6.1.0-56-amd64"));
        assert_eq!(driver.sha256.len(), 64);
    }

    #[test]
    fn what_is_no_video_driver_is_named() {
        for (contents, told) in [
            (
                module(1, b"name=virtio_gpu\0"),
                "FILE is the module \"virtio_gpu\", expected hyperv_drm or hyperv_fb",
            ),
            (module(1, b"license=GPL\0"), "FILE is no kernel module: .modinfo has no name"),
            (
                module(3, b"name=hyperv_fb\0"),
                "FILE is no kernel module: it is a linked ELF file, a program or a library",
            ),
            (b"#!/bin/sh\n".to_vec(), "FILE is no kernel module: not an x86-64 ELF file"),
            (Vec::new(), "FILE is no kernel module: not an x86-64 ELF file"),
        ] {
            assert_eq!(open(&contents).unwrap_err(), told);
        }
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(open(&own).unwrap_err().contains("linked ELF file"));
    }

    #[test]
    fn file_cut_anywhere_is_an_error_and_no_panic() {
        let whole = module(1, b"name=hyperv_fb\0depends=hv_vmbus\0");
        for length in 0..whole.len() {
            assert!(open(whole.get(..length).unwrap()).is_err(), "cut to {length} bytes");
        }
    }
}
