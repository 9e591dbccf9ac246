//! A kernel's build tree: the image and the modules that `make` left in it, and what its configuration lacks for a run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::modules::{BUS_DRIVER, ModuleError, ModuleTree, VIDEO_DRIVERS};

/// Where `make bzImage` leaves the image.
const IMAGE: &str = "arch/x86/boot/bzImage";
/// What the tree was built with.
const CONFIGURATION: &str = ".config";

/// What a guest needs built in, beside its drivers: the console that is its log and the agent's, and an initramfs.
const NEEDED_BUILT_IN: [&str; 2] = ["CONFIG_SERIAL_8250_CONSOLE", "CONFIG_BLK_DEV_INITRD"];
/// The options of the bus, and of the video drivers in the order of [`VIDEO_DRIVERS`].
const BUS_OPTION: &str = "CONFIG_HYPERV";
const VIDEO_OPTIONS: [&str; 2] = ["CONFIG_DRM_HYPERV", "CONFIG_FB_HYPERV"];

/// Why a tree cannot be booted as it is.
#[derive(Debug, thiserror::Error)]
pub enum KernelTreeError {
    /// It was not built, or is no kernel tree.
    #[error("there is no {path}; build it with: make -C {tree} bzImage", path = path.display(), tree = tree.display())]
    NoImage {
        /// Where it would be.
        path: PathBuf,
        /// The tree.
        tree: PathBuf,
    },
    /// The configuration cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel was configured without something that a run needs.
    #[error("{path} lacks what a run needs: {}", lacks.join(", "), path = path.display())]
    Configured {
        /// The configuration.
        path: PathBuf,
        /// What it lacks, one option each.
        lacks: Vec<String>,
    },
    /// A driver is to be a module, and there is none.
    #[error("{option}=m, but {module}.ko is not built; build it with: make -C {tree} modules", tree = tree.display())]
    NotBuilt {
        /// The option that asks for it.
        option: &'static str,
        /// The module.
        module: &'static str,
        /// The tree.
        tree: PathBuf,
    },
    /// The modules cannot be read.
    #[error(transparent)]
    Modules(#[from] ModuleError),
}

/// A built kernel tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTree {
    /// Its bzImage.
    pub image: PathBuf,
    /// Where its modules are found, by [`ModuleTree::open`]; none if it needs none.
    pub modules: Option<PathBuf>,
}

/// What a configuration says of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    BuiltIn,
    Module,
    NotSet,
}

impl KernelTree {
    /// Looks what `make` left in `tree`. `own_video` says that the video driver comes from elsewhere.
    ///
    /// # Errors
    /// [`KernelTreeError`], each variant with what to type or to configure.
    pub fn open(tree: &Path, own_video: bool) -> Result<Self, KernelTreeError> {
        let image = tree.join(IMAGE);
        if !image.is_file() {
            return Err(KernelTreeError::NoImage { path: image, tree: tree.to_owned() });
        }
        let modules = match ModuleTree::open(tree) {
            Ok(modules) => Some(modules),
            Err(ModuleError::NoModules { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let needs_modules = match configuration(tree)? {
            Some(configuration) => needs_modules(tree, &configuration, modules.as_ref(), own_video)?,
            // Whoever boots it will see; a driver that is nowhere is told by the module tree.
            None => modules.is_some(),
        };
        Ok(Self { image, modules: needs_modules.then(|| tree.to_owned()) })
    }
}

/// Checks that each driver is set, and there; says whether one of them is a module.
fn needs_modules(
    tree: &Path,
    configuration: &str,
    modules: Option<&ModuleTree>,
    own_video: bool,
) -> Result<bool, KernelTreeError> {
    let is = |option| setting(configuration, option);
    let mut lacks: Vec<String> = NEEDED_BUILT_IN
        .into_iter()
        .filter(|option| is(option) != Setting::BuiltIn)
        .map(|option| format!("{option} is not y"))
        .collect();
    if is(BUS_OPTION) == Setting::NotSet {
        lacks.push(format!("{BUS_OPTION} is not set"));
    }
    let video =
        VIDEO_OPTIONS.into_iter().zip(VIDEO_DRIVERS).find(|(option, _)| is(option) != Setting::NotSet);
    if video.is_none() && !own_video {
        lacks.push(format!("neither {} is set", VIDEO_OPTIONS.join(" nor ")));
    }
    if !lacks.is_empty() {
        return Err(KernelTreeError::Configured { path: tree.join(CONFIGURATION), lacks });
    }
    let mut needs = own_video;
    for (option, module) in [(BUS_OPTION, BUS_DRIVER)].into_iter().chain(video) {
        if is(option) != Setting::Module {
            continue;
        }
        if !modules.is_some_and(|modules| modules.has_file(module)) {
            return Err(KernelTreeError::NotBuilt { option, module, tree: tree.to_owned() });
        }
        needs = true;
    }
    Ok(needs && modules.is_some())
}

/// The configuration; none if the tree is without.
fn configuration(tree: &Path) -> Result<Option<String>, KernelTreeError> {
    let path = tree.join(CONFIGURATION);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KernelTreeError::Read { path, source }),
    }
}

/// `OPTION=y`, `OPTION=m`, or anything else, such as `# OPTION is not set`.
fn setting(configuration: &str, option: &str) -> Setting {
    let value = configuration.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
    match value.map(str::trim_end) {
        Some("y") => Setting::BuiltIn,
        Some("m") => Setting::Module,
        _ => Setting::NotSet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "CONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_BLK_DEV_INITRD=y\n";

    /// A tree with these files beside a bzImage.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, contents) in [(IMAGE, "a kernel")].iter().chain(files) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        dir
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        let dir = tree(files);
        let error = KernelTree::open(dir.path(), false).unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "TREE")
    }

