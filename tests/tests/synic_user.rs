//! The SynIC back ends on this host's KVM, under a bare-metal guest: exits, doorbells, slots, vectors.
//!
//! The guest does single instructions on command, see `tests::bare_metal`; nothing here says how a Linux
//! guest behaves.

use anyhow::{Context, Result, ensure};
use hv_abi::hypercall::Status;
use hv_abi::{cpuid, msr};
use hv_kvm::{ExitOutcome, SynicMode};
use synic::conformance::{self, Outcome};
use tests::bare_metal::BareMetal;
use tests::bare_metal::memory::CpuArea;
use tests::bare_metal::program::Opcode;
use tests::bare_metal::suite::UnderTest;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const CONNECTION: u32 = 0x2_0001;
const SINT: u8 = hv_abi::sint::VMBUS;

fn conformance_on(mode: SynicMode) -> Result<()> {
    let Some(guest) = BareMetal::new(mode, 2)? else { return Ok(()) };
    let mut under_test = UnderTest::new(guest);
    let outcomes = conformance::run(&mut under_test);
    let mut failures = Vec::new();
    for (name, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => println!("ok      {name}"),
            Outcome::Skipped(reason) => println!("skipped {name}: {reason}"),
            Outcome::Failed(violation) => failures.push(format!("{name}: {violation}")),
        }
    }
    ensure!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), outcomes.len(), failures.join("\n"));
    ensure!(outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Passed), "no case ran");
    Ok(())
}

/// A guest of one CPU on the user-space SynIC, enabled.
fn user_guest() -> Result<Option<BareMetal>> {
    let mut guest = BareMetal::new(SynicMode::User, 1)?;
    if let Some(guest) = &mut guest {
        guest.enable_synic()?;
    }
    Ok(guest)
}

#[test]
fn user_synic_passes_the_conformance_suite() -> Result<()> {
    conformance_on(SynicMode::User)
}

#[test]
fn kernel_synic_passes_the_conformance_suite() -> Result<()> {
    conformance_on(SynicMode::Kernel)
}

/// The whole point of the doorbell port: a signal costs no exit to user space.
fn signals_stay_in_the_kernel(mode: SynicMode) -> Result<()> {
    let Some(mut guest) = BareMetal::new(mode, 1)? else { return Ok(()) };
    guest.enable_synic()?;
    let doorbell = EventFd::new(EFD_NONBLOCK)?;
    guest.synic().doorbells().register(CONNECTION, &doorbell)?;
    let before = guest.synic().stats().snapshot();
    for _ in 0..10 {
        assert_eq!(guest.signal(0, CONNECTION)?, 0);
    }
    assert_eq!(doorbell.read()?, 10);
    let after = guest.synic().stats().snapshot();
    assert_eq!((after.signal_user, after.hypercall_user), (before.signal_user, before.hypercall_user));
    guest.synic().doorbells().unregister(CONNECTION, &doorbell)?;
    Ok(())
}

#[test]
fn user_synic_signals_ring_without_an_exit() -> Result<()> {
    signals_stay_in_the_kernel(SynicMode::User)
}

#[test]
fn kernel_synic_signals_ring_without_an_exit() -> Result<()> {
    signals_stay_in_the_kernel(SynicMode::Kernel)
}

#[test]
fn signal_with_flag_number_leaves_the_fast_way_and_is_refused() -> Result<()> {
    let Some(mut guest) = user_guest()? else { return Ok(()) };
    let doorbell = EventFd::new(EFD_NONBLOCK)?;
    guest.synic().doorbells().register(CONNECTION, &doorbell)?;
    let with_flag = 1 << 32 | u64::from(CONNECTION);
    let status = guest.hypercall(0, hv_kvm::hypercall_page::FAST_SIGNAL, with_flag, 0)?;
    assert_eq!(status, u64::from(Status::InvalidParameter as u16));
    assert!(doorbell.read().is_err(), "the doorbell rang");
    Ok(())
}

#[test]
fn slow_signal_exits_and_rings_the_same_doorbell() -> Result<()> {
    let Some(mut guest) = user_guest()? else { return Ok(()) };
    let doorbell = EventFd::new(EFD_NONBLOCK)?;
    guest.synic().doorbells().register(CONNECTION, &doorbell)?;
    let input = CpuArea::of(0).hypercall_input();
    guest.memory().write_obj(u64::from(CONNECTION), GuestAddress(input))?;
    let slow = u64::from(hv_abi::hypercall::SIGNAL_EVENT);
    assert_eq!(guest.hypercall(0, slow, input, 0)?, 0);
    assert_eq!(doorbell.read()?, 1);
    assert_eq!(guest.synic().stats().snapshot().signal_user, 1);
    Ok(())
}

#[test]
fn unknown_synthetic_msr_faults_and_the_guest_goes_on() -> Result<()> {
    let Some(mut guest) = user_guest()? else { return Ok(()) };
    assert_eq!(guest.read_msr(0, msr::TIME_REF_COUNT)?, None);
    assert!(!guest.write_msr(0, msr::VP_INDEX, 7)?, "VP_INDEX is read-only");
    assert_eq!(guest.read_msr(0, msr::VP_INDEX)?, Some(0));
    Ok(())
}

