//! The bzImage: recognised by its header, loaded above 1 MiB, followed by the initial RAM disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::machine::error::MachineError;

/// The 64-bit entry point lies this far behind the load address (boot.rst, "64-bit boot protocol").
pub(super) const ENTRY_64_OFFSET: u64 = 0x200;

/// Offset of the setup header's first byte in the file.
const SETUP_HEADER: u64 = 0x1f1;
const MAGIC_OFFSET: usize = 0x202;
const MAGIC: &[u8; 4] = b"HdrS";
const BOOT_FLAG_OFFSET: usize = 0x1fe;
const BOOT_FLAG: [u8; 2] = [0x55, 0xaa];
const VERSION_OFFSET: usize = 0x206;
/// Protocol 2.12 brought `xloadflags`.
const MIN_VERSION: u16 = 0x020c;
const LOADFLAGS_OFFSET: usize = 0x211;
const LOADED_HIGH: u8 = 1;
const XLOADFLAGS_OFFSET: usize = 0x236;
/// The kernel has a 64-bit entry point at 0x200.
const XLF_KERNEL_64: u16 = 1;
const PREFERRED_ADDRESS_OFFSET: usize = 0x258;
const INIT_SIZE_OFFSET: usize = 0x260;
/// Bytes of the file that the checks look at.
const HEAD_BYTES: usize = 0x280;

/// Lowest address of a kernel: everything below is the PC's first megabyte.
const HIGH_MEMORY: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// A kernel file whose header has been checked.
#[derive(Debug)]
pub(crate) struct KernelImage {
    path: PathBuf,
    file: File,
    base: u64,
    /// Bytes that the kernel needs from its base while it unpacks itself.
    init_bytes: u64,
    file_bytes: u64,
}

/// A kernel in guest memory.
#[derive(Debug)]
pub(super) struct LoadedKernel {
    pub(super) base: u64,
    /// End of the memory that it unpacks itself in.
    pub(super) end: u64,
    pub(super) header: setup_header,
}

/// Where the initial RAM disk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initrd {
    pub(super) base: u32,
    pub(super) bytes: u32,
}

impl KernelImage {
    /// Opens a kernel and checks that it is a 64-bit bzImage.
    ///
    /// # Errors
    /// [`MachineError::File`] and [`MachineError::NotBzImage`].
    pub(crate) fn open(path: &Path) -> Result<Self, MachineError> {
        let file_error = |source| MachineError::File { what: "kernel", path: path.to_owned(), source };
        let mut file = open_regular(path).map_err(file_error)?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        Read::by_ref(&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(file_error)?;
        let file_bytes = file.seek(SeekFrom::End(0)).map_err(file_error)?;
        let (base, init_bytes) = check_header(&head)
            .map_err(|reason| MachineError::NotBzImage { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), file, base, init_bytes, file_bytes })
    }

    /// Copies the kernel to the address that it prefers.
    pub(super) fn load(mut self, ram: &GuestMemoryMmap, low_end: u64) -> Result<LoadedKernel, MachineError> {
        let bytes = self.init_bytes.max(self.file_bytes);
        let end = self.base.checked_add(bytes).filter(|&end| end <= low_end);
        let Some(end) = end else {
            return Err(MachineError::DoesNotFit {
                what: "kernel",
                bytes,
                floor: self.base,
                ceiling: low_end,
            });
        };
        let not_kernel = |reason: String| MachineError::NotBzImage { path: self.path.clone(), reason };
        let base = GuestAddress(self.base);
        let loaded = BzImage::load(ram, Some(base), &mut self.file, Some(GuestAddress(HIGH_MEMORY)))
            .map_err(|error| not_kernel(error.to_string()))?;
        let header = loaded.setup_header.ok_or_else(|| not_kernel("it has no setup header".to_owned()))?;
        Ok(LoadedKernel { base: self.base, end, header })
    }
}

/// Preferred load address and memory needed there.
fn check_header(head: &[u8]) -> Result<(u64, u64), String> {
    if head.starts_with(b"\x7fELF") {
        return Err("it is an ELF file; give it the bzImage (arch/x86/boot/bzImage, vmlinuz)".to_owned());
    }
    let magic = field::<4>(head, MAGIC_OFFSET)?;
    if field::<2>(head, BOOT_FLAG_OFFSET)? != BOOT_FLAG || magic != *MAGIC {
        return Err(format!("it has no setup header at {SETUP_HEADER:#x}"));
    }
    let version = u16::from_le_bytes(field(head, VERSION_OFFSET)?);
    if version < MIN_VERSION {
        return Err(format!("its boot protocol is {version:#06x}, at least {MIN_VERSION:#06x} is needed"));
    }
    let [loadflags] = field::<1>(head, LOADFLAGS_OFFSET)?;
    if loadflags & LOADED_HIGH == 0 {
        return Err("it is a zImage, which loads below 1 MiB".to_owned());
    }
    if u16::from_le_bytes(field(head, XLOADFLAGS_OFFSET)?) & XLF_KERNEL_64 == 0 {
        return Err("it has no 64-bit entry point".to_owned());
    }
    let base = u64::from_le_bytes(field(head, PREFERRED_ADDRESS_OFFSET)?);
    let init_bytes = u32::from_le_bytes(field(head, INIT_SIZE_OFFSET)?);
    if base < HIGH_MEMORY || base % PAGE != 0 {
        return Err(format!("its preferred address {base:#x} is not a page above {HIGH_MEMORY:#x}"));
    }
    Ok((base, u64::from(init_bytes)))
}

