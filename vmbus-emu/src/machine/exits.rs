//! Counters of exits: of those that reach user space, and KVM's own, which are of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hv_kvm::binary_stats::{EXITS, ExitReasons, StatsError, VcpuCounter};
use hv_kvm::caps::HostCaps;
use kvm_ioctls::{VcpuFd, VmFd};

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
    /// Port writes that KVM noted down without leaving the guest: no exits, and in none of the other numbers.
    coalesced,
    /// Accesses to ports that no device owns; a subset of [`Self::io`].
    unclaimed_port,
    /// Accesses to MMIO that nothing backs; a subset of [`Self::mmio`].
    unclaimed_mmio,
}

/// KVM's exit counters, one a processor; none at all on a KVM without them.
#[derive(Debug, Default)]
pub(super) struct KvmExits(Vec<(VcpuCounter, ExitReasons)>);

impl KvmExits {
    /// Opens the counters of processors that do not run yet. A machine runs without them.
    pub(super) fn open(caps: &HostCaps, vm: &Arc<VmFd>, vcpus: &[VcpuFd]) -> Self {
        let open = |vcpu| Ok((VcpuCounter::open(caps, vm, vcpu, EXITS)?, ExitReasons::open(caps, vm, vcpu)?));
        let counters: Result<_, StatsError> = vcpus.iter().map(open).collect();
        Self(counters.unwrap_or_else(|error| {
            tracing::info!(%error, "exits that the kernel handles are not counted");
            Vec::new()
        }))
    }

    /// Exits of all processors so far; `None` without counters, or when one cannot be read.
    pub(super) fn total(&self) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        self.0.iter().try_fold(0_u64, |sum, (counter, _)| {
            counter.value().inspect_err(tell_unread).ok().map(|exits| sum.saturating_add(exits))
        })
    }

    /// Exits of all processors so far by the name that KVM gives the reason; empty without counters, or when one cannot
    /// be read.
    pub(super) fn by_reason(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (_, reasons) in &self.0 {
            let Ok(values) = reasons.values().inspect_err(tell_unread) else { return BTreeMap::new() };
            for (name, value) in values {
                let sum: &mut u64 = sums.entry(name.to_owned()).or_default();
                *sum = sum.saturating_add(value);
            }
        }
        sums
    }
}

fn tell_unread(error: &StatsError) {
    tracing::warn!(%error, "exits that the kernel handles are not counted");
}
