//! Writing a message.

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::{HEADER_BYTES, Header, MessageType};

/// Writes the header of `kind` and the body made of `parts`, one after another, to the start of `buf`.
///
/// Gives the bytes written, or `None`, with `buf` unchanged, if it is too short.
/// The header's size counts header and body, as Linux does.
#[must_use]
pub fn encode(buf: &mut [u8], kind: MessageType, parts: &[&[u8]]) -> Option<usize> {
    let len = parts.iter().try_fold(HEADER_BYTES, |len, part| len.checked_add(part.len()))?;
    let header = Header { kind: U32::new(kind.number()), size: U32::new(u32::try_from(len).ok()?) };
    let (header_bytes, mut rest) = buf.get_mut(..len)?.split_at_mut_checked(HEADER_BYTES)?;
    header_bytes.copy_from_slice(header.as_bytes());
    for part in parts {
        let (place, after) = rest.split_at_mut_checked(part.len())?;
        place.copy_from_slice(part);
        rest = after;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_size_counts_header_and_body() {
        let mut buf = [0; 32];
        let len = encode(&mut buf, MessageType::Dirt, &[&[0, 1], &[9; 16]]);
        assert_eq!(len, Some(26));
        assert_eq!(buf[..10], [10, 0, 0, 0, 26, 0, 0, 0, 0, 1]);
        assert_eq!(buf[10..26], [9; 16]);
    }

    #[test]
    fn short_buffer_gives_none_and_stays_untouched() {
        let mut buf = [7; 11];
        assert_eq!(encode(&mut buf, MessageType::VersionRequest, &[&[0; 4]]), None);
        assert_eq!(buf, [7; 11]);
    }
}
