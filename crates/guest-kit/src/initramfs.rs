//! Initramfs images: cpio archives (newc) that are the same bytes for the same input, whoever builds them and when.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use cpio::newc::{Builder, ModeFileType, Reader, trailer};
use guest_agent::workload::EXEC_PROGRAM;

use crate::{agent, elf, module_file, modules::Module};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file of this machine cannot be read.
    #[error("cannot read {path} for the initramfs: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than the format can say.
    #[error("{path} has {bytes} bytes, an initramfs holds files of up to {limit} bytes", path = path.display(), limit = u32::MAX)]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How large.
        bytes: u64,
    },
    /// A program cannot run where there are no shared libraries.
    #[error("{path} cannot run in a guest, which has no shared libraries: {reason}", path = path.display())]
    NotStatic {
        /// Which.
        path: PathBuf,
        /// What it is instead of a static program.
        reason: String,
    },
    /// The image cannot be written.
    #[error("cannot write the initramfs: {0}")]
    Write(#[source] io::Error),
}

/// An initramfs in the making.
#[derive(Debug, Clone, Default)]
pub struct Initramfs {
    /// By path, without the leading slash. Sorted, so parents come before what is in them.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    Bytes {
        mode: u32,
        contents: Cow<'static, [u8]>,
    },
    HostFile {
        mode: u32,
        path: PathBuf,
    },
    /// Unpacked when the image is written.
    XzModule {
        path: PathBuf,
    },
    CharDevice {
        mode: u32,
        major: u32,
        minor: u32,
    },
}

/// Where an image says which role the agent plays.
const ROLE: &str = "/etc/vmbus-emu/role";

/// Which of its two roles the agent plays, by `/etc/vmbus-emu/role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A guest under test.
    Guest,
    /// The lab.
    Lab,
}

impl Role {
    const fn line(self) -> &'static [u8] {
        match self {
            Self::Guest => b"guest\n",
            Self::Lab => b"lab\n",
        }
    }
}

/// Whether the file is an image that [`Initramfs`] wrote, with the agent in the role of a guest under test. Anything else, a
/// compressed image among it, is somebody's own.
///
/// # Errors
/// The file cannot be read.
pub fn runs_guest_agent(path: &Path) -> io::Result<bool> {
    let mut rest = io::BufReader::new(File::open(path)?);
    loop {
        // Not in the format: not ours.
        let Ok(mut reader) = Reader::new(rest) else { return Ok(false) };
        let entry = reader.entry();
        if entry.is_trailer() {
            return Ok(false);
        }
        if entry.name() == ROLE.trim_start_matches('/') {
            let mut role = Vec::new();
            reader.by_ref().take(16).read_to_end(&mut role)?;
            return Ok(role == Role::Guest.line());
        }
        let Ok(after) = reader.finish() else { return Ok(false) };
        rest = after;
    }
}

impl Initramfs {
    /// An image with the agent as `/init`, the console device that init gets as its standard streams, mount points, and `modules`
    /// for the agent to load in this order.
    #[must_use]
    pub fn with_agent(role: Role, modules: &[Module]) -> Self {
        let mut image = Self::default();
        image.bytes("/init", 0o755, agent::PROGRAM);
        image.char_device("/dev/console", 0o600, 5, 1);
        for directory in ["/proc", "/sys", "/tmp"] {
            image.directory(directory);
        }
        image.bytes(ROLE, 0o644, role.line());
        let mut list = String::new();
        for module in modules {
            // By the module's name: a driver of the user's may lie in a file of any other.
            let path = format!("/lib/modules/{}{}", module.name, ending(&module.path));
            list.push_str(&path);
            list.push('\n');
            if module_file::is_xz(&module.path) {
                image.insert(&path, Entry::XzModule { path: module.path.clone() });
            } else {
                image.host_file(&path, 0o644, &module.path);
            }
        }
        image.bytes("/etc/vmbus-emu/modules", 0o644, list.into_bytes());
        image
    }

    /// Adds a directory, and those above it.
    pub fn directory(&mut self, path: &str) {
        self.insert(path, Entry::Directory);
    }

    /// Adds a file with these contents.
    pub fn bytes(&mut self, path: &str, mode: u32, contents: impl Into<Cow<'static, [u8]>>) {
        self.insert(path, Entry::Bytes { mode, contents: contents.into() });
    }

    /// Adds a file of this machine; it is read when the image is written.
    pub fn host_file(&mut self, path: &str, mode: u32, host: &Path) {
        self.insert(path, Entry::HostFile { mode, path: host.to_owned() });
    }

