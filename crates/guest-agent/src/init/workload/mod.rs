//! The workloads, as the guest does them. What each of them is, `guest_agent::workload` says.

use guest_agent::{
    protocol::WorkloadDone,
    workload::{Workload, scaled},
};

use crate::{framebuffer::Framebuffer, kms, port::Port};

mod choices;
mod commits;
mod cpu;
mod exec;
mod mapped;
mod pace;
mod text;
mod unmapped;

use choices::Choices;
use pace::Pace;

/// What a workload may use.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// For lines that a person should read.
    pub(crate) port: &'a mut Port,
    /// The frame buffer.
    pub(crate) screen: &'a mut Option<Framebuffer>,
    /// The card, while it is held.
    pub(crate) kms: &'a mut Option<kms::Output>,
}

impl Stage<'_> {
    fn screen(&mut self) -> Result<&mut Framebuffer, String> {
        self.screen.as_mut().ok_or_else(|| "there is no frame buffer".to_owned())
    }
}

/// How much, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    seed: u64,
    scale_percent: u32,
}

impl Size {
    /// So many of `full`.
    fn of(self, full: u64) -> Result<u64, String> {
        scaled(full, self.scale_percent).map_err(|error| error.to_string())
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    operations: u64,
    note: Option<String>,
}

impl Outcome {
    /// So many, and nothing to say.
    const fn plain(operations: u64) -> Self {
        Self { operations, note: None }
    }

    /// So many; the note is how far the guest fell behind its pace, if it did.
    fn paced(operations: u64, pace: &Pace) -> Self {
        Self { operations, note: pace.lateness() }
    }
}

/// Does `workload` to its end.
pub(crate) fn run(
    workload: Workload,
    seed: u64,
    scale_percent: u32,
    stage: &mut Stage<'_>,
) -> Result<WorkloadDone, String> {
    let size = Size { seed, scale_percent };
    let before = cpu::busy_ms();
    let outcome = match workload {
        Workload::Idle => text::idle(size, false),
        Workload::Cursor => text::idle(size, true),
        Workload::Flood => text::flood(size),
        Workload::Lines => text::lines(size),
        Workload::Vt => text::switch(size),
        Workload::Fill => mapped::fill(size, stage.screen()?),
        Workload::Box => mapped::moving_box(size, stage.screen()?),
        Workload::Corners => mapped::corners(size, stage.screen()?),
        Workload::Random => mapped::random(size, stage.screen()?),
        Workload::Straddle => mapped::straddle(size, stage.screen()?),
        Workload::LastRow => mapped::last_row(size, stage.screen()?),
        Workload::Video30 => mapped::video(size, stage.screen()?, 150, 30),
        Workload::Video60 => mapped::video(size, stage.screen()?, 300, 60),
        Workload::Fsync => mapped::fsync(size, stage.screen()?),
        Workload::Write => unmapped::write(size, stage.screen()?),
        Workload::Close => unmapped::close(size, stage),
        Workload::Kms => commits::run(size, stage),
        Workload::Exec => exec::run(size, stage.port),
    }?;
    let cpu_ms = before.and_then(|before| cpu::busy_ms()?.checked_sub(before));
    Ok(WorkloadDone { operations: outcome.operations, cpu_ms, note: outcome.note })
}
