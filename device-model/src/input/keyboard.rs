//! The keyboard: its messages are packets as they are.

use synthinput::keyboard::KeyboardAction;
use synthinput::{Chord, InputStats, KeyboardVsp, Keystroke};
use vmbus::Guid;
use vmbus::server::{OfferParams, PipeMode};

use super::protocol;
use crate::channel::{ChannelDevice, DeviceContext, DeviceFault};

/// Interface of a synthetic keyboard (`HV_KBD_GUID` in Linux `include/linux/hyperv.h`).
const INTERFACE: Guid = Guid::from_u128(0xf912ad6d_2b17_48ea_bd65_f927a61c7684);
/// Our instance of it; any unique value does.
const INSTANCE: Guid = Guid::from_u128(0x1c7f8e54_90ab_4b6e_8d21_6f0e5a3b7c12);

/// A synthetic keyboard.
#[derive(Debug, Default)]
pub struct Keyboard {
    vsp: KeyboardVsp,
}

impl Keyboard {
    /// A keyboard with no key down.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One key goes down or up; false if that was dropped, and counted.
    pub fn stroke(&mut self, stroke: Keystroke) -> bool {
        self.vsp.stroke(stroke)
    }

    /// Presses the keys of `chord` one after the other and releases them in the opposite order; false if any of that was
    /// dropped.
    pub fn play(&mut self, chord: &Chord) -> bool {
        let mut taken = true;
        // To the last: a release is never dropped once its press was taken.
        for stroke in chord.strokes() {
            taken &= self.vsp.stroke(stroke);
        }
        taken
    }

    /// The guest's driver listens.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.vsp.is_ready()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &InputStats {
        self.vsp.stats()
    }
}

impl ChannelDevice for Keyboard {
    fn offer(&self) -> OfferParams {
        OfferParams { interface_type: INTERFACE, instance: INSTANCE, pipe: PipeMode::Raw, mmio_megabytes: 0 }
    }

    fn opened(&mut self, _context: &mut DeviceContext<'_>) {
        self.vsp.reset();
    }

    fn receive(&mut self, payload: &[u8], context: &mut DeviceContext<'_>) -> Result<(), DeviceFault> {
        let unknown = self.vsp.stats().unknown_messages;
        match self.vsp.receive(payload).map_err(protocol)? {
            None if self.vsp.stats().unknown_messages != unknown => {
                Err(DeviceFault::Ignored("keyboard message with an unknown number".into()))
            }
            None | Some(KeyboardAction::Leds(_)) => Ok(()),
            Some(KeyboardAction::Protocol { version, accepted }) => {
                tracing::debug!(channel = %context.channel, accepted, "keyboard protocol {version:#x}");
                Ok(())
            }
        }
    }

    fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.vsp.poll_transmit(buffer)
    }

    fn closed(&mut self, _context: &mut DeviceContext<'_>) {
        self.vsp.reset();
    }

    fn tick(&mut self, _context: &mut DeviceContext<'_>) {}

    fn deadline_ns(&self) -> Option<u64> {
        None
    }
}
