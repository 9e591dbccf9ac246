//! Registers, hostile registers, and random ones.

use std::sync::Arc;

use hv_abi::msr::*;
use hv_abi::sint::{RESET_VALUE, VMBUS};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;
use crate::Inbox;
use crate::loopback::{GuestPages, Loopback, LoopbackGuest, RecordingSink};
use crate::page::PageFault;

const RAM_BYTES: usize = 0x10_0000;
const SINT2: u32 = SINT0 + VMBUS as u32;

fn loopback() -> (Loopback, LoopbackGuest) {
    let host = Loopback::new(2, RAM_BYTES).expect("loopback");
    let guest = host.guest(GuestPages::at(0x1_0000));
    guest.enable().expect("pages in ram");
    (host, guest)
}

fn connections() -> Connections {
    Connections::new(Arc::new(Inbox::new(4).expect("eventfd")), Arc::new(SynicStats::default()))
}

fn built(config: UserSynicConfig) -> Result<UserSynic<Arc<GuestMemoryMmap>, RecordingSink>, ConfigError> {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM_BYTES)]).expect("ram");
    UserSynic::new(Arc::new(memory), RecordingSink::new(config.vps), connections(), config)
}

#[test]
fn impossible_configurations_are_refused() {
    let config = |vps, code| UserSynicConfig::new(vps, 1, vec![0xc3; code]);
    assert_eq!(built(config(0, 1)).err(), Some(ConfigError::Vps { vps: 0 }));
    assert_eq!(built(config(256, 1)).err(), Some(ConfigError::Vps { vps: 256 }));
    assert_eq!(built(config(1, 4097)).err(), Some(ConfigError::HypercallCode { len: 4097 }));
    assert!(built(config(255, 4096)).is_ok());
}

#[test]
fn registers_read_as_documented_after_reset() {
    let synic = built(UserSynicConfig::new(2, 2_900_000_000, vec![0xc3])).expect("valid");
    let expected = [
        (GUEST_OS_ID, 0),
        (HYPERCALL, 0),
        (VP_INDEX, 1),
        (RESET, 0),
        (TSC_FREQUENCY, 2_900_000_000),
        (APIC_FREQUENCY, 1_000_000_000),
        (VP_ASSIST_PAGE, 0),
        (SCONTROL, 1),
        (SVERSION, 1),
        (SIEFP, 0),
        (SIMP, 0),
        (EOM, 0),
        (SINT0, RESET_VALUE),
        (SINT15, RESET_VALUE),
        (CRASH_P0, 0),
        (CRASH_CTL, 0xc000_0000_0000_0000),
        (TSC_INVARIANT_CONTROL, 0),
    ];
    for (index, value) in expected {
        assert_eq!(synic.read_msr(1, index), Ok(value), "MSR {index:#x}");
    }
}

#[test]
fn unoffered_msrs_fault_and_are_counted() {
    let (host, _guest) = loopback();
    let before = host.synic().stats().snapshot().msr_faults;
    let unoffered =
        [VP_RUNTIME, TIME_REF_COUNT, REFERENCE_TSC, 0x4000_0070, 0x4000_00b0, 0x4000_0106, 0x4000_1080];
    for index in unoffered {
        assert_eq!(host.synic().read_msr(0, index), Err(MsrFault::Unknown { msr: index }));
        assert_eq!(host.synic().write_msr(0, index, 1), Err(MsrFault::Unknown { msr: index }));
    }
    let faults = host.synic().stats().snapshot().msr_faults - before;
    assert_eq!(faults, 2 * unoffered.len() as u64);
}

#[test]
fn read_only_msrs_refuse_writes() {
    let (host, _guest) = loopback();
    for index in [VP_INDEX, TSC_FREQUENCY, APIC_FREQUENCY, SVERSION] {
        let fault = MsrFault::ReadOnly { msr: index, value: 9 };
        assert_eq!(host.synic().write_msr(0, index, 9), Err(fault));
    }
}

