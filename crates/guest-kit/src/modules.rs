//! Which modules a guest needs, and in which order they load.
//!
//! A tree that went through depmod says so in `modules.dep`. Debian's packages come without it (it is made at installation), and
//! so does a kernel's build tree; there every module names what it needs in its own `.modinfo` section, and `modules.order` spares
//! a walk through thousands of files.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{elf, module_file, video_driver::VideoDriver};

/// A module file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores as the kernel writes it.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// Why there is no list of modules.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no module at all.
    #[error("{path} has no kernel modules (*.ko) in it", path = path.display())]
    NoModules {
        /// The directory.
        path: PathBuf,
    },
    /// A module is not there.
    #[error("module {name}{} is not in {path}, and not built into that kernel", needed_by(user), path = path.display())]
    Missing {
        /// Which.
        name: String,
        /// The module that needs it, if not the caller.
        user: Option<String>,
        /// The directory.
        path: PathBuf,
    },
    /// Modules that need each other.
    #[error("modules need each other in a circle: {}", names.join(" -> "))]
    Circle {
        /// Their names.
        names: Vec<String>,
    },
    /// A module file that says nothing.
    #[error("{path} is not a kernel module: {reason}", path = path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Modules without an index, compressed in a way that is not read here.
    #[error(
        "{path} is compressed and there is no modules.dep beside it; run: depmod -b ROOT RELEASE",
        path = path.display()
    )]
    CompressedWithoutIndex {
        /// The file.
        path: PathBuf,
    },
}

fn needed_by(user: &Option<String>) -> String {
    user.as_ref().map_or_else(String::new, |user| format!(" (needed by {user})"))
}

/// The modules of one kernel: a `lib/modules/RELEASE` directory, or a kernel's build tree.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    root: PathBuf,
    files: BTreeMap<String, PathBuf>,
    built_in: HashSet<String>,
    index: Option<BTreeMap<String, Vec<String>>>,
    /// `files` are names out of `modules.order`, which does not know whether modules are compressed.
    endings_unknown: bool,
}

/// The drivers of Hyper-V's synthetic video, the newer first.
pub const VIDEO_DRIVERS: [&str; 2] = ["hyperv_drm", "hyperv_fb"];

/// The bus they are on.
pub const BUS_DRIVER: &str = "hv_vmbus";

