//! A bzImage around a few bytes of machine code, for tests.

/// Where the image asks to be loaded.
pub(crate) const BASE: u64 = 0x100_0000;
/// Memory that it says it needs there.
pub(crate) const INIT_BYTES: u32 = 0x10_0000;
/// One boot sector and one setup sector.
const SETUP_BYTES: usize = 2 * 512;
/// 64-bit entry, from the end of the setup sectors.
const ENTRY: usize = 0x200;

/// An image whose header has the fields of a Debian 6.1 kernel, and whose 64-bit entry is `code`.
pub(crate) fn bzimage(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; SETUP_BYTES + ENTRY];
    let mut set = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    set(0x1f1, &[1]);
    set(0x1fe, &[0x55, 0xaa]);
    set(0x202, b"HdrS");
    set(0x206, &0x020f_u16.to_le_bytes());
    set(0x211, &[1]);
    set(0x214, &0x10_0000_u32.to_le_bytes());
    set(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    set(0x236, &0x7f_u16.to_le_bytes());
    set(0x238, &2047_u32.to_le_bytes());
    set(0x258, &BASE.to_le_bytes());
    set(0x260, &INIT_BYTES.to_le_bytes());
    image.extend_from_slice(code);
    image
}