#[test]
fn access_by_an_unknown_vp_faults() {
    let (host, _guest) = loopback();
    for index in [SIMP, GUEST_OS_ID, CRASH_CTL] {
        let fault = MsrFault::NoSuchVp { msr: index, vp: 2 };
        assert_eq!(host.synic().read_msr(2, index), Err(fault));
        assert_eq!(host.synic().write_msr(2, index, 0), Err(fault));
    }
}

#[test]
fn hypercall_page_holds_the_code_and_int3_behind_it() {
    let code = vec![0xf3, 0x0f, 0x1e, 0xfa, 0xe7, 0x7c, 0xc3];
    let synic = built(UserSynicConfig::new(1, 1, code.clone())).expect("valid");
    assert_eq!(synic.write_msr(0, HYPERCALL, 0x3001), Ok(WriteOutcome::Done));
    assert_eq!(synic.read_msr(0, HYPERCALL), Ok(0), "no page before the OS id");
    synic.write_msr(0, GUEST_OS_ID, 0x8100 << 48).expect("writable");
    synic.write_msr(0, HYPERCALL, 0x3001).expect("in ram");
    assert_eq!(synic.read_msr(0, HYPERCALL), Ok(0x3001));
    let mut page = [0; 4096];
    synic.memory.read_slice(&mut page, GuestAddress(0x3000)).expect("in ram");
    assert_eq!(page[..7], code);
    assert!(page[7..].iter().all(|&byte| byte == 0xcc));
}

#[test]
fn locked_hypercall_page_stays_until_reset() {
    let (host, guest) = loopback();
    guest.write_msr(0, HYPERCALL, 0x3003).expect("in ram");
    guest.write_msr(0, HYPERCALL, 0).expect("ignored");
    assert_eq!(guest.read_msr(0, HYPERCALL), Ok(0x3003));
    host.synic().reset();
    assert_eq!(guest.read_msr(0, HYPERCALL), Ok(0));
}

#[test]
fn os_id_zero_disables_the_hypercall_page_and_drops_messages() {
    let (host, guest) = loopback();
    host.synic().post_message(0, VMBUS, b"in the slot").expect("room");
    host.synic().post_message(0, VMBUS, b"queued").expect("room");
    guest.write_msr(0, GUEST_OS_ID, 0).expect("writable");
    assert_eq!(guest.read_msr(0, HYPERCALL).map(|value| value & ENABLE), Ok(0));
    assert_eq!(guest.post(1, b"x"), Ok(6));
    assert!(!host.synic().retry());
    assert_eq!(host.synic().stats().snapshot().messages_dropped, 1);
}

#[test]
fn one_processors_exits_wait_for_no_other_and_for_no_register_of_the_partition() {
    let (host, guest) = loopback();
    let synic = host.synic();
    let doorbell = EventFd::new(EFD_NONBLOCK).expect("eventfd");
    synic.register(0x10001, &doorbell).expect("free id");
    let signal = u64::from(hv_abi::hypercall::SIGNAL_EVENT) | 1 << 16;
    // As if processor 0 were in the middle of its own exit, and of a write of HYPERCALL.
    let held = (synic.vp(0), lock(&synic.hypercall_page.registers));
    let (done, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let guest = &guest;
        scope.spawn(move || {
            let exits = (
                guest.write_msr(1, EOM, 0),
                guest.read_msr(1, SIMP).is_ok(),
                synic.post_message(1, VMBUS, b"message"),
                synic.signal_event(1, VMBUS, 3),
                synic.hypercall(signal, 0x10001, 0),
            );
            done.send(exits)
        });
        let exits = told.recv_timeout(std::time::Duration::from_secs(20));
        drop(held);
        let (eom, simp, posted, signalled, rang) = exits.expect("processor 1 waited for processor 0");
        assert!(eom.is_ok() && simp && posted.is_ok() && signalled.is_ok());
        assert_eq!((rang, doorbell.read().ok()), (0, Some(1)));
    });
}