    /// Adds a static program of this machine as [`EXEC_PROGRAM`], for the workload of that name.
    ///
    /// # Errors
    /// [`InitramfsError::Read`], or [`InitramfsError::NotStatic`] if it is no x86-64 ELF or asks for a dynamic loader.
    pub fn exec_program(&mut self, host: &Path) -> Result<(), InitramfsError> {
        let program =
            fs::read(host).map_err(|source| InitramfsError::Read { path: host.to_owned(), source })?;
        let not_static = |reason| InitramfsError::NotStatic { path: host.to_owned(), reason };
        match elf::interpreter(&program) {
            Ok(None) => {}
            Ok(Some(loader)) => return Err(not_static(format!("it asks for the loader {loader}"))),
            Err(error) => return Err(not_static(error.to_string())),
        }
        length(program.len() as u64, host)?;
        self.bytes(EXEC_PROGRAM, 0o755, program);
        Ok(())
    }

    /// Adds a character device.
    pub fn char_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.insert(path, Entry::CharDevice { mode, major, minor });
    }

    /// Whether there is an entry at `path`.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(path.trim_matches('/'))
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (slash, _) in path.match_indices('/') {
            let parent = path.get(..slash).unwrap_or_default();
            self.entries.entry(parent.to_owned()).or_insert(Entry::Directory);
        }
        if matches!(entry, Entry::Directory) {
            self.entries.entry(path.to_owned()).or_insert(entry);
        } else {
            self.entries.insert(path.to_owned(), entry);
        }
    }

    /// Writes the image, not compressed: that is the fastest to load into a guest.
    ///
    /// # Errors
    /// A host file that cannot be read, or the writer's own error.
    pub fn write(&self, mut writer: impl Write) -> Result<(), InitramfsError> {
        for (ino, (name, entry)) in (1..).zip(&self.entries) {
            let builder = Builder::new(name).ino(ino);
            match entry {
                Entry::Directory => {
                    let builder = builder.mode(0o755).set_mode_file_type(ModeFileType::Directory).nlink(2);
                    writer = builder.write(writer, 0).finish().map_err(InitramfsError::Write)?;
                }
                Entry::CharDevice { mode, major, minor } => {
                    let builder = builder.mode(*mode).set_mode_file_type(ModeFileType::Char);
                    let builder = builder.rdev_major(*major).rdev_minor(*minor);
                    writer = builder.write(writer, 0).finish().map_err(InitramfsError::Write)?;
                }
                Entry::Bytes { mode, contents } => {
                    writer = write_file(writer, builder.mode(*mode), name, contents)?;
                }
                Entry::XzModule { path } => {
                    let contents = module_file::read(path)
                        .map_err(|source| InitramfsError::Read { path: path.clone(), source })?;
                    writer = write_file(writer, builder.mode(0o644), name, &contents)?;
                }
                Entry::HostFile { mode, path } => {
                    let read_error = |source| InitramfsError::Read { path: path.clone(), source };
                    let builder = builder.mode(*mode).set_mode_file_type(ModeFileType::Regular);
                    let host = File::open(path).map_err(read_error)?;
                    let bytes = length(host.metadata().map_err(read_error)?.len(), path)?;
                    let mut file = builder.write(writer, bytes);
                    let copied = io::copy(&mut host.take(bytes.into()), &mut file).map_err(read_error)?;
                    if copied != u64::from(bytes) {
                        return Err(read_error(io::ErrorKind::UnexpectedEof.into()));
                    }
                    writer = file.finish().map_err(InitramfsError::Write)?;
                }
            }
        }
        trailer(writer).and_then(|mut writer| writer.flush()).map_err(InitramfsError::Write)
    }

    /// The image as bytes.
    ///
    /// # Errors
    /// A host file that cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InitramfsError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }
}

/// What follows the name of a module's file in the image: `.ko`, and what compresses it unless that is undone here.
fn ending(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let compression = file.split_once(".ko").map_or("", |(_, ending)| ending);
    format!(".ko{}", if module_file::is_xz(path) { "" } else { compression })
}

fn write_file<W: Write>(
    writer: W,
    builder: Builder,
    name: &str,
    contents: &[u8],
) -> Result<W, InitramfsError> {
    let bytes = length(contents.len() as u64, Path::new(name))?;
    let mut file = builder.set_mode_file_type(ModeFileType::Regular).write(writer, bytes);
    file.write_all(contents).map_err(InitramfsError::Write)?;
    file.finish().map_err(InitramfsError::Write)
}

