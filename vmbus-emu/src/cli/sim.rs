//! Arguments of `sim`, checked.

use device_model::options::{DeviceSet, SynthvidOptions, nearest};
use guest_sim::Script;

use super::{devices, low};
use crate::exit::ExitError;
use crate::output::ResultFiles;

/// What the simulated guest does, and where the results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimArgs {
    /// What the guest does.
    pub(crate) script: Script,
    /// The video device.
    pub(crate) video: SynthvidOptions,
    /// Where pictures and the report go.
    pub(crate) results: ResultFiles,
}

impl TryFrom<low::Sim> for SimArgs {
    type Error = ExitError;

    fn try_from(sim: low::Sim) -> Result<Self, ExitError> {
        let script = sim.script.as_deref().map_or(Ok(Script::Demo), script)?;
        let video = video_alone(devices(&sim.device)?)?;
        let results = ResultFiles::claim(sim.results.report, sim.results.out)?;
        Ok(Self { script, video, results })
    }
}

/// The simulated guest has a video driver and no other.
fn video_alone(devices: DeviceSet) -> Result<SynthvidOptions, ExitError> {
    match devices.texts().get(1) {
        None => Ok(devices.video),
        Some(other) => {
            Err(ExitError::usage(format!("--device: the simulated guest has no driver for {other}"))
                .with_hint("vmbus-emu run boots a guest that has one"))
        }
    }
}

fn script(name: &str) -> Result<Script, ExitError> {
    name.parse().map_err(|error| {
        let error = ExitError::usage(format!("--script: {error}"));
        match nearest(name, Script::ALL.map(|script| script.name())) {
            Some(script) => error.with_hint(format!("did you mean {script}?")),
            None => error,
        }
    })
}
