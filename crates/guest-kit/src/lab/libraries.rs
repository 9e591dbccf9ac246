//! The shared libraries that a program needs, as the program's own loader finds them on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::LabError;
use crate::elf;

/// The loader and the libraries; empty for a static program.
pub(super) fn of_program(program: &Path) -> Result<Vec<PathBuf>, LabError> {
    let refuse = |reason: String| LabError::Path { path: program.to_owned(), reason };
    let file = fs::read(program).map_err(|error| refuse(error.to_string()))?;
    let Some(loader) = elf::interpreter(&file).map_err(|error| refuse(error.to_string()))? else {
        return Ok(Vec::new());
    };
    let output = Command::new(&loader)
        .arg("--list")
        .arg(program)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| refuse(format!("cannot run its loader {loader}: {error}")))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(refuse(format!("its loader {loader} fails: {}", complaint.trim())));
    }
    let mut libraries = parse(&String::from_utf8_lossy(&output.stdout)).map_err(refuse)?;
    libraries.push(loader.into());
    libraries.sort_unstable();
    libraries.dedup();
    Ok(libraries)
}

/// The paths in what `ld.so --list` prints: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)`; the vDSO has no path.
fn parse(list: &str) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in list.lines() {
        let (name, target) = line.split_once("=>").unwrap_or(("", line));
        if target.trim() == "not found" {
            return Err(format!("its library {} is not on this machine", name.trim()));
        }
        let path = target.rsplit_once(" (").map_or(target, |(path, _)| path).trim();
        if path.starts_with('/') {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_output_is_parsed_and_the_vdso_left_out() {
        let list = "\tlinux-vdso.so.1 (0x00007ffe)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)\n\
            \tlibc.so.6 => /lib/with space (x)/libc.so.6 (0x00007f2)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f3)\n";
        let paths = parse(list).unwrap();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libgcc_s.so.1",
                "/lib/with space (x)/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn missing_library_is_named() {
        let error = parse("\tlibnothing.so.1 => not found\n").unwrap_err();
        assert_eq!(error, "its library libnothing.so.1 is not on this machine");
    }

    #[test]
    fn own_test_program_needs_a_libc_and_a_loader() {
        let libraries = of_program(&std::env::current_exe().unwrap()).unwrap();
        let has = |end: &str| libraries.iter().any(|path| path.ends_with(end));
        assert!(has("libc.so.6") && has("ld-linux-x86-64.so.2"), "{libraries:?}");
        assert!(libraries.iter().all(|path| path.is_file()), "{libraries:?}");
    }

    #[test]
    fn static_program_needs_nothing_and_a_script_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, crate::agent::PROGRAM).unwrap();
        assert_eq!(of_program(&path).unwrap(), Vec::<PathBuf>::new());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(of_program(&path).unwrap_err().to_string().contains("not an x86-64 ELF file"));
    }
}
