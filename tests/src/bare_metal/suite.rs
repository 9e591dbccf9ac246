//! The SynIC conformance suite, on the bare-metal guest.

use std::fmt::Display;

use hv_kvm::SynicMode;
use synic::conformance::{SynicUnderTest, Traits, Violation};
use synic::{Doorbells, GuestSignal, Inbox};

use super::BareMetal;

/// A [`BareMetal`] as the suite wants it: the traits of the back end at hand by reference.
pub struct UnderTest {
    guest: BareMetal,
    signal: std::sync::Arc<dyn GuestSignal>,
    doorbells: std::sync::Arc<dyn Doorbells>,
    inbox: std::sync::Arc<Inbox>,
}

impl UnderTest {
    /// Takes the guest over.
    #[must_use]
    pub fn new(guest: BareMetal) -> Self {
        let synic = guest.synic();
        let (signal, doorbells, inbox) = (synic.signal(), synic.doorbells(), synic.inbox());
        Self { guest, signal, doorbells, inbox }
    }

    /// The guest.
    pub fn guest(&mut self) -> &mut BareMetal {
        &mut self.guest
    }
}

impl SynicUnderTest for UnderTest {
    fn vps(&self) -> u32 {
        self.guest.vps()
    }

    fn traits(&self) -> Traits {
        Traits { holds_masked: self.guest.synic().mode() == SynicMode::User }
    }

    fn signal(&self) -> &dyn GuestSignal {
        &self.signal
    }

    fn doorbells(&self) -> &dyn Doorbells {
        &self.doorbells
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn guest_enable(&mut self) -> Result<(), Violation> {
        self.guest.enable_synic().map_err(violation)
    }

    fn guest_read_msr(&mut self, vp: u32, msr: u32) -> Result<u64, Violation> {
        let value = self.guest.read_msr(vp, msr).map_err(violation)?;
        value.ok_or_else(|| violation(format!("RDMSR of {msr:#x} faults")))
    }

    fn guest_write_msr(&mut self, vp: u32, msr: u32, value: u64) -> Result<(), Violation> {
        if self.guest.write_msr(vp, msr, value).map_err(violation)? {
            Ok(())
        } else {
            Err(violation(format!("WRMSR of {msr:#x} with {value:#x} faults")))
        }
    }

    fn guest_post(&mut self, connection_id: u32, payload: &[u8]) -> Result<u16, Violation> {
        self.guest.post(0, connection_id, payload).map(status).map_err(violation)
    }

    fn guest_signal(&mut self, connection_id: u32) -> Result<u16, Violation> {
        self.guest.signal(0, connection_id).map(status).map_err(violation)
    }

    fn guest_hypercall(&mut self, control: u64, rdx: u64, r8: u64) -> Result<u64, Violation> {
        self.guest.hypercall(0, control, rdx, r8).map_err(violation)
    }

    fn guest_take_message(&mut self, vp: u32) -> Result<Option<(Vec<u8>, bool)>, Violation> {
        self.guest.take_message(vp).map_err(violation)
    }

    fn guest_free_slot(&mut self, vp: u32) -> Result<(), Violation> {
        self.guest.free_slot(vp).map_err(violation)
    }

    fn guest_take_flags(&mut self, vp: u32) -> Result<Vec<u16>, Violation> {
        self.guest.take_flags(vp).map_err(violation)
    }

    fn interrupts(&mut self, vp: u32) -> Result<u64, Violation> {
        self.guest.interrupts(vp).map_err(violation)
    }

    fn settle(&mut self) -> Result<(), Violation> {
        self.guest.settle().map_err(violation)
    }
}

/// Bits 15:0 of a hypercall result.
#[expect(clippy::cast_possible_truncation, reason = "the status is the low half by definition")]
fn status(result: u64) -> u16 {
    result as u16
}

fn violation(error: impl Display) -> Violation {
    Violation(format!("{error:#}"))
}
