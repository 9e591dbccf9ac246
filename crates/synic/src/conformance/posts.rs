//! Guest to host: posted messages, and calls that nobody knows.

use hv_abi::hypercall::{POST_MESSAGE, Status};

use super::{Case, SynicUnderTest, Violation, applies, equal};

/// Connection id of control messages below VMBus 5.0.
const CONTROL: u32 = 1;
/// Connection id of INITIATE_CONTACT from 5.0 on.
const CONTACT: u32 = 4;
/// An id that only [`crate::Inbox::accept`] opens.
const RETURNED: u32 = 0x0abc;
/// A call code that TLFS does not define.
const NO_SUCH_CALL: u64 = 0x0fff;

pub(super) const CASES: &[Case] = &[
    Case { name: "posts_reach_the_inbox_in_order", skip: applies, run: order },
    Case { name: "full_inbox_asks_the_guest_to_retry", skip: applies, run: full },
    Case { name: "post_to_unknown_connection_is_refused", skip: applies, run: unknown },
    Case { name: "input_block_must_be_aligned_and_inside_a_page", skip: applies, run: alignment },
    Case { name: "unknown_call_code_is_refused", skip: applies, run: unknown_call },
];

fn post(synic: &mut dyn SynicUnderTest, id: u32, payload: &[u8], expected: Status) -> Result<(), Violation> {
    let status = synic.guest_post(id, payload)?;
    equal("status of the post", status, expected as u16)
}

fn pop(synic: &mut dyn SynicUnderTest) -> Option<(u32, Vec<u8>)> {
    synic.inbox().pop().map(|message| (message.connection_id, message.payload.to_vec()))
}

fn order(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let full: Vec<u8> = (0..240).rev().collect();
    post(synic, CONTACT, b"initiate contact", Status::Success)?;
    post(synic, CONTROL, &full, Status::Success)?;
    equal("writes of the inbox's eventfd", synic.inbox().fd().read().unwrap_or(0), 2)?;
    equal("first", pop(synic), Some((CONTACT, b"initiate contact".to_vec())))?;
    equal("second", pop(synic), Some((CONTROL, full)))?;
    equal("third", pop(synic), None)
}

fn full(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    for _ in 0..synic.inbox().capacity() {
        post(synic, CONTROL, b"fits", Status::Success)?;
    }
    post(synic, CONTROL, b"does not", Status::InsufficientBuffers)?;
    equal("oldest", pop(synic), Some((CONTROL, b"fits".to_vec())))?;
    post(synic, CONTROL, b"fits again", Status::Success)
}

fn unknown(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    post(synic, RETURNED, b"too early", Status::InvalidConnectionId)?;
    synic.inbox().accept(RETURNED);
    post(synic, RETURNED, b"accepted", Status::Success)?;
    equal("only message", pop(synic), Some((RETURNED, b"accepted".to_vec())))?;
    equal("messages left", synic.inbox().len(), 0)
}

fn alignment(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    for gpa in [0x1004, 0x1f08] {
        let result = synic.guest_hypercall(u64::from(POST_MESSAGE), gpa, 0)?;
        equal("result for a bad address", result, Status::InvalidAlignment as u64)?;
    }
    equal("messages", synic.inbox().len(), 0)
}

fn unknown_call(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let result = synic.guest_hypercall(NO_SUCH_CALL, 0, 0)?;
    equal("result", result, Status::InvalidHypercallCode as u64)
}
