//! The conformance suite over the loopback: a user-space SynIC, and a guest without instructions.

use synic::conformance::{self, Outcome, SynicUnderTest, Violation};
use synic::loopback::{GuestPages, Loopback, LoopbackGuest};
use synic::{Doorbells, GuestSignal, Inbox, Sint};

struct LoopbackUnderTest {
    host: Loopback,
    guest: LoopbackGuest,
    vps: u32,
}

impl LoopbackUnderTest {
    fn new(vps: u32) -> Self {
        let host = Loopback::new(vps, 0x10_0000).expect("loopback");
        let guest = host.guest(GuestPages::at(0x1_0000));
        Self { host, guest, vps }
    }
}

fn faulted(fault: impl std::fmt::Display) -> Violation {
    Violation(fault.to_string())
}

impl SynicUnderTest for LoopbackUnderTest {
    fn vps(&self) -> u32 {
        self.vps
    }

    fn signal(&self) -> &dyn GuestSignal {
        self.host.synic()
    }

    fn doorbells(&self) -> &dyn Doorbells {
        self.host.synic()
    }

    fn inbox(&self) -> &Inbox {
        self.host.inbox()
    }

    fn guest_enable(&mut self) -> Result<(), Violation> {
        self.guest.enable().map_err(faulted)
    }

    fn guest_read_msr(&mut self, vp: u32, msr: u32) -> Result<u64, Violation> {
        self.guest.read_msr(vp, msr).map_err(faulted)
    }

    fn guest_write_msr(&mut self, vp: u32, msr: u32, value: u64) -> Result<(), Violation> {
        self.guest.write_msr(vp, msr, value).map(drop).map_err(faulted)
    }

    fn guest_post(&mut self, connection_id: u32, payload: &[u8]) -> Result<u16, Violation> {
        self.guest.post(connection_id, payload).map_err(faulted)
    }

    fn guest_signal(&mut self, connection_id: u32) -> Result<u16, Violation> {
        Ok(self.guest.signal(connection_id))
    }

    fn guest_hypercall(&mut self, control: u64, rdx: u64, r8: u64) -> Result<u64, Violation> {
        Ok(self.guest.hypercall(control, rdx, r8))
    }

    fn guest_take_message(&mut self, vp: u32) -> Result<Option<(Vec<u8>, bool)>, Violation> {
        let taken = self.guest.take_message(vp, Sint::VMBUS).map_err(faulted)?;
        Ok(taken.map(|message| (message.payload.to_vec(), message.pending)))
    }

    fn guest_free_slot(&mut self, vp: u32) -> Result<(), Violation> {
        self.guest.free_slot(vp, Sint::VMBUS).map_err(faulted)
    }

    fn guest_take_flags(&mut self, vp: u32) -> Result<Vec<u16>, Violation> {
        self.guest.take_flags(vp, Sint::VMBUS).map_err(faulted)
    }

    fn interrupts(&mut self, vp: u32) -> Result<u64, Violation> {
        Ok(self.host.interrupts().count(vp))
    }
}

#[test]
fn loopback_with_two_vps_passes_every_case() {
    for (name, outcome) in conformance::run(&mut LoopbackUnderTest::new(2)) {
        assert_eq!(outcome, Outcome::Passed, "{name}");
    }
}

#[test]
fn loopback_with_one_vp_skips_what_needs_two() {
    let outcomes = conformance::run(&mut LoopbackUnderTest::new(1));
    let skipped: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Passed).collect();
    assert_eq!(skipped, [&("each_vp_has_its_own_slot", Outcome::Skipped("the guest has one VP"))]);
}