fn field<const N: usize>(head: &[u8], at: usize) -> Result<[u8; N], String> {
    let bytes = head.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("it has only {} bytes", head.len()))
}

/// Copies the initial RAM disk as high as the kernel allows, so that the kernel can grow below it.
pub(super) fn load_initrd(
    path: &Path,
    ram: &GuestMemoryMmap,
    kernel: &LoadedKernel,
    low_end: u64,
) -> Result<Initrd, MachineError> {
    let file_error = |source| MachineError::File { what: "initrd", path: path.to_owned(), source };
    let mut file = open_regular(path).map_err(file_error)?;
    let bytes = file.metadata().map_err(file_error)?.len();
    let ceiling = low_end.min(u64::from(kernel.header.initrd_addr_max).saturating_add(1));
    let does_not_fit = MachineError::DoesNotFit { what: "initrd", bytes, floor: kernel.end, ceiling };
    let base = ceiling.checked_sub(bytes).map(|base| base & !(PAGE - 1));
    let Some(base) = base.filter(|&base| base >= kernel.end) else { return Err(does_not_fit) };
    let (Ok(base_32), Ok(bytes_32)) = (u32::try_from(base), u32::try_from(bytes)) else {
        return Err(does_not_fit);
    };
    let count = usize::try_from(bytes).unwrap_or(usize::MAX);
    ram.read_exact_volatile_from(GuestAddress(base), &mut file, count)
        .map_err(|source| file_error(io::Error::other(source)))?;
    Ok(Initrd { base: base_32, bytes: bytes_32 })
}

/// Opens a file for reading; a directory is refused here and not by a strange error of `read` later.
fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::machine::boot::test_image::{BASE, INIT_BYTES, bzimage};

    fn header() -> Vec<u8> {
        bzimage(&[])[..HEAD_BYTES].to_vec()
    }

    fn with(at: usize, bytes: &[u8]) -> String {
        let mut head = header();
        head[at..at + bytes.len()].copy_from_slice(bytes);
        check_header(&head).unwrap_err()
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        File::create(&path).unwrap().write_all(bytes).unwrap();
        (dir, path)
    }

    fn ram(bytes: usize) -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), bytes)]).unwrap()
    }

    #[test]
    fn debian_header_is_accepted() {
        assert_eq!(check_header(&header()), Ok((BASE, u64::from(INIT_BYTES))));
    }

    #[test]
    fn each_wrong_header_says_what_is_wrong() {
        assert!(with(0, b"\x7fELF").contains("ELF"));
        assert!(with(MAGIC_OFFSET, b"Hdrs").contains("no setup header"));
        assert!(with(VERSION_OFFSET, &[0x0b, 0x02]).contains("0x020b"));
        assert!(with(LOADFLAGS_OFFSET, &[0]).contains("zImage"));
        assert!(with(XLOADFLAGS_OFFSET, &[0, 0]).contains("64-bit"));
        assert!(with(PREFERRED_ADDRESS_OFFSET, &[0; 8]).contains("preferred address"));
        assert_eq!(check_header(b"#!/bin/sh").unwrap_err(), "it has only 9 bytes");
    }

    #[test]
    fn missing_kernel_and_directory_are_named() {
        let error = KernelImage::open(Path::new("/nonexistent/vmlinuz")).unwrap_err().to_string();
        assert!(error.contains("kernel /nonexistent/vmlinuz"), "{error}");
        let error = KernelImage::open(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn text_file_is_not_a_bzimage() {
        let (_dir, path) = file(b"hello");
        let error = KernelImage::open(&path).unwrap_err();
        assert!(matches!(error, MachineError::NotBzImage { .. }), "{error}");
    }

    #[test]
    fn kernel_that_needs_more_memory_says_how_much() {
        let (_dir, path) = file(&header());
        let error = KernelImage::open(&path).unwrap().load(&ram(0x100_0000), 0x100_0000).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("kernel needs 0x100000 bytes between 0x1000000 and 0x1000000"), "{text}");
    }

    #[test]
    fn initrd_goes_to_the_top_and_not_over_the_kernel() {
        let (_kernel_dir, kernel) = file(&bzimage(&[0x90; 0x1000]));
        let (_initrd_dir, initrd) = file(&[7; 5000]);
        let memory = ram(0x180_0000);
        let loaded = KernelImage::open(&kernel).unwrap().load(&memory, 0x180_0000).unwrap();
        let placed = load_initrd(&initrd, &memory, &loaded, 0x180_0000).unwrap();
        assert_eq!(placed, Initrd { base: 0x17f_e000, bytes: 5000 });
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x17f_e000 + 4999)).unwrap(), 7);
        let error = load_initrd(&initrd, &memory, &loaded, loaded.end + 4096).unwrap_err().to_string();
        assert!(error.contains("initrd needs 0x1388 bytes"), "{error}");
    }
}
