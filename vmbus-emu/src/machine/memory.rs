//! Guest RAM: one sealed memfd, mapped where the guest sees RAM.

use std::fs::File;
use std::io;
use std::sync::Arc;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use super::error::MachineError;

/// Creates RAM of the given ranges, all zero.
///
/// It is a memfd, and not anonymous memory, so that another process can be given the descriptor. Its size
/// is sealed: a mapping that shrinks below a running guest would kill this process.
///
/// # Errors
/// [`MachineError::Memory`] when the host cannot provide it.
pub(super) fn create(ranges: &[(GuestAddress, usize)]) -> Result<GuestMemoryMmap, MachineError> {
    let bytes: u64 = ranges.iter().map(|&(_, len)| len as u64).sum();
    let error = |source: io::Error| MachineError::Memory { bytes, source };
    let file = Arc::new(sealed_memfd(bytes).map_err(error)?);
    let mut offset = 0;
    let mut placed = Vec::with_capacity(ranges.len());
    for &(base, len) in ranges {
        placed.push((base, len, Some(FileOffset::from_arc(Arc::clone(&file), offset))));
        offset += len as u64;
    }
    GuestMemoryMmap::from_ranges_with_files(placed).map_err(|source| error(io::Error::other(source)))
}

fn sealed_memfd(bytes: u64) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("guest-ram", flags)?);
    file.set_len(bytes)?;
    let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

    use super::*;

    #[test]
    fn both_ranges_share_one_file_and_start_as_zero() {
        let ram = create(&[(GuestAddress(0), 0x2000), (GuestAddress(1 << 32), 0x1000)]).unwrap();
        assert_eq!(ram.read_obj::<u64>(GuestAddress(1 << 32)).unwrap(), 0);
        let offsets: Vec<_> = ram.iter().filter_map(|r| r.file_offset().map(FileOffset::start)).collect();
        assert_eq!(offsets, [0, 0x2000]);
    }

    #[test]
    fn size_of_ram_is_sealed() {
        let ram = create(&[(GuestAddress(0), 0x1000)]).unwrap();
        let region = ram.iter().next().unwrap();
        assert!(region.file_offset().unwrap().file().set_len(0).is_err());
    }
}
