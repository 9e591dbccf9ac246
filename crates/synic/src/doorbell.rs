//! Guest to host: HvCallSignalEvent rings the eventfd of a connection.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use hv_abi::hypercall::Status;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

/// Connection ids have 24 bits (TLFS 11.6; `KVM_HYPERV_EVENTFD` refuses more).
pub const MAX_CONNECTION_ID: u32 = 0xff_ffff;
/// Doorbells one guest can have: a channel needs one, and relids end at 2047.
const MAX_DOORBELLS: usize = 2048;

/// Where a bus leaves the eventfd that a guest's HvCallSignalEvent shall write.
///
/// The eventfd stays the caller's; implementations keep a duplicate or hand it to the kernel.
pub trait Doorbells: Send + Sync {
    /// Connects `connection_id` to `fd`: from now on every signal writes 1 to it.
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError>;

    /// Disconnects `connection_id`; `fd` is the one it was registered with. No write follows the return.
    fn unregister(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError>;
}

impl<T: Doorbells + ?Sized> Doorbells for Arc<T> {
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        (**self).register(connection_id, fd)
    }

    fn unregister(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        (**self).unregister(connection_id, fd)
    }
}

/// Why a doorbell was not connected or disconnected.
#[derive(Debug, Error)]
pub enum DoorbellError {
    /// The connection id has more than 24 bits.
    #[error("connection id {connection_id:#x} is above the limit {MAX_CONNECTION_ID:#x}")]
    IdTooLarge {
        /// Id asked for.
        connection_id: u32,
    },
    /// Another eventfd has this id.
    #[error("connection id {connection_id:#x} already has a doorbell")]
    Taken {
        /// Id asked for.
        connection_id: u32,
    },
    /// Nothing has this id.
    #[error("connection id {connection_id:#x} has no doorbell")]
    NotRegistered {
        /// Id asked for.
        connection_id: u32,
    },
    /// Too many doorbells.
    #[error("no doorbell for connection id {connection_id:#x}, the limit of {MAX_DOORBELLS} is reached")]
    TableFull {
        /// Id asked for.
        connection_id: u32,
    },
    /// The host refused.
    #[error("cannot change the doorbell of connection id {connection_id:#x}")]
    Host {
        /// Id asked for.
        connection_id: u32,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Doorbells in a table of this process: what rings when a signal exits to user space.
#[derive(Debug, Default)]
pub struct DoorbellTable {
    doorbells: RwLock<BTreeMap<u32, EventFd>>,
}

impl DoorbellTable {
    /// Writes the eventfd of `connection_id`; [`Status::InvalidConnectionId`] when there is none.
    pub fn ring(&self, connection_id: u32) -> Status {
        let doorbells = self.doorbells.read().unwrap_or_else(PoisonError::into_inner);
        let Some(doorbell) = doorbells.get(&connection_id) else { return Status::InvalidConnectionId };
        // The one failure of a write of 1 is a counter at its maximum, and then the doorbell has rung.
        let _ = doorbell.write(1);
        Status::Success
    }

    /// Doorbells now registered.
    pub fn len(&self) -> usize {
        self.doorbells.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// No doorbell is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Doorbells for DoorbellTable {
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        if connection_id > MAX_CONNECTION_ID {
            return Err(DoorbellError::IdTooLarge { connection_id });
        }
        let mut doorbells = self.doorbells.write().unwrap_or_else(PoisonError::into_inner);
        if doorbells.contains_key(&connection_id) {
            return Err(DoorbellError::Taken { connection_id });
        }
        if doorbells.len() >= MAX_DOORBELLS {
            return Err(DoorbellError::TableFull { connection_id });
        }
        let fd = fd.try_clone().map_err(|source| DoorbellError::Host { connection_id, source })?;
        doorbells.insert(connection_id, fd);
        Ok(())
    }

    fn unregister(&self, connection_id: u32, _fd: &EventFd) -> Result<(), DoorbellError> {
        let mut doorbells = self.doorbells.write().unwrap_or_else(PoisonError::into_inner);
        doorbells.remove(&connection_id).map(drop).ok_or(DoorbellError::NotRegistered { connection_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    fn eventfd() -> EventFd {
        EventFd::new(EFD_NONBLOCK).expect("eventfd")
    }

    #[test]
    fn ringing_writes_the_registered_eventfd_only() {
        let (table, one, two) = (DoorbellTable::default(), eventfd(), eventfd());
        table.register(0x10001, &one).expect("free id");
        table.register(0x10002, &two).expect("free id");
        assert_eq!(table.ring(0x10002), Status::Success);
        assert_eq!(two.read().expect("rang"), 1);
        assert!(one.read().is_err());
    }

    #[test]
    fn unregistered_doorbell_is_an_invalid_connection() {
        let (table, fd) = (DoorbellTable::default(), eventfd());
        table.register(9, &fd).expect("free id");
        table.unregister(9, &fd).expect("registered");
        assert!(table.is_empty());
        assert_eq!(table.ring(9), Status::InvalidConnectionId);
        assert!(matches!(table.unregister(9, &fd), Err(DoorbellError::NotRegistered { connection_id: 9 })));
    }

    #[test]
    fn second_registration_and_wide_id_are_refused() {
        let (table, fd) = (DoorbellTable::default(), eventfd());
        table.register(MAX_CONNECTION_ID, &fd).expect("free id");
        assert!(matches!(table.register(MAX_CONNECTION_ID, &fd), Err(DoorbellError::Taken { .. })));
        assert!(matches!(table.register(0x100_0000, &fd), Err(DoorbellError::IdTooLarge { .. })));
    }
}
