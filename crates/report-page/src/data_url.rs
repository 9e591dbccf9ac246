//! Pictures inside of a page.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// First bytes of every PNG file.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The width and the height that a PNG file's first chunk declares; `None` if it is no PNG.
pub(crate) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.strip_prefix(SIGNATURE)?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    (header.get(4..8)? == b"IHDR").then_some((number(8)?, number(12)?))
}

/// A PNG file as the value of an `src` attribute.
pub(crate) fn png(bytes: &[u8]) -> String {
    let mut url = String::from("data:image/png;base64,");
    url.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().unwrap_or(0);
        let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            let letter =
                usize::try_from(sextet).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'A');
            url.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spelled_as_rfc_4648_spells_them() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(png(bytes.as_bytes()), format!("data:image/png;base64,{text}"));
        }
        assert!(png(&[0xff, 0xff, 0xfe]).ends_with("///+"));
    }

    #[test]
    fn size_is_read_from_a_png_and_from_nothing_else() {
        let mut file = SIGNATURE.to_vec();
        file.extend([0, 0, 0, 13]);
        file.extend(b"IHDR");
        file.extend([0, 0, 4, 0, 0, 0, 3, 0]);
        assert_eq!(png_size(&file), Some((1024, 768)));
        for end in 0..file.len() {
            assert_eq!(png_size(&file[..end]), None, "{end} bytes");
        }
        assert_eq!(png_size(b"GIF89a"), None);
    }
}
