//! Guest to host: messages posted by HvCallPostMessage, on their way to the event thread.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hv_abi::hypercall::Status;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::Payload;

/// Connection id of control messages below VMBus 5.0.
const CONTROL_CONNECTION: u32 = 1;
/// Connection id of INITIATE_CONTACT from VMBus 5.0 on.
const CONTACT_CONNECTION: u32 = 4;

/// One message that the guest posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedMessage {
    /// Connection id that the guest named.
    pub connection_id: u32,
    /// The VMBus message.
    pub payload: Payload,
}

/// A bounded queue of [`PostedMessage`]s with an eventfd that becomes readable when one arrives.
///
/// vCPU threads [`push`](Self::push); the event thread polls [`fd`](Self::fd), reads it, and
/// [`pop`](Self::pop)s until `None`. Messages for connection ids 1 and 4 are taken, and for the one that
/// [`accept`](Self::accept) named, which is the `msg_conn_id` of a VERSION_RESPONSE
/// (`drivers/hv/connection.c:vmbus_negotiate_version`).
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    fd: EventFd,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<PostedMessage>,
    returned_connection: Option<u32>,
}

impl Inbox {
    /// Messages that wait before the guest is told to try later, unless the embedder says otherwise.
    pub const DEFAULT_CAPACITY: usize = 128;

    /// An empty inbox for `capacity` messages. *Errors*: the eventfd could not be made.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let fd = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Self { state: Mutex::default(), fd, capacity })
    }

    /// Takes messages for `connection_id` too; it replaces the id of an earlier call.
    pub fn accept(&self, connection_id: u32) {
        self.lock().returned_connection = Some(connection_id);
    }

    /// Queues `message` and makes the eventfd readable.
    ///
    /// *Guest-visible effect*: the status is the hypercall's result. [`Status::InsufficientBuffers`] makes
    /// Linux try again, [`Status::InvalidConnectionId`] makes INITIATE_CONTACT fall to the next version.
    pub fn push(&self, message: PostedMessage) -> Status {
        let mut state = self.lock();
        let id = message.connection_id;
        if id != CONTROL_CONNECTION && id != CONTACT_CONNECTION && state.returned_connection != Some(id) {
            return Status::InvalidConnectionId;
        }
        if state.messages.len() >= self.capacity {
            return Status::InsufficientBuffers;
        }
        state.messages.push_back(message);
        // Fails only when the counter is at its maximum, and then the eventfd is readable already.
        let _ = self.fd.write(1);
        Status::Success
    }

    /// The oldest message. Its answer changes after `push` and `clear` only.
    pub fn pop(&self) -> Option<PostedMessage> {
        self.lock().messages.pop_front()
    }

    /// Forgets all messages and the accepted connection id (reset of the machine).
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Readable (non-blocking) after a `push` that nobody read yet.
    pub fn fd(&self) -> &EventFd {
        &self.fd
    }

    /// Messages that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.lock().messages.len()
    }

    /// No message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(connection_id: u32, byte: u8) -> PostedMessage {
        PostedMessage { connection_id, payload: Payload::try_from(&[byte][..]).expect("one byte") }
    }

    #[test]
    fn messages_come_out_in_order_and_ring_the_eventfd() {
        let inbox = Inbox::new(4).expect("eventfd");
        assert!(inbox.fd().read().is_err());
        assert_eq!(inbox.push(message(1, 10)), Status::Success);
        assert_eq!(inbox.push(message(4, 11)), Status::Success);
        assert_eq!(inbox.fd().read().expect("readable"), 2);
        assert_eq!(inbox.pop(), Some(message(1, 10)));
        assert_eq!(inbox.pop(), Some(message(4, 11)));
        assert_eq!(inbox.pop(), None);
    }

    #[test]
    fn full_inbox_asks_the_guest_to_retry() {
        let inbox = Inbox::new(1).expect("eventfd");
        assert_eq!(inbox.push(message(1, 0)), Status::Success);
        assert_eq!(inbox.push(message(1, 1)), Status::InsufficientBuffers);
        assert_eq!(inbox.len(), 1);
    }

    #[test]
    fn only_the_returned_connection_is_taken_beside_one_and_four() {
        let inbox = Inbox::new(4).expect("eventfd");
        assert_eq!(inbox.push(message(0x70, 0)), Status::InvalidConnectionId);
        inbox.accept(0x70);
        assert_eq!(inbox.push(message(0x70, 0)), Status::Success);
        inbox.accept(0x71);
        assert_eq!(inbox.push(message(0x70, 0)), Status::InvalidConnectionId);
        inbox.clear();
        assert!(inbox.is_empty());
        assert_eq!(inbox.push(message(0x71, 0)), Status::InvalidConnectionId);
    }
}
