//! The guest's init, built by this package's build script and carried in the host's program.

/// The static `guest-agent` program: an x86-64 ELF that runs in any Linux guest, and refuses to unless it is PID 1.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-agent"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_an_elf_without_an_interpreter() {
        let elf = crate::elf::interpreter(PROGRAM);
        assert_eq!(elf, Ok(None));
    }
}
