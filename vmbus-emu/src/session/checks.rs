//! What a picture must show, decided from the picture and from what the guest says it drew.

use device_model::Picture;
use guest_agent::pattern::{self, Pattern};
use guest_agent::protocol::Vcs;
use guest_kit::console_check::{self, ConsoleText};
use meter::report::Check;

/// A check by its stable name, with what was found.
pub(crate) fn check(name: &str, passed: bool, detail: impl Into<String>) -> Check {
    Check { name: name.to_owned(), passed, detail: detail.into() }
}

/// Every pixel of `picture` is the pattern's.
pub(crate) fn pattern(name: &str, picture: &Picture, pattern: Pattern, seed: u64) -> Check {
    let expected = pattern::Picture::new(pattern, picture.width, picture.height, seed);
    let found = expected.compare(|x, y| pixel(picture, x, y));
    check(name, found.is_exact() && found.total_px > 0, found.to_string())
}

/// Each cell of the text console that the guest holds stands where it belongs in `picture`, with the same glyph
/// for the same character, and with text in it.
pub(crate) fn console(picture: &Picture, vcs: &Vcs) -> Check {
    let text = ConsoleText { columns: vcs.columns, rows: vcs.rows, text: vcs.text.clone() };
    match console_check::check(&text, picture.width, picture.height, |x, y| pixel(picture, x, y)) {
        Ok(found) if found.inked_cells == 0 => check("console", false, "the console shows no text"),
        Ok(found) => {
            let detail = format!(
                "{} cells right, {} of them with ink, {} different glyphs",
                found.cells, found.inked_cells, found.glyphs
            );
            check("console", true, detail)
        }
        Err(mismatch) => check("console", false, mismatch.to_string()),
    }
}

/// The last line that was printed is on the screen.
pub(crate) fn last_line(vcs: &Vcs, line: &str) -> Check {
    let found = vcs.text.iter().any(|row| row.trim_end() == line);
    let detail = format!("\"{line}\" is {}on the text console", if found { "" } else { "not " });
    check("console_last_line", found, detail)
}

/// A pixel's colour, 0x00RRGGBB; beyond the picture one that equals none.
pub(super) fn pixel(picture: &Picture, x: u32, y: u32) -> u32 {
    let index = u64::from(y) * u64::from(picture.width) + u64::from(x);
    let found = usize::try_from(index).ok().and_then(|index| picture.pixels.get(index));
    // Bits above 24 cannot be a colour, so a pixel that is not there equals none that is expected.
    found.copied().map_or(u32::MAX, |pixel| pixel & 0x00ff_ffff)
}
