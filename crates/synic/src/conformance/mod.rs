//! What every SynIC must do, written once over what a minimal guest can do.
//!
//! A back end implements [`SynicUnderTest`] with a guest of its own and calls [`run`] on it; the suite plays
//! the host through the public traits and drives the guest in coarse steps, so that a bare-metal guest with
//! a command mailbox in its memory can follow. VMBus's SINT 2 is used throughout.

mod doorbells;
mod flags;
mod messages;
mod posts;

use std::fmt;
use std::fmt::Debug;

use crate::{Doorbells, GuestSignal, Inbox};

/// A SynIC with a guest on it.
///
/// The guest counts interrupts of SINT 2 (vector 0xf3) for each VP, sends the APIC EOI where there is one,
/// and touches its pages in no other way than asked to.
pub trait SynicUnderTest {
    /// Virtual processors that can run guest steps, numbered from 0.
    fn vps(&self) -> u32;

    /// Which parts of the suite apply.
    fn traits(&self) -> Traits {
        Traits::default()
    }

    /// The host's way to the guest.
    fn signal(&self) -> &dyn GuestSignal;

    /// The host's doorbells.
    fn doorbells(&self) -> &dyn Doorbells;

    /// Where posted messages arrive.
    fn inbox(&self) -> &Inbox;

    /// Puts the guest into the state after boot: OS id and hypercall page enabled; on every VP message page
    /// and event flags page enabled, SINT 2 unmasked with vector 0xf3, SCONTROL bit 0 set.
    fn guest_enable(&mut self) -> Result<(), Violation>;

    /// The guest runs RDMSR on `vp`.
    fn guest_read_msr(&mut self, vp: u32, msr: u32) -> Result<u64, Violation>;

    /// The guest runs WRMSR on `vp`, which must not fault.
    fn guest_write_msr(&mut self, vp: u32, msr: u32, value: u64) -> Result<(), Violation>;

    /// The guest calls HvCallPostMessage with message type 1; the status, bits 15:0 of RAX.
    fn guest_post(&mut self, connection_id: u32, payload: &[u8]) -> Result<u16, Violation>;

    /// The guest calls HvCallSignalEvent, fast; the status.
    fn guest_signal(&mut self, connection_id: u32) -> Result<u16, Violation>;

    /// The guest makes a hypercall with the given RCX, RDX and R8; RAX.
    fn guest_hypercall(&mut self, control: u64, rdx: u64, r8: u64) -> Result<u64, Violation>;

    /// If the slot of SINT 2 on `vp` is occupied: copies it, frees it, and *after that* reads the pending
    /// flag, and writes EOM if it is set. The payload, and whether EOM was written.
    fn guest_take_message(&mut self, vp: u32) -> Result<Option<(Vec<u8>, bool)>, Violation>;

    /// Frees the slot of SINT 2 on `vp` by storing a zero type and nothing else: no EOM, whatever the flags
    /// say. It is what a crashing Linux does to every slot.
    fn guest_free_slot(&mut self, vp: u32) -> Result<(), Violation>;

    /// Tests and clears all 2048 event flags of SINT 2 on `vp`; those that were set, ascending.
    fn guest_take_flags(&mut self, vp: u32) -> Result<Vec<u16>, Violation>;

    /// Interrupts of vector 0xf3 that `vp` has taken since it started.
    fn interrupts(&mut self, vp: u32) -> Result<u64, Violation>;

    /// Lets everything that is under way arrive: runs the host's deferred delivery (EOM eventfds, not the
    /// retry timer) and lets the guest take its interrupts. Nothing to do where it all happens in the call.
    fn settle(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

/// Differences between SynICs that the suite knows about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The host learns that a SINT is masked, and holds its messages back. A SynIC in the kernel does not
    /// tell.
    pub holds_masked: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self { holds_masked: true }
    }
}

/// What went wrong in a case: expected and got, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// How one case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must.
    Passed,
    /// Does not apply to this SynIC, and why.
    Skipped(&'static str),
    /// Otherwise.
    Failed(Violation),
}

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Situation and outcome.
    pub name: &'static str,
    skip: fn(&dyn SynicUnderTest) -> Option<&'static str>,
    run: fn(&mut dyn SynicUnderTest) -> Result<(), Violation>,
}

impl Case {
    /// Runs this case on a guest in any state.
    pub fn run(&self, synic: &mut dyn SynicUnderTest) -> Outcome {
        if let Some(reason) = (self.skip)(synic) {
            return Outcome::Skipped(reason);
        }
        match prepare(synic).and_then(|()| (self.run)(synic)) {
            Ok(()) => Outcome::Passed,
            Err(violation) => Outcome::Failed(violation),
        }
    }
}

/// Every case, in the order in which [`run`] runs them.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [messages::CASES, flags::CASES, doorbells::CASES, posts::CASES].into_iter().flatten()
}

/// Runs every case; name and outcome of each.
pub fn run(synic: &mut dyn SynicUnderTest) -> Vec<(&'static str, Outcome)> {
    cases().map(|case| (case.name, case.run(synic))).collect()
}

/// Messages that may be left over from an earlier case before the guest is taken for stuck.
const LEFT_OVER: usize = 1024;

/// Brings host and guest into the state that every case starts from: enabled, nothing queued, nothing set.
fn prepare(synic: &mut dyn SynicUnderTest) -> Result<(), Violation> {
    synic.guest_enable()?;
    synic.signal().reset_messages();
    synic.inbox().clear();
    // An eventfd that nobody wrote reads as an error.
    let _ = synic.inbox().fd().read();
    synic.settle()?;
    for vp in 0..synic.vps() {
        let mut taken = 0;
        while synic.guest_take_message(vp)?.is_some() {
            taken += 1;
            if taken > LEFT_OVER {
                return violation(format!("VP {vp} still finds messages after {LEFT_OVER}"));
            }
            synic.settle()?;
        }
        synic.guest_take_flags(vp)?;
    }
    synic.settle()
}

fn applies(_synic: &dyn SynicUnderTest) -> Option<&'static str> {
    None
}

fn violation<T>(what: String) -> Result<T, Violation> {
    Err(Violation(what))
}

fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Result<(), Violation> {
    if got == expected { Ok(()) } else { violation(format!("{what}: got {got:?}, expected {expected:?}")) }
}

/// A host call that must succeed.
fn must<T, E: fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Violation> {
    result.map_err(|error| Violation(format!("{what}: {error}")))
}

/// Interrupts on `vp` since `before`.
fn interrupts_since(synic: &mut dyn SynicUnderTest, vp: u32, before: u64) -> Result<u64, Violation> {
    synic.settle()?;
    Ok(synic.interrupts(vp)?.saturating_sub(before))
}