    #[test]
    fn tree_with_modules_in_it_is_their_tree() {
        let config = format!("{CONSOLE}CONFIG_HYPERV=m\nCONFIG_DRM_HYPERV=m\n");
        let order = "drivers/hv/hv_vmbus.o\ndrivers/gpu/drm/hyperv/hyperv_drm.o\n";
        let files = [
            (".config", config.as_str()),
            ("modules.order", order),
            ("drivers/hv/hv_vmbus.ko", "x"),
            ("drivers/gpu/drm/hyperv/hyperv_drm.ko", "x"),
        ];
        let dir = tree(&files);
        let found = KernelTree::open(dir.path(), false).unwrap();
        assert_eq!(found.image, dir.path().join(IMAGE));
        assert_eq!(found.modules.as_deref(), Some(dir.path()));
        // Without its lists the tree is walked.
        fs::remove_file(dir.path().join("modules.order")).unwrap();
        assert_eq!(KernelTree::open(dir.path(), false).unwrap(), found);
        fs::remove_file(dir.path().join(".config")).unwrap();
        assert_eq!(KernelTree::open(dir.path(), false).unwrap(), found);
    }

    #[test]
    fn kernel_with_everything_built_in_needs_no_modules() {
        let config = format!("{CONSOLE}CONFIG_HYPERV=y\nCONFIG_FB_HYPERV=y\n");
        let built_in = "kernel/drivers/hv/hv_vmbus.ko\nkernel/drivers/video/fbdev/hyperv_fb.ko\n";
        for files in
            [vec![(".config", config.as_str())], vec![(".config", &config), ("modules.builtin", built_in)]]
        {
            let dir = tree(&files);
            assert_eq!(KernelTree::open(dir.path(), false).unwrap().modules, None);
        }
    }

    #[test]
    fn tree_without_image_says_how_to_build_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = KernelTree::open(dir.path(), false).unwrap_err().to_string();
        let shown = dir.path().display();
        assert_eq!(error, format!("there is no {shown}/{IMAGE}; build it with: make -C {shown} bzImage"));
    }

    #[test]
    fn options_that_are_not_set_are_named_all_at_once() {
        assert_eq!(
            refusal(&[(".config", "# CONFIG_HYPERV is not set\nCONFIG_SERIAL_8250_CONSOLE=y\n")]),
            "TREE/.config lacks what a run needs: CONFIG_BLK_DEV_INITRD is not y, CONFIG_HYPERV is not set, \
             neither CONFIG_DRM_HYPERV nor CONFIG_FB_HYPERV is set"
        );
        let config =
            format!("{CONSOLE}CONFIG_HYPERV=m\nCONFIG_HYPERV_UTILS=m\n# CONFIG_FB_HYPERV is not set\n");
        assert_eq!(
            refusal(&[(".config", config.as_str())]),
            "TREE/.config lacks what a run needs: neither CONFIG_DRM_HYPERV nor CONFIG_FB_HYPERV is set"
        );
    }

    #[test]
    fn module_that_is_configured_and_not_built_says_what_to_run() {
        let config = format!("{CONSOLE}CONFIG_HYPERV=m\nCONFIG_FB_HYPERV=m\n");
        let files = [(".config", config.as_str()), ("drivers/hv/hv_vmbus.ko", "x")];
        assert_eq!(
            refusal(&files),
            "CONFIG_FB_HYPERV=m, but hyperv_fb.ko is not built; build it with: make -C TREE modules"
        );
        assert!(refusal(&files[..1]).starts_with("CONFIG_HYPERV=m, but hv_vmbus.ko is not built"));
    }

    #[test]
    fn driver_from_elsewhere_needs_the_bus_alone() {
        let config = format!("{CONSOLE}CONFIG_HYPERV=m\n");
        let dir = tree(&[(".config", config.as_str()), ("drivers/hv/hv_vmbus.ko", "x")]);
        assert_eq!(KernelTree::open(dir.path(), true).unwrap().modules.as_deref(), Some(dir.path()));
        assert!(KernelTree::open(dir.path(), false).is_err());
    }
}
