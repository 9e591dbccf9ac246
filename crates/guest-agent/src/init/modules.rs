//! Loads the modules that the host put into the initramfs, in the order of the host's list.

use std::{ffi::CString, fs, fs::File, io, path::Path};

use guest_agent::protocol::FailedModule;

use crate::CONFIGURATION;

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    pub(crate) loaded: Vec<String>,
    pub(crate) failed: Vec<FailedModule>,
}

/// The kernel unpacks the file itself (MODULE_INIT_COMPRESSED_FILE in Linux's `include/uapi/linux/module.h`).
const COMPRESSED_FILE: i32 = 4;

/// Loads every module in `/etc/vmbus-emu/modules`: a line a module, its path and after a space its parameters. One that fails does
/// not stop the others.
pub(crate) fn load_all() -> Modules {
    let mut modules = Modules::default();
    let list = fs::read_to_string(format!("{CONFIGURATION}/modules")).unwrap_or_default();
    for line in list.lines().filter(|line| !line.is_empty()) {
        let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
        let name = module_name(path);
        match load(path, parameters) {
            Ok(()) => modules.loaded.push(name),
            Err(error) => modules.failed.push(FailedModule { name, error: error.to_string() }),
        }
    }
    modules
}

/// Loads one module of the list again, after it was removed.
pub(crate) fn load_again(module: &str) -> Result<(), String> {
    let list = fs::read_to_string(format!("{CONFIGURATION}/modules")).unwrap_or_default();
    for line in list.lines().filter(|line| !line.is_empty()) {
        let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
        if module_name(path) == module {
            return load(path, parameters).map_err(|error| format!("module {module} did not load: {error}"));
        }
    }
    Err(format!("module {module} is not among those that the host gave"))
}

fn module_name(path: &str) -> String {
    let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn load(path: &str, parameters: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED_FILE };
    match rustix::system::finit_module(&file, &CString::new(parameters)?, flags) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}
