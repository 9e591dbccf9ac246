//! Bodies of the messages, without their common header; little endian and packed.
//!
//! *Source*: `include/linux/hyperv.h` of Linux 6.1, `struct vmbus_channel_*`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Guid;

macro_rules! wire {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }
        )*
    };
}

wire! {
    /// A channel that the guest may open.
    struct OfferChannel {
        /// Kind of device; the guest's driver is chosen by it.
        interface_type: Guid,
        /// This device; a directory name in the guest's sysfs.
        instance: Guid,
        /// Zero.
        reserved: [U64; 2],
        /// Bits 0 and 4 matter here: 0x1 enumerate, 0x10 pipe mode.
        flags: U16,
        /// Address space the guest shall find for the device, in MiB.
        mmio_megabytes: U16,
        /// In pipe mode the first four bytes hold the pipe mode.
        user_defined: [u8; 120],
        /// Zero for a primary channel.
        subchannel_index: U16,
        /// Zero.
        reserved2: U16,
        /// See [`crate::ChannelId`].
        relid: U32,
        /// Unused here.
        monitor_id: u8,
        /// Bit 0 would make the guest signal through the monitor page.
        monitor_allocated: u8,
        /// Bit 0: the channel has an event flag of its own.
        dedicated_interrupt: U16,
        /// Connection to signal, see [`crate::ConnectionId::doorbell`].
        connection_id: U32,
    }

    /// The device goes away.
    struct RescindChannelOffer {
        /// Channel.
        relid: U32,
    }

    /// The guest wants all offers.
    struct RequestOffers {}

    /// That was the last offer.
    struct AllOffersDelivered {}

    /// Opens a channel over a GPADL that holds both rings.
    struct OpenChannel {
        /// Channel.
        relid: U32,
        /// Returned in the answer; Linux repeats the relid.
        open_id: U32,
        /// GPADL of the rings.
        ring_gpadl: U32,
        /// VP whose event flag the host sets.
        target_vp: U32,
        /// Page of the GPADL where the host-to-guest ring starts.
        downstream_page_offset: U32,
        /// For the device.
        user_data: [u8; 120],
    }

    /// Answer to OPENCHANNEL.
    struct OpenChannelResult {
        /// Channel.
        relid: U32,
        /// As in the request.
        open_id: U32,
        /// Zero is success.
        status: U32,
    }

    /// Closes a channel; not answered.
    struct CloseChannel {
        /// Channel.
        relid: U32,
    }

    /// First message of a GPADL, followed by up to 26 page numbers.
    struct GpadlHeader {
        /// Channel.
        relid: U32,
        /// Handle that the guest chose.
        gpadl: U32,
        /// Bytes of all ranges: eight, and eight a page.
        range_buflen: U16,
        /// Ranges; Linux sends one.
        range_count: U16,
        /// Bytes of memory in the first range.
        byte_count: U32,
        /// Offset of the first byte in the first page.
        byte_offset: U32,
    }

    /// Further message of a GPADL, followed by up to 28 page numbers.
    struct GpadlBody {
        /// Linux leaves it zero.
        message_number: U32,
        /// Handle.
        gpadl: U32,
    }

    /// Answer to a whole GPADL.
    struct GpadlCreated {
        /// Channel.
        relid: U32,
        /// Handle.
        gpadl: U32,
        /// Zero is success.
        status: U32,
    }

    /// The guest wants its pages back.
    struct GpadlTeardown {
        /// Channel.
        relid: U32,
        /// Handle.
        gpadl: U32,
    }

    /// The host will not touch the pages any more.
    struct GpadlTorndown {
        /// Handle.
        gpadl: U32,
    }

    /// The guest has forgotten a rescinded channel; the relid may be used again.
    struct RelidReleased {
        /// Channel.
        relid: U32,
    }

    /// Asks for a version; everything from an earlier contact is void.
    struct InitiateContact {
        /// See [`crate::Version`].
        version: U32,
        /// VP that gets all messages.
        target_vp: U32,
        /// Below 5.0 the interrupt page; from 5.0 on byte 0 is the message SINT, byte 1 the VTL.
        interrupt_page_or_target: [u8; 8],
        /// Unused here.
        monitor_page_1: U64,
        /// Unused here.
        monitor_page_2: U64,
    }

    /// Answer to INITIATE_CONTACT; Linux wants all 16 bytes for every version.
    struct VersionResponse {
        /// 1 when the version is served, else the guest tries an older one.
        supported: u8,
        /// Zero is success.
        connection_state: u8,
        /// Zero.
        padding: U16,
        /// From 5.0 on: connection for all later messages.
        msg_connection_id: U32,
    }

    /// The guest leaves the bus.
    struct Unload {}

    /// Answer to UNLOAD.
    struct UnloadResponse {}

    /// Connects a Hyper-V socket; not served here.
    struct TlConnectRequest {
        /// Endpoint.
        endpoint: Guid,
        /// Service.
        service: Guid,
    }

    /// Moves a channel's events to another VP.
    struct ModifyChannel {
        /// Channel.
        relid: U32,
        /// VP whose event flag the host shall set.
        target_vp: U32,
    }

    /// Answer to MODIFYCHANNEL.
    struct ModifyChannelResponse {
        /// Channel.
        relid: U32,
        /// Zero is success.
        status: U32,
    }
}

impl InitiateContact {
    /// The message SINT, from version 5.0 on.
    #[must_use]
    pub const fn msg_sint(&self) -> u8 {
        self.interrupt_page_or_target[0]
    }
}