impl ModuleTree {
    /// Reads what is in `root`. Symbolic links to directories are not followed.
    ///
    /// # Errors
    /// A directory that cannot be read or has no module in it.
    pub fn open(root: &Path) -> Result<Self, ModuleError> {
        let mut tree = Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            built_in: read_if_there(&root.join("modules.builtin"))?
                .lines()
                .map(|line| module_name(Path::new(line)))
                .collect(),
            index: None,
            endings_unknown: false,
        };
        let index = read_if_there(&root.join("modules.dep"))?;
        let order = read_if_there(&root.join("modules.order"))?;
        if index.trim().is_empty() && order.trim().is_empty() {
            tree.find_files(root)?;
        } else if index.trim().is_empty() {
            // As installed it lists a.ko, in a build tree a.o.
            let paths = order.lines().map(|line| Path::new(line).with_extension("ko"));
            tree.files = paths.map(|path| (module_name(&path), root.join(path))).collect();
            tree.endings_unknown = true;
        } else {
            tree.files = paths_of_modules_dep(&index)
                .map(|path| (module_name(Path::new(path)), root.join(path)))
                .collect();
            tree.index = Some(parse_modules_dep(&index));
        }
        if tree.files.is_empty() && tree.built_in.is_empty() {
            return Err(ModuleError::NoModules { path: root.to_owned() });
        }
        Ok(tree)
    }

    fn find_files(&mut self, directory: &Path) -> Result<(), ModuleError> {
        let read_error = |source| ModuleError::Read { path: directory.to_owned(), source };
        for entry in fs::read_dir(directory).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(read_error)?);
            if kind.is_dir() {
                self.find_files(&path)?;
            } else if is_module_file(&path) {
                self.files.insert(module_name(&path), path);
            }
        }
        Ok(())
    }

    /// Whether the module can be loaded from here.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        self.file(&with_underscores(name)).is_some()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.files.get(name)?;
        if !self.endings_unknown {
            return Some(path.clone());
        }
        let with_ending = |path: &Path| {
            let with = |ending| PathBuf::from(format!("{}{ending}", path.display()));
            COMPRESSIONS.iter().map(with).find(|path| path.is_file())
        };
        // Build trees before Linux 5.3 list their modules as they will be installed.
        let in_build_tree = || Some(self.root.join(path.strip_prefix(self.root.join("kernel")).ok()?));
        with_ending(path).or_else(|| with_ending(&in_build_tree()?))
    }

    /// Whether the module is part of the kernel image.
    #[must_use]
    pub fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(&with_underscores(name))
    }

    /// The synthetic video driver that this kernel has.
    #[must_use]
    pub fn video_driver(&self) -> Option<&'static str> {
        VIDEO_DRIVERS.into_iter().find(|name| self.has_file(name) || self.is_built_in(name))
    }

    /// `names` and all that they need, in an order in which they load. What is built in is left out.
    ///
    /// # Errors
    /// A module that is neither here nor built in; files that do not say what they need.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut order = Vec::new();
        for name in names {
            self.visit(&with_underscores(name), &mut Vec::new(), &mut order)?;
        }
        Ok(order)
    }

    /// `names` and all that they need, then `driver`, which is no part of the tree and takes the place of its namesake.
    ///
    /// # Errors
    /// As [`Self::closure`]; the driver may need what this kernel lacks.
    pub fn closure_with(&self, names: &[&str], driver: &VideoDriver) -> Result<Vec<Module>, ModuleError> {
        let mut order = self.closure(names)?;
        for needed in &driver.needs {
            self.visit(needed, &mut vec![driver.name.to_owned()], &mut order)?;
        }
        order.push(driver.module());
        Ok(order)
    }

    /// Depth first: what a module needs comes before it.
    fn visit(&self, name: &str, users: &mut Vec<String>, order: &mut Vec<Module>) -> Result<(), ModuleError> {
        if order.iter().any(|done| done.name == name) {
            return Ok(());
        }
        if users.iter().any(|user| user == name) {
            users.push(name.to_owned());
            return Err(ModuleError::Circle { names: users.clone() });
        }
        let Some(path) = self.file(name) else {
            if self.built_in.contains(name) {
                return Ok(());
            }
            return Err(ModuleError::Missing {
                name: name.to_owned(),
                user: users.last().cloned(),
                path: self.root.clone(),
            });
        };
        users.push(name.to_owned());
        for needed in self.needs(name, &path)? {
            self.visit(&needed, users, order)?;
        }
        users.pop();
        order.push(Module { name: name.to_owned(), path });
        Ok(())
    }

    fn needs(&self, name: &str, path: &Path) -> Result<Vec<String>, ModuleError> {
        if let Some(index) = &self.index {
            return Ok(index.get(name).cloned().unwrap_or_default());
        }
        if path.extension().is_none_or(|extension| extension != "ko") && !module_file::is_xz(path) {
            return Err(ModuleError::CompressedWithoutIndex { path: path.to_owned() });
        }
        let file =
            module_file::read(path).map_err(|source| ModuleError::Read { path: path.to_owned(), source })?;
        let not_a_module = |reason| ModuleError::NotAModule { path: path.to_owned(), reason };
        let info = elf::section(&file, ".modinfo").map_err(|error| not_a_module(error.to_string()))?;
        Ok(depends(info.ok_or_else(|| not_a_module("no .modinfo section".into()))?))
    }
}

/// The name of the module in a file: no directory, no extension, underscores.
fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    with_underscores(file.split(".ko").next().unwrap_or_default())
}

fn is_module_file(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    COMPRESSIONS.iter().any(|ending| file.ends_with(&format!(".ko{ending}")))
}