#[test]
fn reset_restores_registers_and_empties_both_directions() {
    let (host, guest) = loopback();
    guest.post(1, b"unread").expect("in ram");
    guest.write_msr(0, CRASH_P0, 5).expect("writable");
    guest.write_msr(0, TSC_INVARIANT_CONTROL, 1).expect("writable");
    host.synic().post_message(1, VMBUS, b"one").expect("room");
    host.synic().post_message(1, VMBUS, b"two").expect("room");
    host.synic().reset();
    for (index, value) in [(GUEST_OS_ID, 0), (SIMP, 0), (SIEFP, 0), (SINT2, RESET_VALUE), (CRASH_P0, 0)] {
        assert_eq!(guest.read_msr(1, index), Ok(value), "MSR {index:#x}");
    }
    assert_eq!(guest.read_msr(0, TSC_INVARIANT_CONTROL), Ok(0));
    assert!(host.inbox().is_empty());
    assert!(!host.synic().retry());
}

#[test]
fn auto_eoi_faults_only_when_unmasked() {
    let (host, guest) = loopback();
    let auto_eoi = 1 << 17 | 0xf3;
    assert_eq!(guest.write_msr(0, SINT2, auto_eoi), Err(MsrFault::AutoEoi { sint: 2, value: auto_eoi }));
    assert_eq!(guest.read_msr(0, SINT2), Ok(0xf3), "unchanged");
    assert_eq!(guest.write_msr(0, SINT2, auto_eoi | RESET_VALUE), Ok(WriteOutcome::Done));
    assert_eq!(host.synic().stats().snapshot().auto_eoi_refused, 1);
}

#[test]
fn unmasked_sint_needs_a_vector_above_the_exceptions() {
    let (_host, guest) = loopback();
    assert_eq!(guest.write_msr(0, SINT2, 15), Err(MsrFault::Vector { sint: 2, vector: 15 }));
    assert_eq!(guest.write_msr(0, SINT2, 16), Ok(WriteOutcome::Done));
}

#[test]
fn polling_sint_gets_its_message_without_interrupt() {
    let (host, guest) = loopback();
    guest.write_msr(0, SINT2, 1 << 18 | 0xf3).expect("valid");
    host.synic().post_message(0, VMBUS, b"polled").expect("room");
    assert_eq!(host.interrupts().count(0), 0);
    assert!(guest.take_message(0, Sint::VMBUS).expect("in ram").is_some());
}

#[test]
fn event_on_a_masked_sint_interrupts_when_unmasked() {
    let (host, guest) = loopback();
    guest.write_msr(0, SINT2, RESET_VALUE).expect("valid");
    host.synic().signal_event(0, VMBUS, 5).expect("page enabled");
    assert_eq!(host.interrupts().count(0), 0);
    guest.write_msr(0, SINT2, 0xf3).expect("valid");
    assert_eq!(host.interrupts().count(0), 1);
    assert_eq!(guest.take_flags(0, Sint::VMBUS), Ok(vec![5]));
}

#[test]
fn refused_interrupt_is_raised_again_by_retry() {
    let (host, _guest) = loopback();
    host.interrupts().refuse(true);
    host.synic().signal_event(1, VMBUS, 5).expect("page enabled");
    assert!(host.synic().retry());
    host.interrupts().refuse(false);
    assert!(!host.synic().retry());
    assert_eq!(host.interrupts().count(1), 1);
    let seen = host.synic().stats().snapshot();
    assert_eq!((seen.interrupts, seen.interrupts_refused), (1, 2));
}

#[test]
fn crash_without_text_reports_the_parameters() {
    let (_host, guest) = loopback();
    for (parameter, index) in (CRASH_P0..=CRASH_P4).enumerate() {
        guest.write_msr(0, index, parameter as u64 + 10).expect("writable");
    }
    assert_eq!(guest.write_msr(1, CRASH_CTL, 0), Ok(WriteOutcome::Done));
    let report = CrashReport { vp: 1, parameters: [10, 11, 12, 13, 14], message: None };
    assert_eq!(guest.write_msr(1, CRASH_CTL, CRASH_NOTIFY), Ok(WriteOutcome::Crash(Box::new(report))));
}

