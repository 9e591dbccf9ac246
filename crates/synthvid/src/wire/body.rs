//! The video header and the bodies, as they lie on the wire.

use zerocopy::byteorder::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::edid::EDID_BYTES;

macro_rules! wire_struct {
    ($(#[$doc:meta])* $name:ident, $bytes:literal { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        const _: () = assert!(size_of::<$name>() == $bytes, "the wire fixes the size");
        const _: () = assert!(align_of::<$name>() == 1, "the wire is packed");
    };
}

wire_struct! {
    /// Opens every message.
    Header, 8 {
        /// Number of the message.
        kind: U32,
        /// Bytes of the message. Linux counts header and body, other hosts the body alone: we send Linux's
        /// meaning and never look at what we receive.
        size: U32,
    }
}

wire_struct! {
    /// VERSION_REQUEST.
    VersionRequest, 4 {
        /// Minor number in the upper half, major in the lower.
        version: U32,
    }
}

wire_struct! {
    /// VERSION_RESPONSE.
    VersionResponse, 6 {
        /// The version that was asked for; Linux ignores it.
        version: U32,
        /// 0 refused, 1 accepted; Linux tests for other than 0.
        is_accepted: u8,
        /// Screens that the host can show.
        max_video_outputs: u8,
    }
}

wire_struct! {
    /// VRAM_LOCATION.
    VramLocation, 17 {
        /// Comes back in the acknowledgement; Linux puts the address here.
        user_ctx: U64,
        /// 1 if the guest chose the address.
        is_vram_gpa_specified: u8,
        /// Guest physical address.
        vram_gpa: U64,
    }
}

wire_struct! {
    /// VRAM_LOCATION_ACK.
    VramLocationAck, 8 {
        /// What the guest sent.
        user_ctx: U64,
    }
}

wire_struct! {
    /// Head of SITUATION_UPDATE.
    SituationUpdate, 9 {
        /// Comes back in the acknowledgement; Linux sends 0.
        user_ctx: U64,
        /// Entries that follow; 1 in all that is known.
        video_output_count: u8,
    }
}

wire_struct! {
    /// One screen in SITUATION_UPDATE.
    SituationOutput, 18 {
        /// 0 is off.
        active: u8,
        /// Bytes from the start of VRAM to the first pixel.
        vram_offset: U32,
        /// Bits a pixel.
        depth_bits: u8,
        /// Pixels.
        width_pixels: U32,
        /// Rows.
        height_pixels: U32,
        /// Bytes from one row to the next.
        pitch_bytes: U32,
    }
}

wire_struct! {
    /// SITUATION_UPDATE_ACK.
    SituationUpdateAck, 8 {
        /// What the guest sent.
        user_ctx: U64,
    }
}

wire_struct! {
    /// POINTER_POSITION.
    PointerPosition, 10 {
        /// 0 is hidden.
        is_visible: u8,
        /// Screen.
        video_output: u8,
        /// Column.
        image_x: I32,
        /// Row.
        image_y: I32,
    }
}

wire_struct! {
    /// Head of POINTER_SHAPE; pixels follow.
    PointerShape, 18 {
        /// 0, 1, and so on; [`POINTER_PART_LAST`] for the last or only part.
        part_index: u8,
        /// 1 is 32 bits a pixel, 0 is an AND mask and an XOR mask of 1 bit a pixel each.
        is_argb: u8,
        /// Pixels, at most 96.
        width: U32,
        /// Rows, at most 96.
        height: U32,
        /// Column of the pixel that points.
        hot_x: U32,
        /// Row of the pixel that points.
        hot_y: U32,
    }
}

/// Part index of the last, or only, part of a POINTER_SHAPE.
pub const POINTER_PART_LAST: u8 = 0xff;

wire_struct! {
    /// FEATURE_CHANGE. Newer hosts add an EDID, of which Linux knows nothing; we do not send one.
    FeatureChange, 4 {
        /// DIRT is wanted; the only byte that Linux reads.
        is_dirt_needed: u8,
        /// POINTER_POSITION is wanted.
        is_pointer_position_needed: u8,
        /// POINTER_SHAPE is wanted.
        is_pointer_shape_needed: u8,
        /// SITUATION_UPDATE is wanted.
        is_situation_needed: u8,
    }
}

wire_struct! {
    /// FEATURE_CHANGE as newer hosts send it: the features and an EDID.
    FeatureChangeWithEdid, 132 {
        /// The features.
        features: FeatureChange,
        /// The monitor.
        edid: [u8; EDID_BYTES],
    }
}

wire_struct! {
    /// Head of DIRT; rectangles follow.
    Dirt, 2 {
        /// Screen.
        video_output: u8,
        /// Rectangles that follow, 1 to 255.
        dirt_count: u8,
    }
}

wire_struct! {
    /// One rectangle of DIRT, half-open.
    DirtRect, 16 {
        /// First column inside.
        x1: I32,
        /// First row inside.
        y1: I32,
        /// First column outside.
        x2: I32,
        /// First row outside.
        y2: I32,
    }
}

wire_struct! {
    /// BIOS_INFO_RESPONSE.
    BiosInfoResponse, 16 {
        /// 1 if the guest may stop the device.
        stop_device_supported: U32,
        /// 0.
        reserved: [u8; 12],
    }
}

wire_struct! {
    /// RESOLUTION_REQUEST.
    ResolutionRequest, 1 {
        /// Most modes that the guest can take; Linux sends 64.
        maximum_resolution_count: u8,
    }
}

wire_struct! {
    /// Head of RESOLUTION_RESPONSE; modes follow.
    ResolutionResponse, 131 {
        /// The monitor; Linux ignores it.
        edid: [u8; EDID_BYTES],
        /// Modes that follow, 1 to 64.
        resolution_count: u8,
        /// Which of them the guest should take; less than the count, or Linux reads stale bytes.
        default_resolution_index: u8,
        /// The monitor is a standard one; Linux ignores it.
        is_standard: u8,
    }
}

wire_struct! {
    /// One mode of RESOLUTION_RESPONSE.
    Resolution, 4 {
        /// Pixels.
        width: U16,
        /// Rows.
        height: U16,
    }
}

wire_struct! {
    /// CAPABILITY_RESPONSE.
    CapabilityResponse, 64 {
        /// 1 if the guest should lock its session when the viewer leaves.
        lock_on_disconnect: U32,
        /// 0.
        reserved: [u8; 60],
    }
}