/// What may follow ".ko" in a file's name.
const COMPRESSIONS: [&str; 4] = ["", ".xz", ".gz", ".zst"];

fn with_underscores(name: &str) -> String {
    name.replace('-', "_")
}

/// `PATH: PATH PATH ...`, a line a module.
fn parse_modules_dep(index: &str) -> BTreeMap<String, Vec<String>> {
    let name = |path: &str| module_name(Path::new(path));
    index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needed)| (name(module), needed.split_whitespace().map(name).collect()))
        .collect()
}

fn paths_of_modules_dep(index: &str) -> impl Iterator<Item = &str> {
    index.lines().filter_map(|line| line.split_once(':')).map(|(module, _)| module.trim())
}

/// The `depends=a,b` entry of a `.modinfo` section, whose entries end in NUL.
pub(crate) fn depends(info: &[u8]) -> Vec<String> {
    info.split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .flat_map(|list| list.split(|byte| *byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| with_underscores(&String::from_utf8_lossy(name)))
        .collect()
}

fn read_if_there(path: &Path) -> Result<String, ModuleError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(|source| ModuleError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, ModuleTree) {
        let dir = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        let tree = ModuleTree::open(dir.path()).unwrap();
        (dir, tree)
    }

    fn names(modules: Vec<Module>) -> Vec<String> {
        modules.into_iter().map(|module| module.name).collect()
    }

    const INDEX: &str = "kernel/drivers/hv/hv_vmbus.ko:\n\
        kernel/fb/hyperv_fb.ko.xz: kernel/drivers/hv/hv_vmbus.ko\n\
        kernel/a/top-most.ko: kernel/a/mid.ko kernel/a/low.ko\n\
        kernel/a/mid.ko: kernel/a/low.ko\n\
        kernel/a/low.ko:\n\
        kernel/c/one.ko: kernel/c/two.ko\n\
        kernel/c/two.ko: kernel/c/one.ko\n\
        kernel/d/lost.ko: kernel/d/gone.ko\n";

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let (_dir, tree) = tree(&[("modules.dep", INDEX)]);
        assert_eq!(
            names(tree.closure(&["top_most", "hyperv_fb", "mid"]).unwrap()),
            ["low", "mid", "top_most", "hv_vmbus", "hyperv_fb"]
        );
    }

    #[test]
    fn driver_of_the_users_comes_last_and_takes_the_place_of_its_namesake() {
        let (_dir, tree) = tree(&[("modules.dep", INDEX)]);
        let mut driver = VideoDriver {
            name: "hyperv_fb",
            path: "/home/user/new.ko".into(),
            needs: vec!["hv_vmbus".into(), "mid".into()],
            built_for: None,
            sha256: String::new(),
        };
        let modules = tree.closure_with(&["hv_vmbus"], &driver).unwrap();
        assert_eq!(modules.last().unwrap().path, driver.path);
        assert_eq!(names(modules), ["hv_vmbus", "low", "mid", "hyperv_fb"]);
        driver.needs.push("drm".into());
        let error = tree.closure_with(&[], &driver).unwrap_err().to_string();
        assert!(error.starts_with("module drm (needed by hyperv_fb) is not in "), "{error}");
    }

    #[test]
    fn names_with_hyphens_and_compressed_files_are_found() {
        let (dir, tree) = tree(&[("modules.dep", INDEX)]);
        let modules = tree.closure(&["top-most", "hyperv-fb"]).unwrap();
        assert_eq!(modules.last().unwrap().path, dir.path().join("kernel/fb/hyperv_fb.ko.xz"));
        assert!(tree.has_file("top-most"));
    }

    #[test]
    fn built_in_module_needs_no_file() {
        let files = [("modules.dep", INDEX), ("modules.builtin", "kernel/drivers/video/hyperv_drm.ko\n")];
        let (_dir, tree) = tree(&files);
        assert_eq!(names(tree.closure(&["hyperv_drm"]).unwrap()), [""; 0]);
        assert_eq!(tree.video_driver(), Some("hyperv_drm"));
    }

    #[test]
    fn missing_module_is_named_with_its_user() {
        let (dir, tree) = tree(&[("modules.dep", INDEX)]);
        let path = dir.path().display();
        assert_eq!(
            tree.closure(&["lost"]).unwrap_err().to_string(),
            format!("module gone (needed by lost) is not in {path}, and not built into that kernel")
        );
        assert_eq!(
            tree.closure(&["nothing"]).unwrap_err().to_string(),
            format!("module nothing is not in {path}, and not built into that kernel")
        );
    }

    #[test]
    fn circle_is_an_error_and_not_a_loop() {
        let (_dir, tree) = tree(&[("modules.dep", INDEX)]);
        let error = tree.closure(&["one"]).unwrap_err().to_string();
        assert_eq!(error, "modules need each other in a circle: one -> two -> one");
    }

    #[test]
    fn order_of_modules_spares_the_walk_and_leaves_out_what_is_not_there() {
        let order = "kernel/a/one-a.ko\nkernel/b/two.o\nkernel/b/gone.ko\n";
        let files = [
            ("modules.order", order),
            ("kernel/a/one-a.ko.xz", ""),
            ("kernel/b/two.ko", ""),
            ("walked.ko", ""),
        ];
        let (dir, tree) = tree(&files);
        assert_eq!(tree.file("one_a"), Some(dir.path().join("kernel/a/one-a.ko.xz")));
        assert_eq!(tree.file("two"), Some(dir.path().join("kernel/b/two.ko")));
        for absent in ["gone", "walked", "kernel"] {
            assert!(!tree.has_file(absent), "{absent}");
        }
        let error = tree.closure(&["gone"]).unwrap_err();
        assert!(matches!(error, ModuleError::Missing { .. }), "{error}");
    }

    #[test]
    fn old_build_tree_lists_what_it_will_install() {
        let files = [("modules.order", "kernel/drivers/hv/hv_vmbus.ko\n"), ("drivers/hv/hv_vmbus.ko", "")];
        let (dir, tree) = tree(&files);
        assert_eq!(tree.file("hv_vmbus"), Some(dir.path().join("drivers/hv/hv_vmbus.ko")));
    }

    #[test]
    fn kernel_with_everything_built_in_is_a_tree_without_files() {
        let (_dir, tree) = tree(&[("modules.builtin", "kernel/drivers/hv/hv_vmbus.ko\n")]);
        assert!(tree.is_built_in("hv_vmbus") && !tree.has_file("hv_vmbus"));
        assert_eq!(tree.video_driver(), None);
    }

    #[test]
    fn depends_entry_is_read_from_modinfo() {
        assert_eq!(depends(b"license=GPL\0depends=kvm,irq-bypass\0name=x\0"), ["kvm", "irq_bypass"]);
        assert_eq!(depends(b"depends=\0"), [""; 0]);
    }

    #[test]
    fn file_that_is_no_module_is_named() {
        let (_dir, tree) = tree(&[("drivers/x.ko", "text")]);
        let error = tree.closure(&["x"]).unwrap_err().to_string();
        assert!(error.ends_with("x.ko is not a kernel module: not an x86-64 ELF file"), "{error}");
    }

    #[test]
    fn compressed_module_without_index_says_what_to_run() {
        let (_dir, tree) = tree(&[("drivers/x.ko.zst", "text")]);
        let error = tree.closure(&["x"]).unwrap_err().to_string();
        assert!(error.contains("depmod"), "{error}");
    }

    #[test]
    fn directory_without_modules_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = ModuleTree::open(dir.path()).unwrap_err();
        assert!(matches!(error, ModuleError::NoModules { .. }), "{error}");
        let error = ModuleTree::open(&dir.path().join("none")).unwrap_err();
        assert!(matches!(error, ModuleError::Read { .. }), "{error}");
    }
}
