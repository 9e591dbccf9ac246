//! Pictures that were looked at and accepted, in `snapshots/`, and the comparison of a new one with them.
//!
//! A picture that differs fails its test and leaves itself, and a picture of the difference, below the target
//! directory. `cargo xtask bless` accepts what tests produce; nothing else ever writes to `snapshots/`, and CI
//! refuses to.

use std::fs;
use std::path::{Path, PathBuf};

use display::png::{self, Picture};

/// Set to 1 by `cargo xtask bless`: pictures are accepted rather than compared.
const BLESS: &str = "VMBUS_EMU_BLESS";
/// Colour of the difference's wrong pixels.
const WRONG: u32 = 0x00ff_0000;

/// Compares the picture in `taken` with `snapshots/NAME.png`.
///
/// # Panics
/// When they differ, or there is none yet, or the picture cannot be read; says which files to look at.
pub fn assert_matches(name: &str, taken: &Path) {
    let accepted = directory().join(format!("{name}.png"));
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI accepts no pictures: look at {name} and bless it by hand"
        );
        fs::copy(taken, &accepted).unwrap_or_else(|error| panic!("cannot accept {name}: {error}"));
        println!("accepted {}", accepted.display());
        return;
    }
    let new = read(taken);
    assert!(
        accepted.exists(),
        "no snapshot {name} yet; look at {} and run `cargo xtask bless`",
        taken.display()
    );
    let old = read(&accepted);
    if let Some(difference) = Difference::between(&old, &new) {
        let kept = keep(name, taken, &difference);
        panic!(
            "{name}: {}\n  accepted:   {}\n  found:      {}\n  difference: {}\n\
             if the new picture is right, run `cargo xtask bless`",
            difference.text,
            accepted.display(),
            kept.join("found.png").display(),
            kept.join("difference.png").display(),
        );
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots")
}

fn read(path: &Path) -> Picture {
    png::read_png(path).unwrap_or_else(|error| panic!("{error}"))
}

struct Difference {
    text: String,
    width: u32,
    height: u32,
    pixels: Vec<u32>,
}

impl Difference {
    fn between(old: &Picture, new: &Picture) -> Option<Self> {
        if (old.width, old.height) != (new.width, new.height) {
            let text =
                format!("{}x{} was accepted, {}x{} was found", old.width, old.height, new.width, new.height);
            return Some(Self { text, width: new.width, height: new.height, pixels: new.pixels.clone() });
        }
        let mut wrong = 0_u64;
        let mut first = None;
        let mut pixels = Vec::with_capacity(new.pixels.len());
        for y in 0..new.height {
            for x in 0..new.width {
                let (before, after) = (old.pixel(x, y), new.pixel(x, y));
                if before == after {
                    // A quarter of the brightness, so that wrong pixels stand out.
                    pixels.push((after.unwrap_or(0) >> 2) & 0x003f_3f3f);
                } else {
                    wrong += 1;
                    first.get_or_insert((x, y, before, after));
                    pixels.push(WRONG);
                }
            }
        }
        let (x, y, before, after) = first?;
        let text = format!(
            "{wrong} pixels differ, the first at column {x}, row {y}: {:#08x} was accepted, {:#08x} was found",
            before.unwrap_or(0),
            after.unwrap_or(0)
        );
        Some(Self { text, width: new.width, height: new.height, pixels })
    }
}

fn keep(name: &str, taken: &Path, difference: &Difference) -> PathBuf {
    let test = std::env::current_exe().expect("a process has a program");
    let target = test.ancestors().nth(3).expect("cargo puts tests three directories below the target's");
    let kept = target.join("snapshots").join(name);
    fs::create_dir_all(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
    fs::copy(taken, kept.join("found.png")).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
    png::write_png_pixels(
        &kept.join("difference.png"),
        difference.width,
        difference.height,
        &difference.pixels,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(pixels: [u32; 4]) -> Picture {
        Picture { width: 2, height: 2, pixels: pixels.to_vec() }
    }

    #[test]
    fn equal_pictures_do_not_differ() {
        assert!(Difference::between(&picture([1, 2, 3, 4]), &picture([1, 2, 3, 4])).is_none());
    }

    #[test]
    fn one_wrong_pixel_is_counted_placed_and_painted() {
        let difference = Difference::between(&picture([1, 2, 3, 4]), &picture([1, 2, 9, 4])).unwrap();
        assert!(
            difference.text.starts_with("1 pixels differ, the first at column 0, row 1"),
            "{}",
            difference.text
        );
        assert_eq!(difference.pixels[2], WRONG);
        assert_eq!(difference.pixels.iter().filter(|pixel| **pixel == WRONG).count(), 1);
    }

    #[test]
    fn another_size_is_a_difference() {
        let small = Picture { width: 1, height: 1, pixels: vec![0] };
        assert!(Difference::between(&picture([0; 4]), &small).unwrap().text.contains("1x1 was found"));
    }
}
