//! The mouse: its messages are in a pipe.

use synthinput::mouse::MouseAction;
use synthinput::{Button, InputStats, MouseVsp, Position};
use vmbus::server::{OfferParams, PipeMode};
use vmbus::{Guid, pipe};

use super::protocol;
use crate::channel::{ChannelDevice, DeviceContext, DeviceFault};

/// Interface of a synthetic mouse (`HV_MOUSE_GUID` in Linux `include/linux/hyperv.h`).
const INTERFACE: Guid = Guid::from_u128(0xcfa8b69e_5b4a_4cc0_b98b_8ba1a1f3f95a);
/// Our instance of it; any unique value does.
const INSTANCE: Guid = Guid::from_u128(0x7a3d5b80_2c4f_41d9_a6be_93c0d7f1e854);

/// A synthetic mouse with an absolute position.
#[derive(Debug, Default)]
pub struct Mouse {
    vsp: MouseVsp,
}

impl Mouse {
    /// A mouse with no button down.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the pointer; false if the report was dropped, and counted.
    pub fn move_to(&mut self, position: Position) -> bool {
        self.vsp.move_to(position)
    }

    /// Presses or releases a button; false if the report was dropped, and counted.
    pub fn button(&mut self, button: Button, pressed: bool) -> bool {
        self.vsp.button(button, pressed)
    }

    /// Presses and releases a button; false if any of that was dropped.
    pub fn click(&mut self, button: Button) -> bool {
        let pressed = self.vsp.button(button, true);
        self.vsp.button(button, false) && pressed
    }

    /// Turns the wheel by `notches`, away from the user; false if the report was dropped, and counted.
    pub fn wheel(&mut self, notches: i16) -> bool {
        self.vsp.wheel(notches)
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

impl ChannelDevice for Mouse {
    fn offer(&self) -> OfferParams {
        OfferParams {
            interface_type: INTERFACE,
            instance: INSTANCE,
            pipe: PipeMode::Message,
            mmio_megabytes: 0,
        }
    }

    fn opened(&mut self, _context: &mut DeviceContext<'_>) {
        self.vsp.reset();
    }

    fn receive(&mut self, payload: &[u8], context: &mut DeviceContext<'_>) -> Result<(), DeviceFault> {
        let message = pipe::unframe(payload).map_err(|fault| DeviceFault::Pipe(fault.to_string()))?;
        let unknown = self.vsp.stats().unknown_messages;
        match self.vsp.receive(message).map_err(protocol)? {
            None if self.vsp.stats().unknown_messages != unknown => {
                Err(DeviceFault::Ignored("mouse message with an unknown number".into()))
            }
            None | Some(MouseAction::Ready) => Ok(()),
            Some(MouseAction::Protocol { version, accepted }) => {
                tracing::debug!(channel = %context.channel, accepted, "mouse protocol {version:#x}");
                Ok(())
            }
        }
    }

    fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (header, body) = buffer.split_at_mut_checked(pipe::HEADER_SIZE)?;
        let len = self.vsp.poll_transmit(body)?;
        header.copy_from_slice(&pipe::header(len).ok()?);
        Some(pipe::HEADER_SIZE + len)
    }

    fn closed(&mut self, _context: &mut DeviceContext<'_>) {
        self.vsp.reset();
    }

    fn tick(&mut self, _context: &mut DeviceContext<'_>) {}

    fn deadline_ns(&self) -> Option<u64> {
        None
    }
}
