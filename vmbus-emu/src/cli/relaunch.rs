//! A `run` or a `measure` as arguments again, for an instance of this program that starts elsewhere.
//!
//! The KVM lab boots another kernel and runs the same program there. What it is to do is said in the only
//! language that both instances share, the command line: [`RunArgs::to_arguments`] spells out every value, and
//! reading it gives the same [`RunArgs`].

use std::path::Path;

use device_model::options::DeviceSet;

use super::choices::LabClock;
use super::measure::MeasureArgs;
use super::run::{GuestSource, RunArgs, Userland};
use crate::exit::ExitError;
use crate::machine::FirmwareScreen;

impl RunArgs {
    /// The arguments, `run` first, that read back as `self`; paths are absolute.
    ///
    /// # Errors
    /// A path that is not UTF-8, since the text goes through a line protocol on its way.
    pub(crate) fn to_arguments(&self) -> Result<Vec<String>, ExitError> {
        let mut words = vec!["run".to_owned()];
        words.extend(self.machine_arguments()?);
        let mut option = |name: &str, value: String| words.extend([format!("--{name}={value}")]);
        option("scenario", self.scenario.to_string());
        if let Some(repeat) = self.repeat {
            option("repeat", repeat.to_string());
        }
        if let Some(file) = self.results.report_given() {
            option("report", absolute(file)?);
        }
        if let Some(dir) = self.results.directory() {
            option("out", absolute(dir)?);
        }
        let flags = [("--no-reboot", self.no_reboot), ("--pointer", self.pointer)];
        words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned()));
        if let Some(socket) = &self.control {
            words.push(format!("--control={}", absolute(socket)?));
        }
        Ok(words)
    }

    /// The guest and its machine, as every command that boots one takes them.
    fn machine_arguments(&self) -> Result<Vec<String>, ExitError> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([format!("--{name}={value}")]);
        match &self.guest {
            GuestSource::Named(name) => option("guest", name.clone()),
            GuestSource::Files { kernel, userland } => {
                option("kernel", absolute(kernel)?);
                match userland {
                    Userland::Agent { modules: Some(modules) } => option("modules", absolute(modules)?),
                    Userland::Agent { modules: None } => {}
                    Userland::Initrd(initrd) => option("initrd", absolute(initrd)?),
                }
            }
        }
        if let Some(driver) = &self.driver {
            option("driver", absolute(&driver.path)?);
        }
        if !self.cmdline.is_empty() {
            option("cmdline", self.cmdline.clone());
        }
        let devices = DeviceSet { video: self.video.clone(), keyboard: self.keyboard, mouse: self.mouse };
        for text in devices.texts() {
            option("device", text);
        }
        option("vmbus-version", self.vmbus_version.to_string());
        option("generation", self.generation.to_string());
        if let Some(FirmwareScreen { width, height }) = self.firmware_framebuffer {
            option("firmware-framebuffer", format!("{width}x{height}"));
        }
        option("cpus", self.cpus.to_string());
        option("memory", self.memory_bytes.to_string());
        option("synic", self.synic.to_string());
        option("kvm", self.kvm.to_string());
        if self.lab_clock != LabClock::default() {
            option("lab-clock", self.lab_clock.to_string());
        }
        option("timeout", self.timeout.as_secs().to_string());
        if let Some(file) = self.console.file_given() {
            option("console", absolute(file)?);
        } else if self.console.to_stdout() {
            option("console", "-".to_owned());
        }
        Ok(words)
    }
}

impl MeasureArgs {
    /// The arguments, `measure` first, that read back as `self`, as [`RunArgs::to_arguments`].
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub(crate) fn to_arguments(&self) -> Result<Vec<String>, ExitError> {
        let mut words = vec!["measure".to_owned()];
        words.extend(self.run.machine_arguments()?);
        let mut option = |name: &str, value: String| words.extend([format!("--{name}={value}")]);
        option("workload", self.workloads.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        option("scale", self.scale_percent.to_string());
        option("seed", self.seed.to_string());
        if let Some(grace) = self.grace {
            option("grace", grace.as_millis().to_string());
        }
        if let Some(repeat) = self.repeat {
            option("repeat", repeat.to_string());
        }
        if let Some(rounds) = self.oracle_overhead {
            option("oracle-overhead", rounds.to_string());
        }
        if let Some(budget) = &self.budget {
            option("budget", absolute(&budget.path)?);
        }
        if let Some(dir) = self.run.results.directory() {
            option("report", absolute(dir)?);
        }
        let flags = [("--no-oracle", !self.oracle), ("--cost", self.cost)];
        words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned()));
        Ok(words)
    }
}

fn absolute(path: &Path) -> Result<String, ExitError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| ExitError::usage(format!("cannot make {} absolute: {error}", path.display())))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|name| ExitError::usage(format!("the name {} is not UTF-8", Path::new(&name).display())))
}
