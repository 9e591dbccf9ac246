//! `--kernel-tree`: what `make` left in a kernel tree, laid out here from Debian's own files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use guest_kit::kernel_tree::KernelTree;
use guest_kit::modules::ModuleTree;
use guest_kit::packages::GuestKernel;
use tempfile::TempDir;
use tests::guest_run::{kernel, place};
use tests::program::vmbus_emu;

const CONFIG: &str =
    "CONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_HYPERV=m\nCONFIG_FB_HYPERV=m\n";

/// The kernel as a build leaves it: its image under arch, each module beside its source, and their list.
fn laid_out(kernel: &GuestKernel, config: &str) -> Result<TempDir> {
    let tree = tempfile::tempdir()?;
    let put = |from: &Path, to: PathBuf| -> Result<()> {
        fs::create_dir_all(to.parent().context("a file of the tree has a directory")?)?;
        fs::copy(from, &to).map(drop).with_context(|| format!("{} to {}", from.display(), to.display()))
    };
    put(&kernel.image, tree.path().join("arch/x86/boot/bzImage"))?;
    let installed = ModuleTree::open(&kernel.modules)?;
    let mut order = String::new();
    for module in installed.closure(&["hv_vmbus", "hyperv_fb"])? {
        let installed = module.path.strip_prefix(&kernel.modules)?;
        let built = installed.strip_prefix("kernel").unwrap_or(installed);
        put(&module.path, tree.path().join(built))?;
        order.push_str(&format!("{}\n", built.with_extension("o").display()));
    }
    fs::write(tree.path().join("modules.order"), order)?;
    fs::write(tree.path().join(".config"), config)?;
    Ok(tree)
}

#[test]
fn drivers_of_a_built_tree_are_found_where_make_left_them() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let kernel = kernel()?;
    let tree = laid_out(&kernel, CONFIG)?;
    let found = KernelTree::open(tree.path(), false)?;
    assert_eq!(fs::read(&found.image)?, fs::read(&kernel.image)?);
    let modules = found.modules.context("the drivers are modules")?;
    let names = ModuleTree::open(&modules)?.closure(&["hv_vmbus", "hyperv_fb"])?;
    let names: Vec<&str> = names.iter().map(|module| module.name.as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"hv_vmbus"), Some(&"hyperv_fb")));
    Ok(())
}

#[test]
fn tree_that_cannot_be_booted_is_a_usage_error_that_names_option_or_command() -> Result<()> {
    if place().is_none() {
        return Ok(());
    }
    let kernel = kernel()?;
    for (config, missing, parts) in [
        (CONFIG, "arch/x86/boot/bzImage", &["there is no", "make -C", "bzImage"][..]),
        (
            &CONFIG.replace("CONFIG_FB_HYPERV=m", "# CONFIG_FB_HYPERV is not set"),
            "",
            &["CONFIG_FB_HYPERV is set"],
        ),
        (&CONFIG.replace("CONFIG_HYPERV=m", "# CONFIG_HYPERV is not set"), "", &["CONFIG_HYPERV is not set"]),
        (CONFIG, "drivers/hv/hv_vmbus.ko", &["CONFIG_HYPERV=m, but hv_vmbus.ko is not built", "modules"]),
    ] {
        let tree = laid_out(&kernel, config)?;
        if !missing.is_empty() {
            fs::remove_file(tree.path().join(missing))?;
        }
        let out = tree.path().join("out");
        let mut run = Command::new(vmbus_emu());
        run.args(["run", "--kernel-tree"]).arg(tree.path()).arg("--out").arg(&out);
        let output = run.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), out.exists()), (Some(2), false), "{said}");
        assert!(said.starts_with("error: --kernel-tree: "), "{said}");
        for part in parts {
            assert!(said.contains(part), "\"{part}\" is not in: {said}");
        }
    }
    Ok(())
}
