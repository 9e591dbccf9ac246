//! Exits of the virtual processors, as the report says them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Exits of the virtual processors. Null where nobody counted, as with a simulated guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// All exits, those that the kernel handled included.
    pub total: Option<u64>,
    /// Exits to this program.
    pub user: Option<u64>,
    /// Hypercalls among them.
    pub hypercall_user: Option<u64>,
    /// HvCallSignalEvent hypercalls among those.
    pub signal_user: Option<u64>,
    /// Exits to this program by KVM's name of the reason.
    pub by_reason: BTreeMap<String, u64>,
}
