//! The one thing the lab has to know of an ELF file: which interpreter it asks for.

/// Why a file is not an ELF that the lab can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It is not an x86-64 ELF, but for example a script.
    #[error("not an x86-64 ELF file")]
    NotElf,
    /// A header points outside of the file.
    #[error("program header {index} points outside of the file")]
    Truncated {
        /// Which program header.
        index: usize,
    },
}

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const MACHINE_X86_64: u16 = 62;
const PT_INTERP: u32 = 3;

/// The interpreter (dynamic loader) in the PT_INTERP header; none for a static program.
///
/// # Errors
/// [`ElfError`] if the file is something else, or cut short.
pub fn interpreter(file: &[u8]) -> Result<Option<String>, ElfError> {
    if !file.starts_with(MAGIC) || u16_at(file, 18) != Some(MACHINE_X86_64) {
        return Err(ElfError::NotElf);
    }
    let headers = u64_at(file, 32).ok_or(ElfError::NotElf)?;
    let entry_bytes = usize::from(u16_at(file, 54).ok_or(ElfError::NotElf)?);
    let count = usize::from(u16_at(file, 56).ok_or(ElfError::NotElf)?);
    for index in 0..count {
        let truncated = ElfError::Truncated { index };
        let header = slice(file, headers, usize::MAX)
            .and_then(|table| table.get(index * entry_bytes..))
            .ok_or_else(|| truncated.clone())?;
        if u32_at(header, 0) != Some(PT_INTERP) {
            continue;
        }
        let (offset, length) =
            (u64_at(header, 8), u64_at(header, 32).and_then(|size| usize::try_from(size).ok()));
        let path =
            offset.zip(length).and_then(|(offset, length)| slice(file, offset, length)).ok_or(truncated)?;
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(path).into_owned()));
    }
    Ok(None)
}

/// `length` bytes from `offset`, or to the end if `length` is `usize::MAX`.
fn slice(bytes: &[u8], offset: u64, length: usize) -> Option<&[u8]> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    if length == usize::MAX { Some(rest) } else { rest.get(..length) }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn own_test_program_asks_for_the_system_loader() {
        assert_eq!(interpreter(&own()), Ok(Some("/lib64/ld-linux-x86-64.so.2".into())));
    }

    #[test]
    fn script_is_not_an_elf() {
        assert_eq!(interpreter(b"#!/bin/sh\n"), Err(ElfError::NotElf));
        assert_eq!(interpreter(b""), Err(ElfError::NotElf));
    }

    #[test]
    fn file_cut_after_its_header_is_truncated() {
        assert_eq!(interpreter(&own()[..64]), Err(ElfError::Truncated { index: 0 }));
    }
}
