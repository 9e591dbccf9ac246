//! Counters of what a SynIC saw.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a SynIC: events since construction, relaxed, never reset.
        ///
        /// One value a machine, shared by `Arc`; there are no globals.
        #[derive(Debug, Default)]
        pub struct SynicStats {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// [`SynicStats`] at one moment; fields are read one after another, not as one atomic whole.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct SynicStatsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl SynicStats {
            /// Reads every counter.
            pub fn snapshot(&self) -> SynicStatsSnapshot {
                SynicStatsSnapshot { $($name: self.$name.value(),)* }
            }
        }

        impl SynicStatsSnapshot {
            /// Name and value of every counter, in the order of the fields.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Hypercalls that reached user space.
    hypercall_user,
    /// HvCallPostMessage among them.
    post_user,
    /// HvCallSignalEvent among them; zero when ioeventfds or the kernel take them.
    signal_user,
    /// Hypercalls answered with a status other than success.
    hypercall_refused,
    /// Messages accepted for delivery to the guest.
    messages_queued,
    /// Messages written to a slot.
    messages_delivered,
    /// Messages dropped from a queue by reset.
    messages_dropped,
    /// Times a message found its slot occupied.
    slot_busy,
    /// Guest writes of EOM.
    eom,
    /// Event flags that went from clear to set.
    flags_set,
    /// Event flags that were already set.
    flags_coalesced,
    /// Interrupts raised and accepted.
    interrupts,
    /// Interrupts that the target's APIC or the host refused; raised again later.
    interrupts_refused,
    /// Synthetic MSR reads.
    msr_reads,
    /// Synthetic MSR writes.
    msr_writes,
    /// Synthetic MSR accesses answered with #GP.
    msr_faults,
    /// SINT writes refused because they asked for AutoEOI.
    auto_eoi_refused,
    /// Times a SIMP or SIEFP page was not guest RAM when it was needed.
    page_faults,
}

/// One counter of [`SynicStats`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_lists_every_counter_once() {
        let stats = SynicStats::default();
        stats.eom.increment();
        stats.slot_busy.add(3);
        let snapshot = stats.snapshot();
        assert_eq!((snapshot.eom, snapshot.slot_busy), (1, 3));
        let nonzero: Vec<_> = snapshot.entries().filter(|&(_, value)| value != 0).collect();
        assert_eq!(nonzero, [("slot_busy", 3), ("eom", 1)]);
    }
}
