//! Whole machines on this host's KVM, with a few instructions in place of a kernel.
//!
//! The guests use integer instructions only, so that they run on a KVM that emulates them.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::boot::test_image::bzimage;
use super::*;

/// Far more than any of these guests needs.
const LIMIT: Duration = Duration::from_secs(20);
/// `mov dx, 0x3f8`.
const TO_COM1: [u8; 4] = [0x66, 0xba, 0xf8, 0x03];
/// `out dx, al`.
const OUT: u8 = 0xee;
/// `mov dx, 0x604; mov ax, 0x3400; out dx, ax`: SLP_TYP 5 with SLP_EN.
const POWER_OFF: [u8; 10] = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef];
/// `mov dx, 0xcf9; mov al, 6; out dx, al`.
const RESET: [u8; 7] = [0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, OUT];
/// `jmp $`.
const SPIN: [u8; 2] = [0xeb, 0xfe];

/// Machines take turns: these hosts have few processors, and a spinning guest takes a whole one.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `test` with the configuration of a machine whose kernel is `code`, or says why it cannot.
fn with_kernel(code: &[u8], test: impl FnOnce(MachineConfig)) {
    if let Err(error) = kvm_ioctls::Kvm::new() {
        let required = std::env::var("VMBUS_EMU_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == "kvm"), "kvm is required, but: {error}");
        println!("skipped, no kvm: {error}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let kernel = directory.path().join("bzImage");
    fs::write(&kernel, bzimage(code)).unwrap();
    test(MachineConfig::new(kernel));
}

fn started(config: &MachineConfig) -> Machine {
    let mut machine = Machine::build(config).unwrap();
    machine.start().unwrap();
    machine
}

#[test]
fn guest_that_prints_and_powers_off_is_heard_and_ends() {
    let print = [&TO_COM1[..], &[0xb0, b'h', OUT, 0xb0, b'i', OUT, 0xb0, b'\n', OUT]].concat();
    with_kernel(&[print, POWER_OFF.to_vec(), SPIN.to_vec()].concat(), |config| {
        let mut machine = started(&config);
        assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::PowerOff));
        machine.stop().unwrap();
        assert_eq!(machine.console().tail(), "hi\n");
        let exits = machine.exits();
        // Power-off leaves the guest; the three letters do so only on a KVM that does not note them down.
        assert!(matches!((exits.io, exits.coalesced), (1, 3) | (4, 0)), "{exits:?}");
        assert_eq!((exits.unclaimed_port, exits.mmio), (0, 0));
        // An older KVM does not count.
        assert!(machine.kvm_exits().is_none_or(|all| all >= exits.io), "{:?}", machine.kvm_exits());
    });
}

#[test]
fn letters_of_a_guest_that_never_looks_at_its_port_come_all_and_in_order() {
    const DONE: GuestAddress = GuestAddress(0x800_0000);
    // `mov ecx, 400`, then `out dx, al; inc al; and al, 0x7f; dec ecx; jnz`: more letters than KVM's ring holds, and some are left in it.
    let print = [0xb9, 0x90, 0x01, 0, 0, 0xb0, 0, OUT, 0xfe, 0xc0, 0x24, 0x7f, 0xff, 0xc9, 0x75, 0xf7];
    // `mov dword [DONE], 1`
    let done = [0xc7, 0x04, 0x25, 0, 0, 0, 0x08, 1, 0, 0, 0];
    with_kernel(&[&TO_COM1[..], &print, &done, &SPIN].concat(), |config| {
        let mut machine = started(&config);
        let deadline = Instant::now() + LIMIT;
        while machine.memory().read_obj::<u32>(DONE).unwrap() != 1 {
            assert!(Instant::now() < deadline, "{:?}", machine.exits());
            std::thread::sleep(Duration::from_millis(1));
        }
        machine.stop().unwrap();
        let expected: String = (0..400_u32).filter_map(|n| char::from_u32(n % 0x80)).collect();
        assert_eq!(machine.console().tail(), expected);
    });
}

#[test]
fn letter_of_a_guest_that_waits_for_the_transmit_interrupt_comes_at_once() {
    // `mov dx, 0x3f9; mov al, 2; out dx, al`, twice off and on again, then a letter and nothing more that would leave the guest.
    let enable = |bits| [0x66, 0xba, 0xf9, 0x03, 0xb0, bits, OUT];
    let code = [&enable(2)[..], &enable(0), &enable(2), &TO_COM1, &[0xb0, b'x', OUT], &SPIN].concat();
    with_kernel(&code, |config| {
        let machine = started(&config);
        let deadline = Instant::now() + LIMIT;
        while machine.console().tail() != "x" {
            assert!(Instant::now() < deadline, "{:?}", machine.exits());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(machine.exits().coalesced, 0);
    });
}

#[test]
fn guest_that_resets_runs_again_when_built_again() {
    with_kernel(&[&RESET[..], &SPIN].concat(), |config| {
        for _ in 0..2 {
            let machine = started(&config);
            assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::Reset(ResetCause::ResetRegister)));
            assert!(!machine.is_running());
        }
    });
}

