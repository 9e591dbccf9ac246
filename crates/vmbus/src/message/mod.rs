//! All messages of the VMBus control channel, as one table.
//!
//! Each message is eight bytes of header {u32 type, u32 zero} and a body, carried as the payload of one SynIC
//! message of at most 240 bytes. Linux compares the payload size of what it receives with the size in this
//! table and silently drops what is shorter (`drivers/hv/channel_mgmt.c:channel_message_table`), so a message
//! is always encoded whole.

mod wire;

use alloc::vec::Vec;

use thiserror::Error;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use wire::*;

use crate::Version;

/// Bytes in the header of every message.
pub const HEADER_SIZE: usize = 8;
/// Status of a request that the host refused (`STATUS_UNSUCCESSFUL`); guests only look for non-zero.
pub const STATUS_UNSUCCESSFUL: u32 = 0xc000_0001;
/// Status of a request that the host served.
pub const STATUS_SUCCESS: u32 = 0;

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Guest to host.
    ToHost,
    /// Host to guest.
    ToGuest,
}

/// A message body with its place in the table.
pub trait ChannelMessage: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {
    /// Its row.
    const TYPE: MessageType;
}

macro_rules! channel_messages {
    ($($number:literal $kind:ident $name:literal $direction:ident $size:literal $since:ident;)*) => {
        /// Type of a control-channel message; the discriminant is the wire value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum MessageType {
            $(#[doc = concat!($name, ", ", stringify!($size), " bytes.")] $kind = $number,)*
        }

        impl MessageType {
            /// All types, by number.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The type with this wire value.
            #[must_use]
            pub const fn from_wire(wire: u32) -> Option<Self> {
                match wire {
                    $($number => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// Name as Linux and the specification spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Who sends it.
            #[must_use]
            pub const fn direction(self) -> Direction {
                match self { $(Self::$kind => Direction::$direction,)* }
            }

            /// Bytes with header; GPADL messages may carry page numbers behind them.
            #[must_use]
            pub const fn size(self) -> usize {
                match self { $(Self::$kind => $size,)* }
            }

            /// First version that has it.
            #[must_use]
            pub const fn since(self) -> Version {
                match self { $(Self::$kind => Version::$since,)* }
            }
        }

        $(
            const _: () = assert!(HEADER_SIZE + size_of::<$kind>() == $size, $name);
            const _: () = assert!($size <= hv_abi::message::MAX_PAYLOAD, $name);

            impl ChannelMessage for $kind {
                const TYPE: MessageType = MessageType::$kind;
            }
        )*
    };
}

channel_messages! {
     1 OfferChannel          "OFFERCHANNEL"           ToGuest 196 V2_4;
     2 RescindChannelOffer   "RESCIND_CHANNELOFFER"   ToGuest  12 V2_4;
     3 RequestOffers         "REQUESTOFFERS"          ToHost    8 V2_4;
     4 AllOffersDelivered    "ALLOFFERS_DELIVERED"    ToGuest   8 V2_4;
     5 OpenChannel           "OPENCHANNEL"            ToHost  148 V2_4;
     6 OpenChannelResult     "OPENCHANNEL_RESULT"     ToGuest  20 V2_4;
     7 CloseChannel          "CLOSECHANNEL"           ToHost   12 V2_4;
     8 GpadlHeader           "GPADL_HEADER"           ToHost   28 V2_4;
     9 GpadlBody             "GPADL_BODY"             ToHost   16 V2_4;
    10 GpadlCreated          "GPADL_CREATED"          ToGuest  20 V2_4;
    11 GpadlTeardown         "GPADL_TEARDOWN"         ToHost   16 V2_4;
    12 GpadlTorndown         "GPADL_TORNDOWN"         ToGuest  12 V2_4;
    13 RelidReleased         "RELID_RELEASED"         ToHost   12 V2_4;
    14 InitiateContact       "INITIATE_CONTACT"       ToHost   40 V2_4;
    15 VersionResponse       "VERSION_RESPONSE"       ToGuest  16 V2_4;
    16 Unload                "UNLOAD"                 ToHost    8 V3_0;
    17 UnloadResponse        "UNLOAD_RESPONSE"        ToGuest   8 V3_0;
    21 TlConnectRequest      "TL_CONNECT_REQUEST"     ToHost   40 V4_0;
    22 ModifyChannel         "MODIFYCHANNEL"          ToHost   16 V4_1;
    24 ModifyChannelResponse "MODIFYCHANNEL_RESPONSE" ToGuest  16 V5_3;
}

/// Header of every message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U32,
    padding: U32,
}

/// Bytes that are no message of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// Too short for a header.
    #[error("channel message has {len} bytes, its header alone needs {HEADER_SIZE}")]
    NoHeader {
        /// Payload bytes.
        len: usize,
    },
    /// Not in the table.
    #[error("channel message type {kind} is unknown")]
    UnknownType {
        /// Wire value.
        kind: u32,
    },
    /// Shorter than its struct.
    #[error("{} has {len} bytes, it needs {}", kind.name(), kind.size())]
    Short {
        /// Its type.
        kind: MessageType,
        /// Payload bytes.
        len: usize,
    },
}

/// Splits a message into its type and its body, which is at least as long as the table says.
///
/// # Errors
/// Every [`DecodeFault`].
pub fn split(message: &[u8]) -> Result<(MessageType, &[u8]), DecodeFault> {
    let Ok((header, body)) = Header::read_from_prefix(message) else {
        return Err(DecodeFault::NoHeader { len: message.len() });
    };
    let kind = header.kind.get();
    let kind = MessageType::from_wire(kind).ok_or(DecodeFault::UnknownType { kind })?;
    if message.len() < kind.size() {
        return Err(DecodeFault::Short { kind, len: message.len() });
    }
    Ok((kind, body))
}

/// Reads the struct at the start of a body; the rest holds the page numbers of a GPADL, or nothing of
/// interest.
///
/// # Errors
/// [`DecodeFault::Short`].
pub fn read<M: ChannelMessage>(body: &[u8]) -> Result<(M, &[u8]), DecodeFault> {
    M::read_from_prefix(body)
        .map_err(|_| DecodeFault::Short { kind: M::TYPE, len: body.len().saturating_add(HEADER_SIZE) })
}

/// The whole message, header first.
#[must_use]
pub fn encode<M: ChannelMessage>(body: &M) -> Vec<u8> {
    encode_with_tail(body, &[])
}

/// The whole message with bytes behind its struct.
#[must_use]
pub fn encode_with_tail<M: ChannelMessage>(body: &M, tail: &[u8]) -> Vec<u8> {
    let header = Header { kind: U32::new(M::TYPE as u32), padding: U32::ZERO };
    let mut message = Vec::with_capacity(M::TYPE.size() + tail.len());
    message.extend_from_slice(header.as_bytes());
    message.extend_from_slice(body.as_bytes());
    message.extend_from_slice(tail);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_and_a_shorter_message_is_refused() {
        for &kind in MessageType::ALL {
            assert_eq!(MessageType::from_wire(kind as u32), Some(kind));
            let mut message = alloc::vec![0; kind.size()];
            message[0] = u8::try_from(kind as u32).expect("types are below 256");
            assert_eq!(split(&message).map(|(kind, body)| (kind, body.len())), Ok((kind, kind.size() - 8)));
            message.pop();
            let fault = split(&message).map(|(kind, _)| kind);
            if kind.size() == HEADER_SIZE {
                assert_eq!(fault, Err(DecodeFault::NoHeader { len: 7 }));
            } else {
                assert_eq!(fault, Err(DecodeFault::Short { kind, len: kind.size() - 1 }));
            }
        }
        assert_eq!(split(&[25, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeFault::UnknownType { kind: 25 }));
    }

    #[test]
    fn initiate_contact_bytes_of_linux_6_1_are_understood() {
        let mut message = [0_u8; 40];
        message[0] = 14;
        message[8..12].copy_from_slice(&[3, 0, 5, 0]);
        message[16] = 2;
        let (kind, body) = split(&message).expect("whole message");
        assert_eq!(kind, MessageType::InitiateContact);
        let (contact, rest) = read::<InitiateContact>(body).expect("whole message");
        assert_eq!((contact.version.get(), contact.msg_sint(), rest.len()), (0x0005_0003, 2, 0));
        assert_eq!(encode(&contact), message);
    }
}
