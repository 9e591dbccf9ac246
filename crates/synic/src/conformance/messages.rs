//! Host to guest: messages.

use hv_abi::msr::{ENABLE, SCONTROL, SIMP, SINT0};
use hv_abi::sint::VMBUS;

use super::{Case, SynicUnderTest, Violation, applies, equal, interrupts_since, must, violation};
use crate::SignalError;

const SINT2: u32 = SINT0 + VMBUS as u32;
/// SINT register bit 16.
const MASKED: u64 = 1 << 16;
/// Messages posted before a queue that never fills is called unbounded.
const BOUND: usize = 1 << 16;

pub(super) const CASES: &[Case] = &[
    Case { name: "one_message_arrives_with_one_interrupt", skip: applies, run: one_message },
    Case { name: "empty_and_full_payloads_arrive_whole", skip: applies, run: payload_sizes },
    Case { name: "too_long_payload_is_refused", skip: applies, run: too_long },
    Case { name: "messages_arrive_in_the_order_posted", skip: applies, run: order },
    Case { name: "busy_slot_is_flagged_and_refilled_on_eom", skip: applies, run: busy_slot },
    Case { name: "slot_freed_without_eom_is_refilled_by_retry", skip: applies, run: retry },
    Case { name: "each_vp_has_its_own_slot", skip: needs_two_vps, run: vps_apart },
    Case { name: "masked_sint_holds_messages", skip: needs_mask, run: masked },
    Case { name: "disabled_message_page_holds_messages", skip: applies, run: no_page },
    Case { name: "disabled_synic_holds_messages", skip: applies, run: no_synic },
    Case { name: "message_page_is_empty_when_enabled_again", skip: applies, run: page_is_zeroed },
    Case { name: "reset_drops_the_queue_and_leaves_the_slot", skip: applies, run: reset },
    Case { name: "queue_is_bounded", skip: applies, run: bounded },
    Case { name: "unknown_vp_and_sint_are_refused", skip: applies, run: unknown_target },
];

fn needs_two_vps(synic: &dyn SynicUnderTest) -> Option<&'static str> {
    (synic.vps() < 2).then_some("the guest has one VP")
}

fn needs_mask(synic: &dyn SynicUnderTest) -> Option<&'static str> {
    (!synic.traits().holds_masked).then_some("the host does not learn that a SINT is masked")
}

fn post(synic: &mut dyn SynicUnderTest, vp: u32, payload: &[u8]) -> Result<(), Violation> {
    must("post_message", synic.signal().post_message(vp, VMBUS, payload))?;
    synic.settle()
}

/// The guest takes a message, and then lets the host refill the slot.
fn take(synic: &mut dyn SynicUnderTest, vp: u32) -> Result<Option<(Vec<u8>, bool)>, Violation> {
    let taken = synic.guest_take_message(vp)?;
    synic.settle()?;
    Ok(taken)
}

fn expect(synic: &mut dyn SynicUnderTest, vp: u32, payload: &[u8]) -> Result<(), Violation> {
    let got = take(synic, vp)?.map(|(bytes, _)| bytes);
    equal("message in the slot", got.as_deref(), Some(payload))
}

fn expect_none(synic: &mut dyn SynicUnderTest, vp: u32) -> Result<(), Violation> {
    equal("message in the slot", take(synic, vp)?, None)
}

fn one_message(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let before = synic.interrupts(0)?;
    post(synic, 0, b"version response")?;
    equal("interrupts", interrupts_since(synic, 0, before)?, 1)?;
    equal("taken", take(synic, 0)?, Some((b"version response".to_vec(), false)))?;
    expect_none(synic, 0)?;
    equal("interrupts after taking it", interrupts_since(synic, 0, before)?, 1)
}

fn payload_sizes(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let full: Vec<u8> = (0..240).collect();
    post(synic, 0, &full)?;
    post(synic, 0, &[])?;
    post(synic, 0, &[0x5a])?;
    expect(synic, 0, &full)?;
    expect(synic, 0, &[])?;
    expect(synic, 0, &[0x5a])?;
    expect_none(synic, 0)
}

fn too_long(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    match synic.signal().post_message(0, VMBUS, &[0; 241]) {
        Err(SignalError::Payload(_)) => expect_none(synic, 0),
        other => violation(format!("241 bytes: got {other:?}, expected a refusal of the payload")),
    }
}

fn order(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    (0..20_u8).try_for_each(|n| post(synic, 0, &[n, 0xee]))?;
    (0..20_u8).try_for_each(|n| expect(synic, 0, &[n, 0xee]))?;
    expect_none(synic, 0)
}

