//! Guest RAM, mapped where the guest sees RAM.
//!
//! It is anonymous memory for which huge pages are asked: KVM then maps 2 MiB with one fault, where a boot takes some 27,000 faults of a
//! page each. Under a kernel that knows no huge pages it is a memfd, as VRAM is. Either is told from this program's own memory by
//! `/proc/self/smaps` (`session/holdings.rs`).

use std::fs::File;
use std::io;
use std::sync::Arc;

use hv_kvm::mem_slots::advise_huge_pages;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use super::error::MachineError;

/// What KVM maps at once, if host and guest addresses agree in the bits below.
const HUGE_PAGE: usize = 2 << 20;
/// How often a mapping is moved to where they agree, before it is taken as it is.
const TRIES: usize = 8;

/// Creates RAM of the given ranges, all zero.
///
/// # Errors
/// [`MachineError::Memory`] when the host cannot provide it.
pub(super) fn create(ranges: &[(GuestAddress, usize)]) -> Result<GuestMemoryMmap, MachineError> {
    let ram = in_huge_pages(ranges).or_else(|error| {
        tracing::debug!("guest RAM is a memfd, as it cannot be anonymous memory of huge pages: {error}");
        in_memfd(ranges)
    });
    let bytes = ranges.iter().map(|&(_, len)| len as u64).sum();
    ram.map_err(|source| MachineError::Memory { bytes, source })
}

/// Of pages that the system makes huge where it can.
fn in_huge_pages(ranges: &[(GuestAddress, usize)]) -> io::Result<GuestMemoryMmap> {
    let region = |&(base, len): &(GuestAddress, usize)| {
        let region = agreeing(base, len)?;
        advise_huge_pages(&region)?;
        GuestRegionMmap::new(region, base).ok_or_else(|| io::Error::other("RAM beyond the address space"))
    };
    let regions = ranges.iter().map(region).collect::<io::Result<Vec<_>>>()?;
    GuestMemoryMmap::from_regions(regions).map_err(io::Error::other)
}

/// Anonymous memory whose address agrees with `base` in what is less than a huge page. The system chooses the address: since Linux 6.7 a
/// multiple of a huge page, as every `base` is; before that the end of the highest gap that is large enough, or the beginning of the lowest with an
/// unlimited stack. So a mapping that is off by some bytes is made again beside another that takes so much of its old place that it cannot
/// be off: by turns for the one case and for the other. Where that fails, RAM is right and takes more faults.
fn agreeing(base: GuestAddress, len: usize) -> io::Result<MmapRegion> {
    let map = |len| MmapRegion::new(len).map_err(io::Error::other);
    let mut region = map(len)?;
    for attempt in 0..TRIES {
        let off = off_by(&region, base);
        if off == 0 {
            return Ok(region);
        }
        drop(region);
        let _beside = map(if attempt % 2 == 0 { HUGE_PAGE + off } else { 2 * HUGE_PAGE - off })?;
        region = map(len)?;
    }
    tracing::debug!("guest RAM at {base:?} lies {} bytes off a huge page", off_by(&region, base));
    Ok(region)
}

/// Bytes by which a mapping lies above an address that agrees with `base`.
fn off_by(region: &MmapRegion, base: GuestAddress) -> usize {
    let guest = usize::try_from(base.0).unwrap_or(0);
    region.as_ptr().addr().wrapping_sub(guest) % HUGE_PAGE
}

/// Of one memfd, whose size is sealed: a mapping that shrinks below a running guest would kill this process.
fn in_memfd(ranges: &[(GuestAddress, usize)]) -> io::Result<GuestMemoryMmap> {
    let bytes = ranges.iter().map(|&(_, len)| len as u64).sum();
    let file = Arc::new(sealed_memfd(bytes)?);
    let mut offset = 0;
    let mut placed = Vec::with_capacity(ranges.len());
    for &(base, len) in ranges {
        placed.push((base, len, Some(FileOffset::from_arc(Arc::clone(&file), offset))));
        offset += len as u64;
    }
    GuestMemoryMmap::from_ranges_with_files(placed).map_err(io::Error::other)
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

    const BOTH: [(GuestAddress, usize); 2] = [(GuestAddress(0), 64 << 20), (GuestAddress(4 << 30), 32 << 20)];

    #[test]
    fn host_and_guest_addresses_agree_below_a_huge_page() {
        let ram = match in_huge_pages(&BOTH) {
            Ok(ram) => ram,
            Err(error) => return println!("skipped, no huge pages: {error}"),
        };
        for (region, (base, len)) in ram.iter().zip(BOTH) {
            assert_eq!((region.start_addr(), region.len()), (base, len as u64));
            assert_eq!(off_by(region, base), 0, "{base:?}");
        }
        assert_eq!(ram.read_obj::<u64>(BOTH[1].0).unwrap(), 0);
        ram.write_obj(7_u64, BOTH[0].0).unwrap();
        assert_eq!(ram.read_obj::<u64>(BOTH[0].0).unwrap(), 7);
    }

    #[test]
    fn ranges_of_a_memfd_share_it_and_start_as_zero() {
        let ram = in_memfd(&[(GuestAddress(0), 0x2000), (GuestAddress(1 << 32), 0x1000)]).unwrap();
        assert_eq!(ram.read_obj::<u64>(GuestAddress(1 << 32)).unwrap(), 0);
        let offsets: Vec<_> = ram.iter().filter_map(|r| r.file_offset().map(FileOffset::start)).collect();
        assert_eq!(offsets, [0, 0x2000]);
    }

    #[test]
    fn size_of_a_memfd_is_sealed() {
        let ram = in_memfd(&[(GuestAddress(0), 0x1000)]).unwrap();
        let region = ram.iter().next().unwrap();
        assert!(region.file_offset().unwrap().file().set_len(0).is_err());
    }
}