fn length(bytes: u64, path: &Path) -> Result<u32, InitramfsError> {
    u32::try_from(bytes).map_err(|_| InitramfsError::TooLarge { path: path.to_owned(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, device number, contents.
    type Found = (String, u32, (u32, u32), Vec<u8>);

    fn contents(archive: &[u8]) -> Vec<Found> {
        let mut rest = archive;
        let mut all = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return all;
            }
            let entry = reader.entry();
            let (name, mode) = (entry.name().to_owned(), entry.mode());
            let device = (entry.rdev_major(), entry.rdev_minor());
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            rest = reader.finish().unwrap();
            all.push((name, mode, device, bytes));
        }
    }

    fn module(dir: &Path, name: &str) -> Module {
        let path = dir.join(format!("{name}.ko"));
        fs::write(&path, name).unwrap();
        Module { name: name.into(), path }
    }

    #[test]
    fn image_has_init_console_role_and_modules_in_load_order() {
        let dir = tempfile::tempdir().unwrap();
        let modules = [module(dir.path(), "zeta"), module(dir.path(), "alpha")];
        let image = contents(&Initramfs::with_agent(Role::Guest, &modules).to_bytes().unwrap());
        let find = |name: &str| image.iter().find(|(found, ..)| found == name).unwrap();

        assert_eq!((find("init").1, &find("init").3[..]), (0o100_755, agent::PROGRAM));
        assert_eq!((find("dev/console").1, find("dev/console").2), (0o020_600, (5, 1)));
        assert_eq!(find("etc/vmbus-emu/role").3, b"guest\n");
        assert_eq!(find("etc/vmbus-emu/modules").3, b"/lib/modules/zeta.ko\n/lib/modules/alpha.ko\n");
        assert_eq!(find("lib/modules/alpha.ko").3, b"alpha");
        assert_eq!(find("proc").1, 0o040_755);
    }

    #[test]
    fn image_of_a_guest_is_told_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("initrd");
        let told = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            runs_guest_agent(&path).unwrap()
        };
        let image = |role| Initramfs::with_agent(role, &[]).to_bytes().unwrap();
        assert!(told(&image(Role::Guest)));
        assert!(!told(&image(Role::Lab)));
        assert!(!told(&Initramfs::default().to_bytes().unwrap()));
        assert!(!told(&image(Role::Guest)[..200]));
        assert!(!told(b"\x1f\x8b compressed"));
        assert!(!told(b""));
        assert!(runs_guest_agent(&dir.path().join("none")).is_err());
    }

    #[test]
    fn xz_module_is_plain_in_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ko.xz");
        fs::write(&path, module_file::tests::XZ).unwrap();
        let modules = [Module { name: "m".into(), path }];
        let image = contents(&Initramfs::with_agent(Role::Guest, &modules).to_bytes().unwrap());
        let find = |name: &str| &image.iter().find(|(found, ..)| found == name).unwrap().3;
        assert_eq!(find("etc/vmbus-emu/modules"), b"/lib/modules/m.ko\n");
        assert_eq!(find("lib/modules/m.ko"), module_file::tests::CONTENTS);
    }

    #[test]
    fn module_is_called_by_its_name_whatever_its_file_is_called() {
        let dir = tempfile::tempdir().unwrap();
        for (file, called) in
            [("hv_vmbus", ".ko"), ("new-driver.ko", ".ko"), ("a.ko.zst", ".ko.zst"), ("b.xz", ".ko")]
        {
            let path = dir.path().join(file);
            fs::write(&path, module_file::tests::XZ).unwrap();
            let modules = [Module { name: "hyperv_fb".into(), path }];
            let image = contents(&Initramfs::with_agent(Role::Guest, &modules).to_bytes().unwrap());
            let found = &image.iter().find(|(name, ..)| name == "etc/vmbus-emu/modules").unwrap().3;
            assert_eq!(String::from_utf8_lossy(found), format!("/lib/modules/hyperv_fb{called}\n"), "{file}");
        }
    }

    #[test]
    fn parents_come_before_what_is_in_them() {
        let mut image = Initramfs::default();
        image.bytes("/a/b/c", 0o644, &b"x"[..]);
        image.bytes("/a-b", 0o644, &b"y"[..]);
        image.directory("/a");
        let names: Vec<_> = contents(&image.to_bytes().unwrap()).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "a-b", "a/b", "a/b/c"]);
    }

    #[test]
    fn same_input_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let one = Initramfs::with_agent(Role::Lab, &[module(dir.path(), "m")]).to_bytes().unwrap();
        let other = Initramfs::with_agent(Role::Lab, &[module(dir.path(), "m")]).to_bytes().unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn static_program_is_added_and_others_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let mut image = Initramfs::default();

        fs::write(&path, agent::PROGRAM).unwrap();
        image.exec_program(&path).unwrap();
        let (name, mode, _, bytes) = contents(&image.to_bytes().unwrap()).remove(0);
        assert_eq!((&*name, mode, &bytes[..]), ("exec", 0o100_755, agent::PROGRAM));

        let own = std::env::current_exe().unwrap();
        let error = image.exec_program(&own).unwrap_err().to_string();
        assert!(error.ends_with("it asks for the loader /lib64/ld-linux-x86-64.so.2"), "{error}");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let error = image.exec_program(&path).unwrap_err().to_string();
        assert!(error.ends_with("no shared libraries: not an x86-64 ELF file"), "{error}");
        let missing = image.exec_program(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file"), "{missing}");
    }

    #[test]
    fn missing_host_file_is_named() {
        let mut image = Initramfs::default();
        image.host_file("/x", 0o644, Path::new("/no/such/file"));
        let error = image.to_bytes().unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
