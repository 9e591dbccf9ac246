//! Counters of the exits that reach user space.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that any thread may bump and any thread may read; no order with other memory.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One set for a whole machine; every exit costs tens of microseconds, an atomic add nothing.
        #[derive(Debug, Default)]
        pub(super) struct ExitCounters { $(pub(super) $name: Counter,)* }

        impl ExitCounters {
            pub(super) fn snapshot(&self) -> ExitSnapshot {
                ExitSnapshot { $($name: self.$name.value(),)* }
            }
        }

        /// Exits of all processors since the machine was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct ExitSnapshot { $($(#[$doc])* pub(crate) $name: u64,)* }
    };
}

counters! {
    /// Every return from KVM_RUN, [`Self::interrupted`] included.
    user,
    /// Port I/O, hypercall-page OUTs of the user-space SynIC included.
    io,
    /// Accesses to addresses without memory.
    mmio,
    /// KVM_EXIT_HYPERV: hypercalls and SynIC register writes of the in-kernel SynIC.
    hyperv,
    /// Filtered or unknown MSRs.
    msr,
    /// Returns because of a signal, to stop.
    interrupted,
    /// Anything else.
    other,
    /// Accesses to ports that no device owns; a subset of [`Self::io`].
    unclaimed_port,
    /// Accesses to MMIO that nothing backs; a subset of [`Self::mmio`].
    unclaimed_mmio,
}
