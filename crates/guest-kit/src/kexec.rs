//! What a guest needs to start a second kernel: its files under `/kexec`, and a program that makes the system call.
//!
//! kexec_file_load has no safe wrapper in Rust, and a program with one system call in it is shorter than what would justify unsafe
//! code in the agent. Its standard input is the kernel, its standard output the initramfs, its first argument the command line, and
//! its exit status the error number, 0 for success.

use std::path::Path;

use guest_agent::lifecycle::kexec;

use crate::initramfs::{Initramfs, InitramfsError};

/// Where the program is loaded; any free page will do.
const LOAD_ADDRESS: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS_BYTES: u64 = 64 + 56;

/// x86-64, Linux's system calls 320 (kexec_file_load) and 60 (exit).
const CODE: [u8; 54] = [
    0x48, 0x8b, 0x7c, 0x24, 0x10, // mov rdi, [rsp+16]: the first argument
    0x49, 0x89, 0xfa, // mov r10, rdi: the command line
    0x31, 0xc0, // xor eax, eax
    0x48, 0x83, 0xc9, 0xff, // or rcx, -1
    0xf2, 0xae, // repne scasb
    0x48, 0xf7, 0xd1, // not rcx
    0x48, 0x89, 0xca, // mov rdx, rcx: its length with the zero
    0x31, 0xff, // xor edi, edi: the kernel's descriptor
    0xbe, 0x01, 0x00, 0x00, 0x00, // mov esi, 1: the initramfs's
    0x45, 0x31, 0xc0, // xor r8d, r8d: no flags
    0xb8, 0x40, 0x01, 0x00, 0x00, // mov eax, 320
    0x0f, 0x05, // syscall
    0xf7, 0xd8, // neg eax: the error number
    0x89, 0xc7, // mov edi, eax
    0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60
    0x0f, 0x05, // syscall
    0x0f, 0x0b, // ud2: never reached
    0x90, 0x90, // a whole number of words
];

/// Adds to `image` what the agent's kexec steps need to start `kernel` with an initramfs of `contents`, and the program that loads
/// them.
///
/// # Errors
/// `contents` cannot be written, because a file of this machine cannot be read.
pub fn add_to(image: &mut Initramfs, kernel: &Path, contents: &Initramfs) -> Result<(), InitramfsError> {
    image.bytes(kexec::LOADER, 0o755, loader());
    image.host_file(kexec::KERNEL, 0o644, kernel);
    image.bytes(kexec::INITRAMFS, 0o644, contents.to_bytes()?);
    Ok(())
}

/// The program, as an ELF file.
fn loader() -> Vec<u8> {
    let bytes = HEADERS_BYTES + CODE.len() as u64;
    let entry = LOAD_ADDRESS + HEADERS_BYTES;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let longs = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    // Executable, x86-64, version 1; entry, program headers, no section headers; flags; sizes and counts.
    file.extend(halves(&[2, 62]));
    file.extend(words(&[1]));
    file.extend(longs(&[entry, 64, 0]));
    file.extend(words(&[0]));
    file.extend(halves(&[64, 56, 1, 0, 0, 0]));
    // PT_LOAD, readable and executable, all of the file.
    file.extend(words(&[1, 5]));
    file.extend(longs(&[0, LOAD_ADDRESS, LOAD_ADDRESS, bytes, bytes, 0x1000]));
    file.extend(CODE);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Whoever may not load a kernel is told so by the error number, which is the exit status: the program runs, and makes its
    /// call. With descriptors that are no kernel nothing is loaded whoever asks.
    #[test]
    fn loader_runs_and_its_exit_status_is_the_error_number() {
        const EPERM: i32 = 1;
        const ENOEXEC: i32 = 8;
        const EINVAL: i32 = 22;
        const ENOSYS: i32 = 38;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("load");
        std::fs::write(&path, loader()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let no_kernel = directory.path().join("no-kernel");
        std::fs::write(&no_kernel, "no kernel").unwrap();
        let open = || Stdio::from(std::fs::File::open(&no_kernel).unwrap());
        let run = || Command::new(&path).arg("quiet").stdin(open()).stdout(open()).status();
        // A child that another test forked just now may hold the file open for writing, until it becomes its own program.
        let busy = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ExecutableFileBusy;
        let mut status = run();
        while status.as_ref().is_err_and(busy) {
            status = run();
        }
        let code = status.unwrap().code().expect("a signal ended it");
        assert!([EPERM, ENOEXEC, EINVAL, ENOSYS].contains(&code), "{code}");
    }

    #[test]
    fn image_holds_kernel_initramfs_and_loader() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("vmlinuz");
        std::fs::write(&kernel, "kernel").unwrap();
        let mut image = Initramfs::default();
        add_to(&mut image, &kernel, &Initramfs::default()).unwrap();
        for path in [kexec::LOADER, kexec::KERNEL, kexec::INITRAMFS] {
            assert!(image.contains(path), "{path}");
        }
    }
}