fn busy_slot(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    post(synic, 0, b"first")?;
    let before = synic.interrupts(0)?;
    post(synic, 0, b"second")?;
    equal("interrupts for a busy slot", interrupts_since(synic, 0, before)?, 0)?;
    equal("first, flagged pending", take(synic, 0)?, Some((b"first".to_vec(), true)))?;
    equal("interrupts after EOM", interrupts_since(synic, 0, before)?, 1)?;
    equal("second, not flagged", take(synic, 0)?, Some((b"second".to_vec(), false)))?;
    expect_none(synic, 0)
}

fn retry(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    equal("retry with nothing queued", synic.signal().retry(), false)?;
    post(synic, 0, b"never read")?;
    post(synic, 0, b"read")?;
    equal("retry on a busy slot", synic.signal().retry(), true)?;
    synic.guest_free_slot(0)?;
    synic.signal().retry();
    synic.settle()?;
    equal("retry after delivery", synic.signal().retry(), false)?;
    expect(synic, 0, b"read")
}

fn vps_apart(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let before = (synic.interrupts(0)?, synic.interrupts(1)?);
    post(synic, 1, b"for the second")?;
    post(synic, 0, b"for the first")?;
    equal("interrupts on VP 0", interrupts_since(synic, 0, before.0)?, 1)?;
    equal("interrupts on VP 1", interrupts_since(synic, 1, before.1)?, 1)?;
    expect(synic, 0, b"for the first")?;
    expect(synic, 1, b"for the second")
}

/// Posts while `msr` has `held`, and expects the message only once it has its old value back.
fn held_while(synic: &mut dyn SynicUnderTest, msr: u32, held: fn(u64) -> u64) -> Result<(), Violation> {
    let value = synic.guest_read_msr(0, msr)?;
    let before = synic.interrupts(0)?;
    synic.guest_write_msr(0, msr, held(value))?;
    post(synic, 0, b"held")?;
    post(synic, 0, b"held too")?;
    synic.signal().retry();
    equal("interrupts while held", interrupts_since(synic, 0, before)?, 0)?;
    expect_none(synic, 0)?;
    synic.guest_write_msr(0, msr, value)?;
    equal("interrupts after release", interrupts_since(synic, 0, before)?, 1)?;
    expect(synic, 0, b"held")?;
    expect(synic, 0, b"held too")
}

fn masked(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    held_while(synic, SINT2, |sint| sint | MASKED)
}

fn no_page(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    held_while(synic, SIMP, |simp| simp & !ENABLE)
}

fn no_synic(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    held_while(synic, SCONTROL, |scontrol| scontrol & !ENABLE)
}

fn page_is_zeroed(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let simp = synic.guest_read_msr(0, SIMP)?;
    post(synic, 0, b"stale")?;
    synic.guest_write_msr(0, SIMP, simp & !ENABLE)?;
    synic.guest_write_msr(0, SIMP, simp)?;
    synic.settle()?;
    expect_none(synic, 0)?;
    post(synic, 0, b"fresh")?;
    expect(synic, 0, b"fresh")
}

fn reset(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    post(synic, 0, b"in the slot")?;
    post(synic, 0, b"queued")?;
    synic.signal().reset_messages();
    equal("retry after reset", synic.signal().retry(), false)?;
    expect(synic, 0, b"in the slot")?;
    expect_none(synic, 0)?;
    post(synic, 0, b"unload response")?;
    expect(synic, 0, b"unload response")
}

fn bounded(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let refused = (0..BOUND).find_map(|_| synic.signal().post_message(0, VMBUS, &[1]).err());
    synic.signal().reset_messages();
    match refused {
        Some(SignalError::QueueFull { vp: 0, sint: VMBUS, .. }) => expect(synic, 0, &[1]),
        other => violation(format!("{BOUND} posts: got {other:?}, expected a full queue")),
    }
}

fn unknown_target(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let nobody = u32::MAX;
    match synic.signal().post_message(nobody, VMBUS, &[1]) {
        Err(SignalError::NoSuchVp { vp, .. }) if vp == nobody => {}
        other => return violation(format!("VP {nobody}: got {other:?}, expected no such VP")),
    }
    match synic.signal().post_message(0, 16, &[1]) {
        Err(SignalError::NoSuchSint { sint: 16 }) => Ok(()),
        other => violation(format!("SINT 16: got {other:?}, expected no such SINT")),
    }
}
