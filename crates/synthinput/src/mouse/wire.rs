//! The mouse's messages, to the byte: what lies inside the pipe header.
//!
//! | # | name | direction | body |
//! |---|---|---|---|
//! | 0 | PROTOCOL_REQUEST | guest to host | [`ProtocolRequest`] |
//! | 1 | PROTOCOL_RESPONSE | host to guest | [`ProtocolResponse`] |
//! | 2 | INITIAL_DEVICE_INFO | host to guest | [`DeviceInfo`], then the report descriptor |
//! | 3 | DEVICE_INFO_ACK | guest to host | one byte, 0 |
//! | 4 | INPUT_REPORT | host to guest | a HID report |

use zerocopy::byteorder::little_endian::{U16, U32};

use crate::wire::wire_struct;

/// PROTOCOL_REQUEST.
pub const PROTOCOL_REQUEST: u32 = 0;
/// PROTOCOL_RESPONSE.
pub const PROTOCOL_RESPONSE: u32 = 1;
/// INITIAL_DEVICE_INFO.
pub const INITIAL_DEVICE_INFO: u32 = 2;
/// DEVICE_INFO_ACK.
pub const DEVICE_INFO_ACK: u32 = 3;
/// INPUT_REPORT.
pub const INPUT_REPORT: u32 = 4;

/// The one version that there is: major 2, minor 0 (Linux `SYNTHHID_INPUT_VERSION`).
pub const VERSION: u32 = 0x0002_0000;

wire_struct! {
    /// Opens every message.
    Header, 8 {
        /// Number of the message.
        kind: U32,
        /// Bytes of the body. Linux takes a report's length from here, and from nowhere else.
        size: U32,
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
    /// PROTOCOL_RESPONSE. Linux warns about one that is longer.
    ProtocolResponse, 5 {
        /// The version that was asked for.
        version: U32,
        /// 1 accepted, 0 refused.
        approved: u8,
    }
}

wire_struct! {
    /// INITIAL_DEVICE_INFO without the report descriptor that follows: attributes, then a HID descriptor
    /// (HID 1.11, 6.2.1).
    DeviceInfo, 41 {
        /// Bytes of the attributes, 32.
        attributes_size: U32,
        /// USB vendor.
        vendor: U16,
        /// USB product.
        product: U16,
        /// Version of the product.
        version: U16,
        /// 0.
        reserved: [u8; 22],
        /// Bytes of the HID descriptor, 9.
        descriptor_len: u8,
        /// 0x21, HID.
        descriptor_type: u8,
        /// HID version, decimal in hexadecimal.
        hid_version: U16,
        /// 0: not localised.
        country: u8,
        /// Descriptors that follow, 1.
        descriptors: u8,
        /// 0x22, report.
        report_type: u8,
        /// Bytes of the report descriptor.
        report_len: U16,
    }
}

wire_struct! {
    /// The report that [`super::REPORT_DESCRIPTOR`] describes.
    Report, 7 {
        /// Bit 0 left, 1 right, 2 middle, 3 and 4 the side buttons.
        buttons: u8,
        /// 0 to [`super::AXIS_MAX`], left to right.
        x: U16,
        /// 0 to [`super::AXIS_MAX`], top to bottom.
        y: U16,
        /// Notches away from the user, relative.
        wheel: zerocopy::byteorder::little_endian::I16,
    }
}
