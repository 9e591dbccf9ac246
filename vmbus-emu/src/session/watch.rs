//! Who is told of what happens on the bus: the meter of the run, and what a measurement adds to it.

use meter::SharedMeter;
use meter::measurement::SharedTraffic;
use oracle::{OracleSettings, SharedOracle};
use vmbus::ChannelId;

/// The bus's observers.
pub(crate) type Observers = (SharedMeter, (Option<SharedTraffic>, Option<SharedOracle>));

/// What a run has its devices watched by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Counts over the whole run.
    pub(crate) meter: SharedMeter,
    /// Counts over one workload.
    pub(crate) traffic: Option<SharedTraffic>,
    /// Pixels are compared, and judged like this.
    pub(crate) oracle: Option<OracleSettings>,
}

impl Watch {
    /// The meter alone.
    pub(crate) fn with_meter(meter: SharedMeter) -> Self {
        Self { meter, ..Self::default() }
    }

    /// As the bus takes them; `oracle` is the one that follows the machine's memory.
    pub(super) fn observers(&self, oracle: Option<&SharedOracle>) -> Observers {
        (self.meter.clone(), (self.traffic.clone(), oracle.cloned()))
    }

    /// Names the video channel to all who count by channel.
    pub(super) fn video_channel(&self, channel: ChannelId) {
        self.meter.with(|meter| meter.watch_video_channel(channel));
        if let Some(traffic) = &self.traffic {
            traffic.with(|traffic| traffic.watch_video_channel(channel));
        }
    }
}
