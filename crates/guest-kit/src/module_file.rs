//! Module files as they lie on disk: plain, or compressed with xz as Debian does since Linux 6.12.
//!
//! What is in an initramfs is plain, whatever the guest's kernel can unpack itself. The other compressions that kbuild knows (gzip,
//! zstd) are left to the kernel.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use lzma_rust2::XzReader;

/// The largest module that is unpacked. The largest in Debian's kernels has about 20 MiB.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// What the decompressor may take. kbuild compresses with a dictionary of 1 or 2 MiB.
const MAX_DICTIONARY_KIB: u32 = 64 << 10;

/// Whether [`read`] unpacks this file.
pub(crate) fn is_xz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "xz")
}

/// The module's bytes, unpacked if the file's name ends in `.xz`.
///
/// # Errors
/// The file cannot be read, is no xz stream, or holds more than [`MAX_BYTES`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = io::BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    if is_xz(path) {
        XzReader::new_mem_limit(file, false, MAX_DICTIONARY_KIB)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
    } else {
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("the module has more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// "module contents\n" as `xz --check=crc32 --lzma2=dict=1MiB` writes it.
    pub(crate) const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01, 0x10,
        0x00, 0x00, 0x00, 0xa8, 0x70, 0x8e, 0x86, 0x01, 0x00, 0x0f, 0x6d, 0x6f, 0x64, 0x75, 0x6c, 0x65, 0x20,
        0x63, 0x6f, 0x6e, 0x74, 0x65, 0x6e, 0x74, 0x73, 0x0a, 0x00, 0xc0, 0xd9, 0x21, 0xa1, 0x00, 0x01, 0x24,
        0x10, 0xe9, 0x44, 0xd9, 0xcc, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ];
    pub(crate) const CONTENTS: &[u8] = b"module contents\n";

    #[test]
    fn xz_file_is_unpacked_and_a_plain_one_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (packed, plain) = (dir.path().join("m.ko.xz"), dir.path().join("m.ko"));
        fs::write(&packed, XZ).unwrap();
        fs::write(&plain, XZ).unwrap();
        assert_eq!(read(&packed).unwrap(), CONTENTS);
        assert_eq!(read(&plain).unwrap(), XZ);
    }

    #[test]
    fn damaged_xz_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ko.xz");
        for length in [0, 5, 20, XZ.len() - 1] {
            fs::write(&path, XZ.get(..length).unwrap()).unwrap();
            assert!(read(&path).is_err(), "cut to {length} bytes");
        }
        let mut flipped = XZ.to_vec();
        for byte in flipped.iter_mut().skip(24).take(8) {
            *byte ^= 0xff;
        }
        fs::write(&path, flipped).unwrap();
        assert!(read(&path).is_err(), "damaged");
    }
}
