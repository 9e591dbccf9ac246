//! The payload of one SynIC message.

use core::fmt;
use core::ops::Deref;

use hv_abi::message::MAX_PAYLOAD;
use thiserror::Error;

/// Up to 240 bytes of message payload, copied out of or on their way into guest memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// Zero past `len`, so that equality of arrays is equality of payloads.
    bytes: [u8; MAX_PAYLOAD],
    len: u8,
}

/// More bytes than a message slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("message payload of {len} bytes, limit is {MAX_PAYLOAD}")]
pub struct PayloadTooLong {
    /// Bytes offered.
    pub len: usize,
}

impl Payload {
    /// Payload size as the slot's header carries it.
    pub const fn size(&self) -> u8 {
        self.len
    }
}

impl TryFrom<&[u8]> for Payload {
    type Error = PayloadTooLong;

    fn try_from(source: &[u8]) -> Result<Self, PayloadTooLong> {
        let too_long = PayloadTooLong { len: source.len() };
        let len = u8::try_from(source.len()).map_err(|_| too_long)?;
        let mut bytes = [0; MAX_PAYLOAD];
        bytes.get_mut(..source.len()).ok_or(too_long)?.copy_from_slice(source);
        Ok(Self { bytes, len })
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:02x?})", &**self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_and_forty_bytes_fit_and_one_more_does_not() {
        let full = [7_u8; MAX_PAYLOAD];
        assert_eq!(Payload::try_from(&full[..]).as_deref(), Ok(&full[..]));
        assert_eq!(Payload::try_from(&[0_u8; MAX_PAYLOAD + 1][..]), Err(PayloadTooLong { len: 241 }));
        assert_eq!(Payload::try_from(&[0_u8; 70_000][..]), Err(PayloadTooLong { len: 70_000 }));
    }
}
