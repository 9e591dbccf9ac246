//! The lab's kernel, unpacked once: the emulator takes longer to decompress a kernel (3.3 s for Debian 6.1's XZ) than to boot it.
//!
//! QEMU starts an uncompressed kernel by its PVH entry. Where anything stands in the way, the compressed image does too, just slower.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::packages::GuestKernel;

/// Where the fields are in a bzImage: Linux's `Documentation/arch/x86/boot.rst`, protocol 2.08 and later.
mod header {
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
}

const SECTOR_BYTES: usize = 512;

/// The build appends the uncompressed length to the payload.
const LENGTH_BYTES: usize = 4;

/// How a payload begins, and what unpacks it from standard input to standard output.
const UNPACKERS: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// The kernel for QEMU: unpacked beside the package in the cache if that can be, else the image of the package.
pub(super) fn for_qemu(kernel: &GuestKernel) -> PathBuf {
    match unpacked(kernel) {
        Ok(path) => path,
        Err(error) => {
            tracing::debug!(%error, "using the compressed kernel {}", kernel.image.display());
            kernel.image.clone()
        }
    }
}

fn unpacked(kernel: &GuestKernel) -> io::Result<PathBuf> {
    let directory = kernel.image.parent().ok_or(io::ErrorKind::NotFound)?;
    let place = directory.join(format!("vmlinux-{}", kernel.release));
    if place.is_file() {
        return Ok(place);
    }
    let elf = unpack(&fs::read(&kernel.image)?)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&elf)?;
    file.persist(&place)?;
    Ok(place)
}

fn unpack(image: &[u8]) -> io::Result<Vec<u8>> {
    let (payload, length) = payload(image).ok_or_else(|| io::Error::other("not a bzImage with a payload"))?;
    let unpacker = UNPACKERS.iter().find(|(magic, _)| payload.starts_with(magic));
    let (_, program) = unpacker.ok_or_else(|| io::Error::other("compressed in another way"))?;
    let elf = filter(program, payload)?;
    if elf.len() != length || !elf.starts_with(b"\x7fELF") {
        let found = elf.len();
        return Err(io::Error::other(format!(
            "{program} made {found} bytes of it, expected an ELF of {length}"
        )));
    }
    Ok(elf)
}

/// The compressed kernel in a bzImage, and its uncompressed length.
fn payload(image: &[u8]) -> Option<(&[u8], usize)> {
    let u32_at = |bytes: &[u8], offset: usize| {
        usize::try_from(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?)).ok()
    };
    if !image.get(header::MAGIC..)?.starts_with(b"HdrS") {
        return None;
    }
    let setup = (usize::from(*image.get(header::SETUP_SECTORS)?) + 1) * SECTOR_BYTES;
    let start = setup.checked_add(u32_at(image, header::PAYLOAD_OFFSET)?)?;
    let bytes = image.get(start..start.checked_add(u32_at(image, header::PAYLOAD_LENGTH)?)?)?;
    let (payload, length) = bytes.split_at_checked(bytes.len().checked_sub(LENGTH_BYTES)?)?;
    Some((payload, u32_at(length, 0)?))
}

/// Sends `input` through a program.
fn filter(program: &str, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    io::Seek::rewind(&mut file)?;
    let output = Command::new(Path::new(program)).arg("-dc").stdin(file).stderr(Stdio::null()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(io::Error::other(format!("{program} failed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage with one setup sector and this payload, in gzip.
    fn image(elf: &[u8], claimed_length: usize) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(elf).unwrap();
        let packed = Command::new("gzip").arg("-c").arg(file.path()).output().unwrap().stdout;
        let mut image = vec![0; 2 * SECTOR_BYTES];
        image[header::SETUP_SECTORS] = 1;
        image[header::MAGIC..header::MAGIC + 4].copy_from_slice(b"HdrS");
        image[header::PAYLOAD_OFFSET] = 16;
        let length = u32::try_from(packed.len() + LENGTH_BYTES).unwrap();
        image[header::PAYLOAD_LENGTH..header::PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend([0; 16]);
        image.extend(packed);
        image.extend(u32::try_from(claimed_length).unwrap().to_le_bytes());
        image.extend([0xee; 100]);
        image
    }

    #[test]
    fn kernel_is_unpacked_from_its_image() {
        let elf = b"\x7fELF and the rest";
        assert_eq!(unpack(&image(elf, elf.len())).unwrap(), elf);
    }

    #[test]
    fn wrong_length_wrong_content_and_cut_images_are_errors() {
        assert!(
            unpack(&image(b"\x7fELF", 5))
                .unwrap_err()
                .to_string()
                .contains("4 bytes of it, expected an ELF of 5")
        );
        assert!(unpack(&image(b"text", 4)).is_err());
        let whole = image(b"\x7fELF", 4);
        for cut in [0, header::MAGIC, header::PAYLOAD_LENGTH, 2 * SECTOR_BYTES + 20] {
            assert!(unpack(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
