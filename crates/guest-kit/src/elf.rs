//! What has to be known of an ELF file: which interpreter a program asks for, whether it is linked, and a section by its name.

/// Why a file says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ElfError {
    /// It is not an x86-64 ELF, but for example a script.
    #[error("not an x86-64 ELF file")]
    NotElf,
    /// A header is outside of the file, or points there.
    #[error("{header} header {index} is not within the file")]
    Truncated {
        /// Of which table: "program" or "section".
        header: &'static str,
        /// Its index.
        index: usize,
    },
}

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const MACHINE_X86_64: u16 = 62;
const ET_REL: u16 = 1;
const PT_INTERP: u32 = 3;

/// The interpreter (dynamic loader) in the PT_INTERP header; none for a static program.
///
/// # Errors
/// [`ElfError`] if the file is something else, or cut short.
pub(crate) fn interpreter(file: &[u8]) -> Result<Option<String>, ElfError> {
    let table = Table::read(file, "program", 32, 54, 56)?;
    for index in 0..table.count {
        let header = table.header(index)?;
        if u32_at(header, 0) == Some(PT_INTERP) {
            let path =
                slice(file, u64_at(header, 8), u64_at(header, 32)).ok_or_else(|| table.truncated(index))?;
            return Ok(Some(text_until_nul(path)));
        }
    }
    Ok(None)
}

/// Whether the file has yet to be linked, as a kernel module does when it is loaded.
///
/// # Errors
/// [`ElfError::NotElf`] if the file is something else.
pub(crate) fn is_relocatable(file: &[u8]) -> Result<bool, ElfError> {
    if !file.starts_with(MAGIC) || u16_at(file, 18) != Some(MACHINE_X86_64) {
        return Err(ElfError::NotElf);
    }
    Ok(u16_at(file, 16) == Some(ET_REL))
}

/// The contents of the section called `name`, if there is one.
///
/// # Errors
/// [`ElfError`] if the file is something else, or cut short.
pub(crate) fn section<'a>(file: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, ElfError> {
    let table = Table::read(file, "section", 40, 58, 60)?;
    let contents = |index| {
        let header = table.header(index)?;
        slice(file, u64_at(header, 24), u64_at(header, 32)).ok_or_else(|| table.truncated(index))
    };
    let names = contents(usize::from(u16_at(file, 62).ok_or(ElfError::NotElf)?))?;
    for index in 1..table.count {
        let at = u32_at(table.header(index)?, 0).and_then(|at| usize::try_from(at).ok());
        if at.and_then(|at| names.get(at..)).is_some_and(|found| text_until_nul(found) == name) {
            return contents(index).map(Some);
        }
    }
    Ok(None)
}

/// A table of headers of equal size.
struct Table<'a> {
    kind: &'static str,
    bytes: &'a [u8],
    entry_bytes: usize,
    count: usize,
}

impl<'a> Table<'a> {
    /// Reads where the table is from the file header's fields at `offset`, `entry_bytes` and `count`.
    fn read(
        file: &'a [u8],
        kind: &'static str,
        offset: usize,
        entry_bytes: usize,
        count: usize,
    ) -> Result<Self, ElfError> {
        if !file.starts_with(MAGIC) || u16_at(file, 18) != Some(MACHINE_X86_64) {
            return Err(ElfError::NotElf);
        }
        let at = u64_at(file, offset).and_then(|at| usize::try_from(at).ok()).ok_or(ElfError::NotElf)?;
        Ok(Self {
            kind,
            bytes: file.get(at..).ok_or(ElfError::Truncated { header: kind, index: 0 })?,
            entry_bytes: u16_at(file, entry_bytes).ok_or(ElfError::NotElf)?.into(),
            count: u16_at(file, count).ok_or(ElfError::NotElf)?.into(),
        })
    }

    fn header(&self, index: usize) -> Result<&'a [u8], ElfError> {
        let start = index * self.entry_bytes;
        self.bytes.get(start..start + self.entry_bytes).ok_or_else(|| self.truncated(index))
    }

    const fn truncated(&self, index: usize) -> ElfError {
        ElfError::Truncated { header: self.kind, index }
    }
}

fn slice(bytes: &[u8], offset: Option<u64>, length: Option<u64>) -> Option<&[u8]> {
    let (offset, length) = (usize::try_from(offset?).ok()?, usize::try_from(length?).ok()?);
    bytes.get(offset..offset.checked_add(length)?)
}

fn text_until_nul(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
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
        let cut = &own()[..64];
        assert_eq!(interpreter(cut), Err(ElfError::Truncated { header: "program", index: 0 }));
        assert!(matches!(section(cut, ".text"), Err(ElfError::Truncated { header: "section", .. })));
    }

    #[test]
    fn section_is_found_by_its_name() {
        let own = own();
        let comment = section(&own, ".interp").unwrap().map(text_until_nul);
        assert_eq!(comment.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(section(&own, ".no-such-section"), Ok(None));
    }
}
