//! Host to guest: event flags.

use hv_abi::msr::{ENABLE, SIEFP};
use hv_abi::sint::VMBUS;

use super::{Case, SynicUnderTest, Violation, applies, equal, interrupts_since, must, violation};
use crate::SignalError;

pub(super) const CASES: &[Case] = &[
    Case { name: "flag_set_twice_raises_one_interrupt", skip: applies, run: set_twice },
    Case { name: "flag_taken_and_set_again_raises_another", skip: applies, run: set_again },
    Case { name: "flags_at_word_and_page_ends_are_told_apart", skip: applies, run: ends },
    Case { name: "flags_page_is_empty_when_enabled_again", skip: applies, run: page_is_zeroed },
    Case { name: "event_without_flags_page_is_refused", skip: applies, run: no_page },
    Case { name: "unknown_flag_is_refused", skip: applies, run: unknown_flag },
];

fn set(synic: &mut dyn SynicUnderTest, flag: u16) -> Result<(), Violation> {
    must("signal_event", synic.signal().signal_event(0, VMBUS, flag))?;
    synic.settle()
}

fn set_twice(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let before = synic.interrupts(0)?;
    set(synic, 7)?;
    set(synic, 7)?;
    equal("interrupts", interrupts_since(synic, 0, before)?, 1)?;
    equal("flags", synic.guest_take_flags(0)?, vec![7])?;
    equal("flags after taking them", synic.guest_take_flags(0)?, vec![])
}

fn set_again(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let before = synic.interrupts(0)?;
    set(synic, 1)?;
    equal("flags", synic.guest_take_flags(0)?, vec![1])?;
    set(synic, 1)?;
    equal("interrupts", interrupts_since(synic, 0, before)?, 2)?;
    equal("flags, second time", synic.guest_take_flags(0)?, vec![1])
}

fn ends(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let flags = [1, 31, 32, 63, 64, 2047];
    let before = synic.interrupts(0)?;
    flags.iter().try_for_each(|&flag| set(synic, flag))?;
    equal("interrupts", interrupts_since(synic, 0, before)?, flags.len() as u64)?;
    equal("flags", synic.guest_take_flags(0)?, flags.to_vec())
}

fn page_is_zeroed(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let siefp = synic.guest_read_msr(0, SIEFP)?;
    set(synic, 9)?;
    synic.guest_write_msr(0, SIEFP, siefp & !ENABLE)?;
    synic.guest_write_msr(0, SIEFP, siefp)?;
    synic.settle()?;
    equal("flags", synic.guest_take_flags(0)?, vec![])
}

fn no_page(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    let siefp = synic.guest_read_msr(0, SIEFP)?;
    synic.guest_write_msr(0, SIEFP, siefp & !ENABLE)?;
    synic.settle()?;
    match synic.signal().signal_event(0, VMBUS, 3) {
        Err(SignalError::NotReady { vp: 0, sint: VMBUS, flag: 3 }) => synic.guest_write_msr(0, SIEFP, siefp),
        other => violation(format!("no flags page: got {other:?}, expected not ready")),
    }
}

fn unknown_flag(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    match synic.signal().signal_event(0, VMBUS, 2048) {
        Err(SignalError::NoSuchFlag { flag: 2048 }) => Ok(()),
        other => violation(format!("flag 2048: got {other:?}, expected no such flag")),
    }
}
