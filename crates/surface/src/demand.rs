//! Who wants to see the guest's screen now.
//!
//! The device asks the guest for DIRT while at least one consumer wants it, and tells it to stop when none does:
//! both Linux drivers then stop to send. Consumers live on their own threads and come and go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The consumers of one screen, and which of them want dirt. Clones share it.
#[derive(Clone)]
pub struct Demand {
    shared: Arc<Shared>,
}

struct Shared {
    consumers: Mutex<Table>,
    on_change: Box<dyn Fn(bool) + Send + Sync>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    consumers: BTreeMap<u64, Entry>,
}

struct Entry {
    name: String,
    wants: bool,
}

impl Table {
    fn wanted(&self) -> bool {
        self.consumers.values().any(|entry| entry.wants)
    }
}

impl Demand {
    /// No consumers yet; whoever is interested asks [`Self::wanted`].
    #[must_use]
    pub fn new() -> Self {
        Self::notifying(|_| {})
    }

    /// No consumers yet; `on_change` is told whenever the answer of [`Self::wanted`] changes.
    ///
    /// It runs on the consumer's thread, inside of the lock, so that changes arrive in order: it should do no more
    /// than store the value and wake the device's thread, and must not touch this `Demand`.
    #[must_use]
    pub fn notifying(on_change: impl Fn(bool) + Send + Sync + 'static) -> Self {
        let shared = Shared { consumers: Mutex::default(), on_change: Box::new(on_change) };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a consumer, which wants dirt from now on if `wants` is set, until it is dropped.
    #[must_use]
    pub fn consumer(&self, name: impl Into<String>, wants: bool) -> Consumer {
        let name = name.into();
        let id = self.change(|table| {
            let id = table.next_id;
            table.next_id += 1;
            table.consumers.insert(id, Entry { name, wants });
            id
        });
        Consumer { demand: self.clone(), id }
    }

    /// Somebody wants dirt.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.table().wanted()
    }

    /// The names of those who want dirt, in the order in which they came.
    #[must_use]
    pub fn wanted_by(&self) -> Vec<String> {
        let table = self.table();
        table.consumers.values().filter(|entry| entry.wants).map(|entry| entry.name.clone()).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole at every point at which a consumer could panic.
        self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table();
        let before = table.wanted();
        let result = change(&mut table);
        let after = table.wanted();
        if before != after {
            (self.shared.on_change)(after);
        }
        result
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand").field("wanted_by", &self.wanted_by()).finish_non_exhaustive()
    }
}

/// One consumer; dropping it withdraws its demand.
#[derive(Debug)]
pub struct Consumer {
    demand: Demand,
    id: u64,
}

impl Consumer {
    /// Wants dirt from now on, or no longer.
    pub fn set_wanted(&self, wants: bool) {
        self.demand.change(|table| {
            if let Some(entry) = table.consumers.get_mut(&self.id) {
                entry.wants = wants;
            }
        });
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.demand.change(|table| table.consumers.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> (Demand, Arc<Mutex<Vec<bool>>>) {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&changes);
        (Demand::notifying(move |wanted| sink.lock().unwrap().push(wanted)), changes)
    }

    #[test]
    fn nobody_wants_dirt_at_first() {
        assert!(!Demand::new().wanted());
    }

    #[test]
    fn change_is_told_for_the_first_and_the_last_consumer_only() {
        let (demand, changes) = recording();
        let png = demand.consumer("png", true);
        let vnc = demand.consumer("vnc", true);
        assert_eq!(demand.wanted_by(), ["png", "vnc"]);
        drop(png);
        assert!(demand.wanted());
        vnc.set_wanted(false);
        assert!(!demand.wanted());
        vnc.set_wanted(true);
        drop(vnc);
        assert_eq!(*changes.lock().unwrap(), [true, false, true, false]);
    }

    #[test]
    fn consumer_that_does_not_look_counts_for_nothing() {
        let (demand, changes) = recording();
        let _idle = demand.consumer("vnc", false);
        assert!(!demand.wanted());
        assert!(demand.wanted_by().is_empty());
        assert!(changes.lock().unwrap().is_empty());
    }

    #[test]
    fn clones_share_their_consumers() {
        let demand = Demand::new();
        let other = demand.clone();
        let consumer = std::thread::spawn(move || other.consumer("web", true)).join().unwrap();
        assert_eq!(demand.wanted_by(), ["web"]);
        drop(consumer);
        assert!(!demand.wanted());
    }
}