/// `mov edx, 0xcf8; mov eax, 0x80000000; out dx, eax; in eax, dx; shr eax, 24; mov dx, 0x3f8; out dx, al`: the top of the
/// address register as it reads back.
const PROBE_PCI: [u8; 20] =
    [0xba, 0xf8, 0x0c, 0, 0, 0xb8, 0, 0, 0, 0x80, 0xef, 0xed, 0xc1, 0xe8, 24, 0x66, 0xba, 0xf8, 0x03, OUT];

#[test]
fn generation_2_has_no_pci_and_resets_all_the_same() {
    with_kernel(&[&PROBE_PCI[..], &RESET, &SPIN].concat(), |mut config| {
        for (generation, answer) in [(Generation::ONE, 0x80), (Generation::Two { screen: None }, 0xff)] {
            config.generation = generation;
            let heard = Arc::new(Mutex::new(Vec::new()));
            let listener = Arc::clone(&heard);
            config.console.callback = Some(Arc::new(move |bytes: &[u8]| {
                listener.lock().unwrap().extend_from_slice(bytes);
            }));
            let machine = started(&config);
            assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::Reset(ResetCause::ResetRegister)));
            drop(machine);
            assert_eq!(*heard.lock().unwrap(), [answer], "{generation:?}");
        }
    });
}

#[test]
fn generation_2_guest_finds_the_marks_of_efi_in_its_zero_page() {
    // Prints efi_loader_signature, and the first byte of the system table that the zero page points at.
    let read = [
        &[0x8b, 0xbe, 0xc4, 0x01, 0, 0][..], // mov edi, [rsi + 0x1c4]
        &TO_COM1,
        &[0x8a, 0x86, 0xc0, 0x01, 0, 0, OUT], // mov al, [rsi + 0x1c0]; out dx, al
        &[0x8a, 0x86, 0xc3, 0x01, 0, 0, OUT], // mov al, [rsi + 0x1c3]; out dx, al
        &[0x8a, 0x07, OUT],                   // mov al, [rdi]; out dx, al
        &POWER_OFF,
        &SPIN,
    ];
    with_kernel(&read.concat(), |mut config| {
        config.generation = Generation::Two { screen: None };
        let machine = started(&config);
        assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::PowerOff));
        assert_eq!(machine.console().tail(), "E4I");
    });
}

#[test]
fn spinning_guest_with_waiting_processors_stops_at_once() {
    with_kernel(&SPIN, |mut config| {
        config.vcpus = 4;
        let mut machine = started(&config);
        std::thread::sleep(Duration::from_millis(20));
        let asked = Instant::now();
        machine.stop().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
        assert_eq!(machine.try_event(), None);
        assert!(matches!(machine.start(), Err(MachineError::AlreadyStarted)));
    });
}

#[test]
fn machine_that_never_started_is_dropped_in_peace() {
    with_kernel(&SPIN, |config| drop(Machine::build(&config).unwrap()));
}

#[test]
fn fault_without_handlers_is_a_triple_fault() {
    // `ud2` with an empty IDT.
    with_kernel(&[0x0f, 0x0b], |config| {
        let machine = started(&config);
        assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::TripleFault { vcpu: 0 }));
    });
}

#[test]
fn ports_and_addresses_of_nobody_read_all_ones_and_are_counted() {
    // `in al, 0x55; add al, 0x42` makes 'A' of 0xff; so does reading 0xf0000000.
    let port = [&[0xe4, 0x55, 0x04, 0x42][..], &TO_COM1, &[OUT]].concat();
    let mmio = [0xa1, 0, 0, 0, 0xf0, 0, 0, 0, 0, 0x04, 0x42, OUT];
    with_kernel(&[&port[..], &mmio, &POWER_OFF, &SPIN].concat(), |config| {
        let machine = started(&config);
        assert_eq!(machine.wait_event(LIMIT), Some(MachineEvent::PowerOff));
        assert_eq!(machine.console().tail(), "AA");
        let exits = machine.exits();
        assert_eq!((exits.unclaimed_port, exits.unclaimed_mmio), (1, 1));
    });
}

#[test]
fn line_to_the_guest_comes_back_through_com2() {
    // Polls COM2's line status, reads a byte, sends it back.
    let echo =
        [0x66, 0xba, 0xfd, 0x02, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0x66, 0xba, 0xf8, 0x02, 0xec, OUT, 0xeb, 0xef];
    with_kernel(&echo, |config| {
        let machine = started(&config);
        let line =
            "one hundred bytes need the sixteen-fifty's FIFO of sixty-four to be filled twice ".repeat(2);
        machine.agent().write(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(machine.agent().line(LIMIT), Some(line));
    });
}
