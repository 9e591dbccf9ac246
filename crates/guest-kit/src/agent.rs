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

    #[test]
    fn program_refuses_to_run_unless_it_is_init() {
        let output = std::process::Command::new(concat!(env!("OUT_DIR"), "/guest-agent")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("runs only as PID 1"), "{message}");
    }
}
