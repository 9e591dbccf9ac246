//! The keyboard's messages, to the byte. There is no pipe header: a packet's payload is a message.
//!
//! | # | name | direction | body |
//! |---|---|---|---|
//! | 1 | PROTOCOL_REQUEST | guest to host | [`ProtocolRequest`] |
//! | 2 | PROTOCOL_RESPONSE | host to guest | [`ProtocolResponse`] |
//! | 3 | EVENT | host to guest | [`Event`] |
//! | 4 | LED_INDICATORS | guest to host | [`LedIndicators`] |

use zerocopy::byteorder::little_endian::{U16, U32};

use crate::wire::wire_struct;

/// PROTOCOL_REQUEST.
pub const PROTOCOL_REQUEST: u32 = 1;
/// PROTOCOL_RESPONSE.
pub const PROTOCOL_RESPONSE: u32 = 2;
/// EVENT.
pub const EVENT: u32 = 3;
/// LED_INDICATORS.
pub const LED_INDICATORS: u32 = 4;

/// The one version that there is: major 1, minor 0 (Linux `SYNTH_KBD_VERSION`).
pub const VERSION: u32 = 0x0001_0000;

/// [`ProtocolResponse::status`]: accepted.
pub const ACCEPTED: u32 = 1 << 0;

/// [`Event::info`]: the key was released.
pub const INFO_BREAK: u32 = 1 << 1;
/// [`Event::info`]: prefix 0xE0 of the scan code.
pub const INFO_E0: u32 = 1 << 2;

wire_struct! {
    /// Opens every message.
    Header, 4 {
        /// Number of the message.
        kind: U32,
    }
}

wire_struct! {
    /// PROTOCOL_REQUEST.
    ProtocolRequest, 4 {
        /// Major number in the upper, minor in the lower half.
        version: U32,
    }
}

wire_struct! {
    /// PROTOCOL_RESPONSE.
    ProtocolResponse, 4 {
        /// [`ACCEPTED`], or 0.
        status: U32,
    }
}

wire_struct! {
    /// EVENT.
    Event, 8 {
        /// Scan code of set 1, as on key down.
        make_code: U16,
        /// 0.
        reserved: U16,
        /// [`INFO_BREAK`] and [`INFO_E0`]. Bit 0 would be Unicode, which Linux does not know; bit 3 is prefix 0xE1.
        info: U32,
    }
}

wire_struct! {
    /// LED_INDICATORS. Linux never sends it.
    LedIndicators, 4 {
        /// Bit 0 scroll, 1 num, 2 caps lock.
        flags: U16,
        /// 0.
        reserved: U16,
    }
}
