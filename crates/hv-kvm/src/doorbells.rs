//! Doorbells that ring inside the kernel, with the table that user space rings for those that do not.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_ioctls::{IoEventAddress, VmFd};
use synic::{DoorbellError, DoorbellTable, Doorbells};
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::EventFd;

use crate::hypercall_page::DOORBELL_PORT;
use crate::{SynicMode, ioctl};

/// Registers every doorbell twice: in the kernel for the fast way, in the table for signals that exit.
///
/// The table is written first and cleared first, so a signal that arrives in between rings once or comes
/// back as "no such connection", as on Hyper-V before the channel is open.
#[derive(Debug)]
pub(crate) struct KvmDoorbells {
    vm: Arc<VmFd>,
    mode: SynicMode,
    table: Arc<DoorbellTable>,
    /// Connection ids that the kernel rings.
    in_kernel: Mutex<BTreeSet<u32>>,
}

impl KvmDoorbells {
    pub(crate) fn new(vm: Arc<VmFd>, mode: SynicMode, table: Arc<DoorbellTable>) -> Self {
        Self { vm, mode, table, in_kernel: Mutex::default() }
    }

    fn assign(&self, connection_id: u32, fd: &EventFd) -> Result<(), errno::Error> {
        match self.mode {
            SynicMode::Kernel => ioctl::hyperv_eventfd(&self.vm, connection_id, fd.as_raw_fd(), true),
            SynicMode::User => self.vm.register_ioevent(fd, &port(), connection_id),
        }
    }

    fn deassign(&self, connection_id: u32, fd: &EventFd) -> Result<(), errno::Error> {
        match self.mode {
            SynicMode::Kernel => ioctl::hyperv_eventfd(&self.vm, connection_id, fd.as_raw_fd(), false),
            SynicMode::User => self.vm.unregister_ioevent(fd, &port(), connection_id),
        }
    }

    fn in_kernel(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.in_kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doorbells for KvmDoorbells {
    fn register(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        self.table.register(connection_id, fd)?;
        match self.assign(connection_id, fd) {
            Ok(()) => {
                self.in_kernel().insert(connection_id);
                Ok(())
            }
            // A port bus holds 1,000 devices. Past that a doorbell costs an exit, but it rings.
            Err(error) if error.errno() == libc::ENOSPC => {
                tracing::debug!(
                    connection_id,
                    "no room for another ioeventfd, the doorbell exits to user space"
                );
                Ok(())
            }
            Err(error) => {
                self.table.unregister(connection_id, fd)?;
                Err(if error.errno() == libc::EEXIST {
                    DoorbellError::Taken { connection_id }
                } else {
                    DoorbellError::Host { connection_id, source: io::Error::from(error) }
                })
            }
        }
    }

    fn unregister(&self, connection_id: u32, fd: &EventFd) -> Result<(), DoorbellError> {
        self.table.unregister(connection_id, fd)?;
        if self.in_kernel().remove(&connection_id) {
            self.deassign(connection_id, fd)
                .map_err(|error| DoorbellError::Host { connection_id, source: io::Error::from(error) })?;
        }
        Ok(())
    }
}

fn port() -> IoEventAddress {
    IoEventAddress::Pio(u64::from(DOORBELL_PORT))
}