#[test]
fn crash_text_is_read_up_to_a_page_and_only_from_ram() {
    let (host, guest) = loopback();
    host.memory().write_slice(b"Kernel panic", GuestAddress(0x5000)).expect("in ram");
    let text = |gpa: u64, len: u64| {
        guest.write_msr(0, CRASH_P4 - 1, gpa).expect("writable");
        guest.write_msr(0, CRASH_P4, len).expect("writable");
        match guest.write_msr(0, CRASH_CTL, CRASH_NOTIFY | CRASH_MESSAGE) {
            Ok(WriteOutcome::Crash(report)) => report.message,
            other => panic!("expected a crash, got {other:?}"),
        }
    };
    assert_eq!(text(0x5000, 12).as_deref(), Some(&b"Kernel panic"[..]));
    assert_eq!(text(0x5000, u64::MAX).map(|bytes| bytes.len()), Some(4096));
    assert_eq!(text(RAM_BYTES as u64, 12), None);
    assert_eq!(text(u64::MAX, 12), None);
}

#[test]
fn reset_register_asks_for_a_reset_by_bit_zero() {
    let (_host, guest) = loopback();
    assert_eq!(guest.write_msr(0, RESET, 1), Ok(WriteOutcome::Reset));
    assert_eq!(guest.write_msr(0, RESET, 2), Ok(WriteOutcome::Done));
}

#[test]
fn invariant_tsc_takes_its_one_bit() {
    let (_host, guest) = loopback();
    assert_eq!(guest.write_msr(0, TSC_INVARIANT_CONTROL, 1), Ok(WriteOutcome::Done));
    let fault = MsrFault::Reserved { msr: TSC_INVARIANT_CONTROL, value: 2, valid: 1 };
    assert_eq!(guest.write_msr(0, TSC_INVARIANT_CONTROL, 2), Err(fault));
    assert_eq!(guest.read_msr(0, TSC_INVARIANT_CONTROL), Ok(1));
}

#[test]
fn pages_outside_ram_fault_and_leave_the_register() {
    let (_host, guest) = loopback();
    for index in [SIMP, SIEFP, HYPERCALL] {
        let before = guest.read_msr(0, index);
        for gpa in [RAM_BYTES as u64, 0xfee0_0000, PAGE_MASK] {
            let fault = MsrFault::Page { msr: index, fault: PageFault { gpa } };
            assert_eq!(guest.write_msr(0, index, gpa | ENABLE), Err(fault));
        }
        assert_eq!(guest.read_msr(0, index), before);
        assert_eq!(guest.write_msr(0, index, PAGE_MASK), Ok(WriteOutcome::Done), "disabled");
    }
}

#[test]
fn message_and_flags_page_may_be_the_same_and_hurt_the_guest_only() {
    let (host, guest) = loopback();
    let shared = guest.pages().simp_gpa(0);
    guest.write_msr(0, SIEFP, shared | ENABLE).expect("in ram");
    // Flag 0 of SINT 2 is bit 0 of the type word of its message slot.
    host.synic().signal_event(0, VMBUS, 0).expect("page enabled");
    host.synic().post_message(0, VMBUS, b"waits for a slot that looks occupied").expect("room");
    assert!(host.synic().retry());
    guest.free_slot(0, Sint::VMBUS).expect("in ram");
    assert!(!host.synic().retry());
    host.synic().post_message(1, VMBUS, b"other VPs go on").expect("room");
    assert!(guest.take_message(1, Sint::VMBUS).expect("in ram").is_some());
}

