//! House rules that neither the compiler nor clippy knows: file sizes, names, and where `unsafe` may stand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::workspace::Workspace;

/// Most lines of a source file; what grows past it holds two concepts.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["base", "common", "helper", "helpers", "manager", "misc", "util", "utils"];

/// The only files with `unsafe`: raw ioctls, and memory that becomes a guest's.
const UNSAFE_FILES: [&str; 2] = ["crates/hv-kvm/src/ioctl.rs", "crates/hv-kvm/src/mem_slots.rs"];

/// How far above an `unsafe` its two comments may begin.
const COMMENT_REACH: usize = 16;

/// Fails with every broken rule.
pub(crate) fn execute(workspace: &Workspace) -> Result<(), Failure> {
    let mut files = Vec::new();
    for top in ["crates", "device-model", "vmbus-emu", "tests"] {
        collect(&workspace.root().join(top), &mut files)
            .map_err(|error| Failure::cannot_run(format!("cannot read {top}: {error}")))?;
    }
    files.sort();
    let mut broken = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::cannot_run(format!("cannot read {}: {error}", path.display())))?;
        let relative = path.strip_prefix(workspace.root()).unwrap_or(path);
        broken.extend(broken_rules(relative, &text));
    }
    if broken.is_empty() {
        eprintln!("{} source files keep the house rules", files.len());
        return Ok(());
    }
    Err(Failure::check(format!("house rules are broken:\n  {}", broken.join("\n  "))))
}

/// Every Rust file below `directory`, build products left out.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A line for each rule that the file at `path` (from the top directory) breaks.
fn broken_rules(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut broken = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > LINES_MAX {
        broken.push(format!("{shown}: {} lines, limit is {LINES_MAX}", lines.len()));
    }
    for part in path.with_extension("").iter() {
        let name = part.to_string_lossy();
        if EMPTY_NAMES.contains(&name.as_ref()) {
            broken.push(format!("{shown}: \"{name}\" does not say what is inside"));
        }
    }
    let may_be_unsafe = UNSAFE_FILES.iter().any(|file| path == Path::new(file));
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| has_unsafe(line)) {
        let number = at + 1;
        if !may_be_unsafe {
            broken.push(format!("{shown}:{number}: unsafe outside {}", UNSAFE_FILES.join(", ")));
            continue;
        }
        let above = &lines[at.saturating_sub(COMMENT_REACH)..at];
        for word in ["JUSTIFICATION:", "SAFETY:"] {
            if !above.iter().any(|line| line.contains(word)) {
                broken.push(format!("{shown}:{number}: unsafe without a {word} comment above"));
            }
        }
    }
    broken
}

/// The keyword opens a block, a function, an implementation or an attribute, outside comments and strings.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut before = "";
    for word in code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '"')) {
        if word == "unsafe" && before != "\"" {
            return true;
        }
        if word.contains('"') {
            // Quotes make a line text more often than code; the compiler's own lint stands behind this rule.
            return false;
        }
        before = word;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keyword, so that this file does not trip over its own tests.
    const KEYWORD: &str = concat!("un", "safe");

    fn broken(path: &str, text: &str) -> Vec<String> {
        broken_rules(Path::new(path), text)
    }

    #[test]
    fn long_file_is_named_with_its_length() {
        let text = "x\n".repeat(601);
        assert_eq!(broken("crates/a/src/b.rs", &text), ["crates/a/src/b.rs: 601 lines, limit is 600"]);
        assert!(broken("crates/a/src/b.rs", &"x\n".repeat(600)).is_empty());
    }

    #[test]
    fn empty_names_are_refused_for_files_and_directories() {
        for path in ["crates/common/src/lib.rs", "tests/src/helpers/x.rs", "crates/a/src/util.rs"] {
            assert_eq!(broken(path, "").len(), 1, "{path}");
        }
        assert!(broken("crates/a/src/utility_meter.rs", "").is_empty());
    }

    #[test]
    fn keyword_outside_its_files_is_found_and_talk_of_it_is_not() {
        let code = format!("let x = {KEYWORD} {{ 1 }};");
        assert_eq!(broken("crates/synic/src/page.rs", &code).len(), 1);
        for text in [
            format!("// {KEYWORD} is avoided here"),
            format!("#![expect({KEYWORD}_code, reason = \"ioctls\")]"),
            format!("println!(\"{KEYWORD} words\");"),
        ] {
            assert!(broken("crates/synic/src/page.rs", &text).is_empty(), "{text}");
        }
    }

    #[test]
    fn allowed_keyword_needs_both_comments() {
        let path = "crates/hv-kvm/src/ioctl.rs";
        let code = format!("{KEYWORD} {{ ioctl() }}");
        assert_eq!(broken(path, &code).len(), 2);
        assert_eq!(broken(path, &format!("// SAFETY: sound\n{code}")).len(), 1);
        assert!(broken(path, &format!("// JUSTIFICATION: no wrapper\n// SAFETY: sound\n{code}")).is_empty());
    }
}
