//! What is held on a guest's behalf while its driver is up.

use device_model::Synthvid;
use meter::report::Check;

use super::super::checks;
use super::super::holdings::Holdings;
use super::super::scenario::{Stage, Stop};

/// Of the process and of the machine.
pub(super) struct Footprint {
    process: Option<Holdings>,
    held: Held,
}

/// What can be counted without asking the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    memory_slots: usize,
    relids: usize,
    gpadls: usize,
    video_devices: usize,
}

impl Footprint {
    pub(super) fn now(stage: &Stage<'_, '_>) -> Result<Self, Stop> {
        Ok(Self { process: Holdings::now(), held: held(stage)? })
    }

    /// Whether no more is held now, after `what`.
    pub(super) fn check(&self, stage: &Stage<'_, '_>, what: &str) -> Result<Check, Stop> {
        let now = held(stage)?;
        let process = Holdings::check(self.process, what);
        let before = self.held;
        let passed = process.passed && now == before;
        let detail = format!(
            "{}; memory slots {} and {}, relids {} and {}, GPADLs {} and {}",
            process.detail,
            before.memory_slots,
            now.memory_slots,
            before.relids,
            now.relids,
            before.gpadls,
            now.gpadls
        );
        Ok(checks::check("no_leak", passed, detail))
    }
}

fn held(stage: &Stage<'_, '_>) -> Result<Held, Stop> {
    let (relids, gpadls, video) =
        stage.vm.events().with_bus(|bus| (bus.relids(), bus.gpadls(), bus.device::<Synthvid>().is_some()))?;
    let memory_slots = stage.vm.machine().slots().count();
    Ok(Held { memory_slots, relids, gpadls, video_devices: usize::from(video) })
}