#[test]
fn message_page_over_the_hypercall_page_hurts_the_guest_only() {
    let (host, guest) = loopback();
    let shared = guest.pages().simp_gpa(0);
    guest.write_msr(0, HYPERCALL, shared | ENABLE).expect("in ram");
    // The code that was written over the slots looks like messages that nobody frees.
    host.synic().post_message(0, VMBUS, b"waits").expect("room");
    assert!(host.synic().retry());
    assert_eq!(guest.take_message(0, Sint::VMBUS).map(|message| message.is_some()), Ok(true));
    assert_eq!(guest.post(1, b"calls still work"), Ok(0));
}

/// MSR numbers in and around the range, with the SynIC's own more often.
fn any_msr() -> impl Strategy<Value = u32> {
    prop_oneof![
        BASE..BASE + COUNT,
        SCONTROL..=SINT15,
        prop_oneof![
            Just(GUEST_OS_ID),
            Just(HYPERCALL),
            Just(SIMP),
            Just(SIEFP),
            Just(SINT2),
            Just(CRASH_CTL)
        ],
        any::<u32>(),
    ]
}

/// Values: page registers in and out of RAM, small numbers, anything.
fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..0x110_u64).prop_map(|page| page << 12 | ENABLE),
        0..0x4_0000_u64,
        any::<u64>(),
        any::<u64>().prop_map(|value| value & PAGE_MASK | ENABLE),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Write { vp: u32, msr: u32, value: u64 },
    Read { vp: u32, msr: u32 },
    Hypercall { control: u64, rdx: u64 },
    Post { vp: u32, sint: u8, len: usize },
    Signal { vp: u32, sint: u8, flag: u16 },
    Retry,
    ResetMessages,
    Reset,
}

fn any_step() -> impl Strategy<Value = Step> {
    let control = prop_oneof![Just(0x5c_u64), Just(0x5d), Just(0x1_005d), any::<u64>()];
    let post = (0..3_u32, 0..18_u8, 0..250_usize);
    prop_oneof![
        8 => (0..3_u32, any_msr(), any_value()).prop_map(|(vp, msr, value)| Step::Write { vp, msr, value }),
        2 => (0..3_u32, any_msr()).prop_map(|(vp, msr)| Step::Read { vp, msr }),
        3 => (control, any_value()).prop_map(|(control, rdx)| Step::Hypercall { control, rdx }),
        4 => post.prop_map(|(vp, sint, len)| Step::Post { vp, sint, len }),
        4 => (0..3_u32, 0..18_u8, 0..2050_u16).prop_map(|(vp, sint, flag)| Step::Signal { vp, sint, flag }),
        2 => Just(Step::Retry),
        1 => Just(Step::ResetMessages),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5e11_c0de),
        ..ProptestConfig::with_cases(512)
    })]

    /// Whatever a guest writes, the SynIC neither panics nor grows past its bounds, and a reset gives back a
    /// SynIC that works.
    #[test]
    fn random_guest_never_panics_and_reset_recovers(steps in prop::collection::vec(any_step(), 1..200)) {
        let (host, guest) = loopback();
        let synic = host.synic();
        for step in steps {
            match step {
                Step::Write { vp, msr, value } => drop(synic.write_msr(vp, msr, value)),
                Step::Read { vp, msr } => drop(synic.read_msr(vp, msr)),
                Step::Hypercall { control, rdx } => drop(synic.hypercall(control, rdx, 0)),
                Step::Post { vp, sint, len } => drop(synic.post_message(vp, sint, &vec![0x55; len])),
                Step::Signal { vp, sint, flag } => drop(synic.signal_event(vp, sint, flag)),
                Step::Retry => drop(synic.retry()),
                Step::ResetMessages => synic.reset_messages(),
                Step::Reset => synic.reset(),
            }
        }
        prop_assert!(host.inbox().len() <= host.inbox().capacity());
        synic.reset();
        guest.enable().expect("pages in ram");
        prop_assert!(synic.post_message(1, VMBUS, b"works").is_ok());
        let taken = guest.take_message(1, Sint::VMBUS).expect("in ram");
        prop_assert_eq!(taken.map(|message| message.payload.to_vec()), Some(b"works".to_vec()));
    }
}