#[test]
fn guest_sees_hyperv_and_no_kvm_in_cpuid() -> Result<()> {
    let Some(mut guest) = BareMetal::new(SynicMode::User, 2)? else { return Ok(()) };
    for vp in 0..2 {
        let [max, ebx, ecx, edx] = guest.command(vp, Opcode::Cpuid, &[0x4000_0000])?;
        assert_eq!(max, u64::from(cpuid::MIN_MAX_LEAF));
        assert_eq!([ebx, ecx, edx], cpuid::VENDOR_SIGNATURE.map(u64::from));
        let [_, kvm, ..] = guest.command(vp, Opcode::Cpuid, &[0x4000_0100])?;
        assert_ne!(kvm, 0x4b4d_564b, "KVM's signature");
        let [_, ids, features, _] = guest.command(vp, Opcode::Cpuid, &[1])?;
        assert_eq!((ids >> 24, features >> 31 & 1), (u64::from(vp), 1));
    }
    Ok(())
}

/// KVM keeps no "message" bit in CRASH_CTL, so only the user-space SynIC delivers the text.
fn crash_and_reset_reach_the_machine(mode: SynicMode) -> Result<()> {
    let Some(mut guest) = BareMetal::new(mode, 1)? else { return Ok(()) };
    guest.enable_synic()?;
    let text = b"<0>[    1.5] Kernel panic - not syncing\n";
    let page = CpuArea::of(0).scratch();
    guest.memory().write_slice(text, GuestAddress(page))?;
    let parameters = [0xe, 0x8100, 0xffff_ffff_8100_0000, page, text.len() as u64];
    for (index, value) in (msr::CRASH_P0..).zip(parameters) {
        assert!(guest.write_msr(0, index, value)?);
    }
    assert!(guest.write_msr(0, msr::CRASH_CTL, msr::CRASH_NOTIFY | msr::CRASH_MESSAGE)?);
    assert!(guest.write_msr(0, msr::RESET, 1)?);
    let events = guest.take_events();
    let [ExitOutcome::Crash(report), ExitOutcome::Reset] = events.as_slice() else {
        panic!("expected a crash and a reset, got {events:?}");
    };
    assert_eq!(report.parameters, parameters);
    let expected = (mode == SynicMode::User).then_some(&text[..]);
    assert_eq!(report.message.as_deref(), expected);
    Ok(())
}

#[test]
fn user_synic_reports_crash_and_reset() -> Result<()> {
    crash_and_reset_reach_the_machine(SynicMode::User)
}

#[test]
fn kernel_synic_reports_crash_and_reset() -> Result<()> {
    crash_and_reset_reach_the_machine(SynicMode::Kernel)
}

/// INITIATE_CONTACT may name any SINT; Linux always says 2.
fn other_sint_works_too(mode: SynicMode) -> Result<()> {
    const OTHER: u8 = 5;
    let Some(mut guest) = BareMetal::new(mode, 1)? else { return Ok(()) };
    guest.enable_synic()?;
    let vector = u64::from(hv_abi::sint::LINUX_VECTOR);
    assert!(guest.write_msr(0, msr::SINT0 + u32::from(OTHER), vector)?);
    let before = guest.interrupts(0)?;
    guest.synic().signal().post_message(0, OTHER, b"elsewhere")?;
    assert_eq!(guest.interrupts(0)?, before + 1);
    let slot = CpuArea::of(0).message_page() + u64::from(OTHER) * hv_abi::message::SLOT_SIZE;
    let mut payload = [0; 9];
    guest.memory().read_slice(&mut payload, GuestAddress(slot + hv_abi::message::slot::PAYLOAD))?;
    assert_eq!(&payload, b"elsewhere");
    assert_eq!(guest.take_message(0)?, None, "SINT 2 has nothing to do with it");
    Ok(())
}

#[test]
fn user_synic_serves_other_sints() -> Result<()> {
    other_sint_works_too(SynicMode::User)
}

#[test]
fn kernel_synic_serves_other_sints() -> Result<()> {
    other_sint_works_too(SynicMode::Kernel)
}

/// After a reset the guest starts over: nothing is enabled, nothing is queued, and all of it works again.
fn reset_starts_over(mode: SynicMode) -> Result<()> {
    let Some(mut guest) = BareMetal::new(mode, 2)? else { return Ok(()) };
    guest.enable_synic()?;
    let signal = guest.synic().signal();
    signal.post_message(1, SINT, b"in the slot")?;
    signal.post_message(1, SINT, b"queued")?;
    assert_eq!(guest.post(0, 4, b"initiate contact")?, 0);
    guest.reset()?;
    assert_eq!(guest.read_msr(0, msr::GUEST_OS_ID)?, Some(0));
    let simp = guest.read_msr(1, msr::SIMP)?.context("SIMP faults")?;
    assert_eq!(simp & msr::ENABLE, 0);
    assert!(guest.synic().inbox().is_empty());
    assert!(!signal.retry(), "a message of the life before still waits");
    guest.enable_synic()?;
    assert_eq!(guest.take_message(1)?, None);
    let before = guest.interrupts(1)?;
    signal.post_message(1, SINT, b"again")?;
    assert_eq!(guest.interrupts(1)?, before + 1);
    assert_eq!(guest.take_message(1)?, Some((b"again".to_vec(), false)));
    Ok(())
}

#[test]
fn user_synic_starts_over_after_reset() -> Result<()> {
    reset_starts_over(SynicMode::User)
}

#[test]
fn kernel_synic_starts_over_after_reset() -> Result<()> {
    reset_starts_over(SynicMode::Kernel)
}
