//! The two hypercalls that VMBus needs: decoding, and where they end (TLFS 11.11.1 and 11.11.3).

use std::sync::Arc;

use hv_abi::hypercall::{Control, POST_MESSAGE, SIGNAL_EVENT, SignalEventInput, Status, post_message};
use hv_abi::message::TYPE_CHANNEL;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::page::PAGE_SIZE;
use crate::{DoorbellTable, Inbox, MAX_CONNECTION_ID, Payload, PostedMessage, SynicStats};

/// A hypercall that made sense.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one exit on a vCPU thread, which shall not allocate"
)]
pub enum Call {
    /// HvCallPostMessage.
    PostMessage(PostedMessage),
    /// HvCallSignalEvent.
    SignalEvent {
        /// Connection to signal, at most 24 bits.
        connection_id: u32,
    },
}

/// Decodes a hypercall from its control word (RCX) and parameters (RDX, and R8, which no call here reads).
///
/// The input block is copied out of guest memory once. *Errors*: the status to give back;
/// [`Status::InvalidHypercallCode`] for every call but the two.
pub fn decode<M: GuestMemory + ?Sized>(memory: &M, control: u64, rdx: u64) -> Result<Call, Status> {
    let control = Control::from(control);
    if control.code != POST_MESSAGE && control.code != SIGNAL_EVENT {
        return Err(Status::InvalidHypercallCode);
    }
    let repeated = control.rep_count != 0 || control.rep_start != 0;
    if control.reserved || repeated || control.var_header_qwords != 0 {
        return Err(Status::InvalidHypercallInput);
    }
    match (control.code, control.fast) {
        (POST_MESSAGE, false) => decode_post_message(&read_input(memory, rdx)?),
        // 256 bytes do not fit the registers.
        (POST_MESSAGE, true) => Err(Status::InvalidHypercallInput),
        (_, true) => decode_signal_event(rdx),
        (_, false) => decode_signal_event(u64::from_le_bytes(read_input(memory, rdx)?)),
    }
}

/// The result word (RAX) that carries `status`.
pub fn result(status: Status) -> u64 {
    u64::from(status as u16)
}

/// Where hypercalls end on the host: messages in the inbox, signals at doorbells, both counted.
#[derive(Debug)]
pub struct Connections {
    inbox: Arc<Inbox>,
    doorbells: Arc<DoorbellTable>,
    stats: Arc<SynicStats>,
}

impl Connections {
    /// Ends hypercalls at `inbox` and at a new, empty doorbell table.
    pub fn new(inbox: Arc<Inbox>, stats: Arc<SynicStats>) -> Self {
        Self { inbox, doorbells: Arc::default(), stats }
    }

    /// Serves one hypercall and returns the result word for RAX. Never blocks on the event thread.
    pub fn serve<M: GuestMemory + ?Sized>(&self, memory: &M, control: u64, rdx: u64) -> u64 {
        self.stats.hypercall_user.increment();
        let status = match decode(memory, control, rdx) {
            Ok(Call::PostMessage(message)) => {
                self.stats.post_user.increment();
                self.inbox.push(message)
            }
            Ok(Call::SignalEvent { connection_id }) => {
                self.stats.signal_user.increment();
                self.doorbells.ring(connection_id)
            }
            Err(status) => status,
        };
        if status != Status::Success {
            self.stats.hypercall_refused.increment();
        }
        result(status)
    }

    /// The inbox of posted messages.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The doorbells that ring from user space.
    pub fn doorbells(&self) -> &Arc<DoorbellTable> {
        &self.doorbells
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<SynicStats> {
        &self.stats
    }
}

/// Copies the input block at `gpa`, which must be eight-byte aligned and inside one page.
fn read_input<const N: usize, M: GuestMemory + ?Sized>(memory: &M, gpa: u64) -> Result<[u8; N], Status> {
    if !gpa.is_multiple_of(8) || gpa % PAGE_SIZE + N as u64 > PAGE_SIZE {
        return Err(Status::InvalidAlignment);
    }
    let mut block = [0; N];
    memory.read_slice(&mut block, GuestAddress(gpa)).map_err(|_| Status::InvalidParameter)?;
    Ok(block)
}

fn decode_post_message(block: &[u8; post_message::SIZE]) -> Result<Call, Status> {
    let word = |at: usize| {
        let bytes = block.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let connection_id = word(post_message::CONNECTION_ID);
    if connection_id > MAX_CONNECTION_ID {
        return Err(Status::InvalidConnectionId);
    }
    if word(post_message::MESSAGE_TYPE) != TYPE_CHANNEL {
        return Err(Status::InvalidParameter);
    }
    let size = usize::try_from(word(post_message::PAYLOAD_SIZE)).map_err(|_| Status::InvalidParameter)?;
    let payload = block
        .get(post_message::PAYLOAD..)
        .and_then(|area| area.get(..size))
        .and_then(|bytes| Payload::try_from(bytes).ok())
        .ok_or(Status::InvalidParameter)?;
    Ok(Call::PostMessage(PostedMessage { connection_id, payload }))
}

fn decode_signal_event(word: u64) -> Result<Call, Status> {
    let SignalEventInput { connection_id, flag_number, reserved } = SignalEventInput::from(word);
    if connection_id > MAX_CONNECTION_ID {
        return Err(Status::InvalidConnectionId);
    }
    if flag_number != 0 || reserved != 0 {
        return Err(Status::InvalidParameter);
    }
    Ok(Call::SignalEvent { connection_id })
}

#[cfg(test)]
mod tests;
