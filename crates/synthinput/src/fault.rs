//! What a guest can do wrong in a keyboard or mouse message.

/// A guest's mistake. The message that holds it has no effect; the caller should count it and close the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// The message ends before its type does.
    #[error("{device} message of {len} bytes, its header alone has {need}")]
    NoHeader {
        /// Which device.
        device: &'static str,
        /// Bytes received.
        len: usize,
        /// Bytes of the header.
        need: usize,
    },
    /// The body ends before its fields do.
    #[error("{name} with a body of {len} bytes, {need} needed")]
    TooShort {
        /// The message.
        name: &'static str,
        /// Bytes of the body.
        len: usize,
        /// Bytes that its fields take.
        need: usize,
    },
    /// The message is one that hosts send.
    #[error("{name} from the guest, only a host sends it")]
    WrongDirection {
        /// The message.
        name: &'static str,
    },
    /// No protocol was agreed upon yet.
    #[error("{name} before a protocol was accepted")]
    BeforeProtocol {
        /// The message.
        name: &'static str,
    },
    /// The device's description was acknowledged, but none is waiting for that.
    #[error("DEVICE_INFO_ACK without an INITIAL_DEVICE_INFO that waits for it")]
    UnexpectedAck,
}
