//! Pipe framing: the eight bytes {type, size} that video and mouse put before each message.
//!
//! A packet's length in the ring is padded to eight bytes, so only the size in this header says where the
//! message ends. The keyboard has no such header.

use thiserror::Error;

/// Bytes in a pipe header.
pub const HEADER_SIZE: usize = 8;
/// Largest message behind a header.
pub const MAX_MESSAGE: usize = 16384;
/// Header type of a whole message.
pub const TYPE_DATA: u32 = 1;
/// Header type of a part of a message, which no Linux driver sends.
pub const TYPE_PARTIAL: u32 = 2;

/// The guest framed a message wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PipeFault {
    /// The payload cannot hold a header.
    #[error("pipe packet has {len} bytes, its header alone needs {HEADER_SIZE}")]
    Short {
        /// Payload bytes.
        len: usize,
    },
    /// A part of a message; this host takes whole messages only.
    #[error("pipe message of {size} bytes is partial (type 2), only whole ones (type 1) are taken")]
    Partial {
        /// Declared size.
        size: u32,
    },
    /// Neither data nor partial.
    #[error("pipe type {kind:#x} is unknown, data is 0x1")]
    UnknownType {
        /// Declared type.
        kind: u32,
    },
    /// The declared size runs past the packet.
    #[error("pipe message declares {size} bytes, the packet holds {available}")]
    Truncated {
        /// Declared size.
        size: u32,
        /// Bytes behind the header.
        available: usize,
    },
    /// The declared size is larger than a pipe message may be.
    #[error("pipe message declares {size} bytes, limit is {MAX_MESSAGE}")]
    TooLong {
        /// Declared size.
        size: u32,
    },
}

/// A message of ours does not fit a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("message of {len} bytes does not fit a pipe, limit is {MAX_MESSAGE}")]
pub struct MessageTooLong {
    /// Bytes in the message.
    pub len: usize,
}

/// The message inside a pipe packet's payload; padding after it is left out.
///
/// # Errors
/// Every [`PipeFault`]; the packet is lost, the pipe can go on.
pub fn unframe(payload: &[u8]) -> Result<&[u8], PipeFault> {
    let Some((header, rest)) = payload.split_first_chunk::<HEADER_SIZE>() else {
        return Err(PipeFault::Short { len: payload.len() });
    };
    let [k0, k1, k2, k3, s0, s1, s2, s3] = *header;
    let kind = u32::from_le_bytes([k0, k1, k2, k3]);
    let size = u32::from_le_bytes([s0, s1, s2, s3]);
    match kind {
        TYPE_DATA => {}
        TYPE_PARTIAL => return Err(PipeFault::Partial { size }),
        _ => return Err(PipeFault::UnknownType { kind }),
    }
    let wanted = usize::try_from(size).unwrap_or(usize::MAX);
    if wanted > MAX_MESSAGE {
        return Err(PipeFault::TooLong { size });
    }
    rest.get(..wanted).ok_or(PipeFault::Truncated { size, available: rest.len() })
}

/// The header for a message of `len` bytes; write it and the message as two parts of one packet.
///
/// # Errors
/// [`MessageTooLong`] above [`MAX_MESSAGE`].
pub fn header(len: usize) -> Result<[u8; HEADER_SIZE], MessageTooLong> {
    let size = u32::try_from(len).ok().filter(|_| len <= MAX_MESSAGE).ok_or(MessageTooLong { len })?;
    let mut bytes = [0; HEADER_SIZE];
    bytes[..4].copy_from_slice(&TYPE_DATA.to_le_bytes());
    bytes[4..].copy_from_slice(&size.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_behind_the_message_is_not_part_of_it() {
        let payload = [1, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0];
        assert_eq!(unframe(&payload), Ok(&b"abc"[..]));
        assert_eq!(header(3).as_ref().map(|header| &header[..]), Ok(&payload[..8]));
    }

    #[test]
    fn every_wrong_frame_is_named() {
        assert_eq!(unframe(&[1, 0, 0]), Err(PipeFault::Short { len: 3 }));
        assert_eq!(unframe(&[2, 0, 0, 0, 9, 0, 0, 0]), Err(PipeFault::Partial { size: 9 }));
        assert_eq!(unframe(&[7, 0, 0, 0, 0, 0, 0, 0]), Err(PipeFault::UnknownType { kind: 7 }));
        assert_eq!(unframe(&[1, 0, 0, 0, 1, 0, 0, 0]), Err(PipeFault::Truncated { size: 1, available: 0 }));
        assert_eq!(unframe(&[1, 0, 0, 0, 1, 0x40, 0, 0]), Err(PipeFault::TooLong { size: 16385 }));
        assert_eq!(header(MAX_MESSAGE + 1), Err(MessageTooLong { len: 16385 }));
    }

    #[test]
    fn linux_mouse_packet_longer_than_its_pipe_size_is_cut_to_the_size() {
        // hid-hyperv 6.1 declares three ring bytes more than its pipe header.
        let payload = [1, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
        assert_eq!(unframe(&payload).map(<[u8]>::len), Ok(12));
    }
}
