//! What moves the lab's clock, and which QEMU that takes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::LabError;
use crate::probe;

/// Counts the descriptions of the QEMU that is built for [`LabClock::Instructions`] (`tests/lab-qemu.toml`, where a test holds the two
/// together), so that one of an earlier description is not taken for it.
pub const BUILT_QEMU_REVISION: u32 = 1;

/// What moves the lab's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabClock {
    /// The host's time. The emulated processor has no speed of its own: what it does between two ticks of a timer depends on the
    /// host, on what else runs there, and on how hard an instruction is to emulate.
    #[default]
    Host,
    /// The emulated processor: an instruction takes a nanosecond, whatever it does; while it sleeps, its time goes with the host's. What a
    /// busy guest does between two ticks does not depend on the host. Takes the QEMU of [`LabClock::built_qemu`].
    Instructions,
}

impl LabClock {
    /// Where the QEMU with a mended SVM is, once `cargo xtask lab-qemu` has built it.
    ///
    /// With a clock by instructions every run of the processor ends where its budget does, and QEMU 7.2 delivers an interrupt
    /// again that it injected within the budget's last instructions: newer guests do not survive that.
    #[must_use]
    pub fn built_qemu(cache: &Path) -> PathBuf {
        cache.join("lab-qemu").join(BUILT_QEMU_REVISION.to_string()).join(probe::QEMU)
    }

    /// The QEMU to start.
    ///
    /// # Errors
    /// [`LabError::NoQemu`] or [`LabError::NoBuiltQemu`].
    pub fn find_qemu(self, cache: &Path) -> Result<PathBuf, LabError> {
        match self {
            Self::Host => probe::find_program(probe::QEMU).ok_or(LabError::NoQemu),
            Self::Instructions => {
                let path = Self::built_qemu(cache);
                if path.is_file() { Ok(path) } else { Err(LabError::NoBuiltQemu { path }) }
            }
        }
    }

    /// How QEMU emulates.
    ///
    /// With `sleep=off` a sleeping processor skips to its next timer: what waits for a file of the host's waits by hundreds of ticks then, and a boot
    /// takes from 2 to 10 s.
    pub(super) const fn accelerator(self) -> &'static [&'static str] {
        match self {
            Self::Host => &["-accel", "tcg,thread=multi"],
            Self::Instructions => &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"],
        }
    }

    /// What the processor has beside, as a part of `-cpu`.
    ///
    /// By instructions one of a guest's processors that waits for another, both on the lab's one, would spin its whole time slice away. With the
    /// pause filter KVM hears of every PAUSE, and lets the other go on. QEMU's SVM does that without announcing it, hence the force.
    pub(super) const fn processor_features(self) -> &'static str {
        match self {
            Self::Host => "",
            Self::Instructions => ",x-force-features=on,pause-filter=on,pfthreshold=on",
        }
    }

    /// The host's time for what takes `time` of the lab's. A busy processor has a billion instructions to do for each of its seconds,
    /// which takes longer than a second.
    #[must_use]
    pub fn on_the_host(self, time: Duration) -> Duration {
        match self {
            Self::Host => time,
            Self::Instructions => time.saturating_mul(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_that_is_not_built_is_named_with_what_builds_it() {
        let cache = tempfile::tempdir().unwrap();
        let told = LabClock::Instructions.find_qemu(cache.path()).unwrap_err().to_string();
        let path = cache.path().join(format!("lab-qemu/{BUILT_QEMU_REVISION}/qemu-system-x86_64"));
        assert!(
            told.contains(&path.display().to_string()) && told.contains("cargo xtask lab-qemu"),
            "{told}"
        );
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(LabClock::Instructions.find_qemu(cache.path()).unwrap(), path);
    }
}
