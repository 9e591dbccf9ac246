//! Where downloaded and unpacked things are kept between runs.

use std::{env, path::PathBuf};

/// The variable that names the cache directory.
pub const VARIABLE: &str = "VMBUS_EMU_CACHE";

/// The cache directory: `$VMBUS_EMU_CACHE`, else `$XDG_CACHE_HOME/vmbus-emu`, else `~/.cache/vmbus-emu`, else a directory
/// under the system's temporary one. Not created by this.
#[must_use]
pub fn directory() -> PathBuf {
    choose(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn choose(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    variable(VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("vmbus-emu")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/vmbus-emu")))
        .unwrap_or_else(|| env::temp_dir().join("vmbus-emu-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variable_wins_then_xdg_then_home() {
        let all = [(VARIABLE, "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/u")];
        let with = |set: &[(&str, &str)]| {
            choose(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value)))
        };
        assert_eq!(with(&all), PathBuf::from("/own"));
        assert_eq!(with(&all[1..]), PathBuf::from("/xdg/vmbus-emu"));
        assert_eq!(with(&all[2..]), PathBuf::from("/home/u/.cache/vmbus-emu"));
        assert!(with(&[]).ends_with("vmbus-emu-cache"));
    }
}
