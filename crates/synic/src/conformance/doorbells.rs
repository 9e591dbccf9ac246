//! Guest to host: signals.

use hv_abi::hypercall::Status;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Case, SynicUnderTest, Violation, applies, equal, must, violation};
use crate::DoorbellError;

/// Connection ids in the range that a bus hands out, clear of 1 and 4.
const VIDEO: u32 = 0x2_0001;
const KEYBOARD: u32 = 0x2_0002;

pub(super) const CASES: &[Case] = &[
    Case { name: "signal_rings_its_doorbell_only", skip: applies, run: rings },
    Case { name: "second_doorbell_for_a_connection_is_refused", skip: applies, run: taken },
    Case { name: "signal_after_unregister_is_an_invalid_connection", skip: applies, run: unregistered },
    Case { name: "signal_to_unknown_connection_is_refused", skip: applies, run: unknown },
];

fn eventfd() -> Result<EventFd, Violation> {
    must("eventfd", EventFd::new(EFD_NONBLOCK))
}

/// The guest signals `connection_id`; how often each of the doorbells rang.
fn signal<const N: usize>(
    synic: &mut dyn SynicUnderTest,
    connection_id: u32,
    doorbells: [&EventFd; N],
) -> Result<[u64; N], Violation> {
    let status = synic.guest_signal(connection_id)?;
    equal("status of the signal", status, Status::Success as u16)?;
    synic.settle()?;
    // An eventfd that nobody wrote reads as an error.
    Ok(doorbells.map(|doorbell| doorbell.read().unwrap_or(0)))
}

fn rings(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let (video, keyboard) = (eventfd()?, eventfd()?);
    must("register", synic.doorbells().register(VIDEO, &video))?;
    must("register", synic.doorbells().register(KEYBOARD, &keyboard))?;
    let first = signal(synic, VIDEO, [&video, &keyboard]);
    let second = signal(synic, KEYBOARD, [&video, &keyboard]);
    must("unregister", synic.doorbells().unregister(VIDEO, &video))?;
    must("unregister", synic.doorbells().unregister(KEYBOARD, &keyboard))?;
    equal("rings of both for the first", first?, [1, 0])?;
    equal("rings of both for the second", second?, [0, 1])
}

fn taken(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let (first, second) = (eventfd()?, eventfd()?);
    must("register", synic.doorbells().register(VIDEO, &first))?;
    let refused = synic.doorbells().register(VIDEO, &second);
    let rang = signal(synic, VIDEO, [&first, &second]);
    must("unregister", synic.doorbells().unregister(VIDEO, &first))?;
    equal("rings of both", rang?, [1, 0])?;
    match refused {
        Err(DoorbellError::Taken { connection_id: VIDEO }) => Ok(()),
        other => violation(format!("second registration: got {other:?}, expected that the id is taken")),
    }
}

fn unregistered(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let doorbell = eventfd()?;
    must("register", synic.doorbells().register(VIDEO, &doorbell))?;
    must("unregister", synic.doorbells().unregister(VIDEO, &doorbell))?;
    let status = synic.guest_signal(VIDEO)?;
    synic.settle()?;
    equal("rings", doorbell.read().unwrap_or(0), 0)?;
    equal("status of the signal", status, Status::InvalidConnectionId as u16)?;
    match synic.doorbells().unregister(VIDEO, &doorbell) {
        Err(DoorbellError::NotRegistered { connection_id: VIDEO }) => Ok(()),
        other => violation(format!("second unregister: got {other:?}, expected that there is none")),
    }
}

fn unknown(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let status = synic.guest_signal(0x7f_fff0)?;
    equal("status of the signal", status, Status::InvalidConnectionId as u16)
}
