//! One workload's window: everything is counted from a quiet screen to a quiet screen.

use std::time::Instant;

use device_model::Clock as _;
use meter::measurement::{SharedTraffic, WorkloadResult};

use super::costs::{Spent, thread_cpu};
use super::oracle_result;
use crate::session::scenario::{Stage, Stop};

/// A window that has begun.
pub(super) struct Window {
    begun: Instant,
    spent: Spent,
}

impl Stage<'_, '_> {
    /// Begins to count.
    pub(super) fn begin_window(&mut self, traffic: &SharedTraffic) -> Result<Window, Stop> {
        let (traffic, oracle, clock) = (traffic.clone(), self.vm.oracle().cloned(), self.clock);
        // On the event thread, so that no event is half on either side.
        let event_cpu = self.vm.events().with_bus(move |bus| {
            bus.process_doorbells();
            let now_ns = clock.now_ns();
            traffic.with(|traffic| traffic.begin(now_ns));
            if let Some(oracle) = oracle {
                oracle.with(|oracle| oracle.begin(now_ns));
            }
            thread_cpu()
        })?;
        Ok(Window { begun: Instant::now(), spent: Spent::so_far(self.vm.machine(), event_cpu) })
    }

    /// Ends the window that began last: what was counted in it. Names, durations and the guest's own answer are the
    /// caller's.
    pub(super) fn end_window(
        &mut self,
        window: Window,
        traffic: &SharedTraffic,
    ) -> Result<WorkloadResult, Stop> {
        let (oracle, clock) = (self.vm.oracle().cloned(), self.clock);
        let (event_cpu, found) = self.vm.events().with_bus(move |bus| {
            bus.process_doorbells();
            let now_ns = clock.now_ns();
            let cpu = thread_cpu();
            (cpu, oracle.map(|oracle| oracle.with(|oracle| oracle.finish(now_ns))))
        })?;
        let spent = Spent::so_far(self.vm.machine(), event_cpu);
        let mut result = traffic.with(|traffic| traffic.result());
        result.window_ms = window.begun.elapsed().as_secs_f64() * 1e3;
        result.costs = window.spent.until(spent, &result);
        if let Some(found) = found {
            oracle_result::add(&mut result, found);
        }
        Ok(result)
    }
}
