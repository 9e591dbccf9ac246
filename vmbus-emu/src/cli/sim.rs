//! Arguments of `sim`, checked.

use device_model::options::SynthvidOptions;

use super::{low, video_device};
use crate::exit::ExitError;
use crate::output::ResultFiles;

/// What the simulated guest does, and where the results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimArgs {
    /// Script by name; the default one if absent. Whether it exists is for the simulated guest to say.
    pub(crate) script: Option<String>,
    /// The video device.
    pub(crate) video: SynthvidOptions,
    /// Where pictures and the report go.
    pub(crate) results: ResultFiles,
}

impl TryFrom<low::Sim> for SimArgs {
    type Error = ExitError;

    fn try_from(sim: low::Sim) -> Result<Self, ExitError> {
        let video = video_device(&sim.device)?;
        let results = ResultFiles::claim(sim.results.report, sim.results.out)?;
        Ok(Self { script: sim.script, video, results })
    }
}
