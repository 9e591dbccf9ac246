//! Reads a text console from its picture, with glyphs learnt from a picture whose text is known.

use std::collections::HashMap;

use device_model::Picture;
use guest_agent::protocol::Vcs;

/// One cell's ink, row by row.
type Bitmap = Vec<bool>;

/// The characters of a console's font, by their looks.
#[derive(Debug)]
pub(super) struct Glyphs {
    columns: u32,
    rows: u32,
    characters: HashMap<Bitmap, char>,
}

impl Glyphs {
    /// Learns from a picture that shows `text`.
    pub(super) fn learn(picture: &Picture, text: &Vcs) -> Self {
        let mut glyphs = Self { columns: text.columns, rows: text.rows, characters: HashMap::new() };
        for (row, line) in (0..text.rows).zip(&text.text) {
            for (column, character) in (0..text.columns).zip(line.chars()) {
                if let Some(bitmap) = glyphs.cell(picture, column, row) {
                    glyphs.characters.entry(bitmap).or_insert(character);
                }
            }
        }
        glyphs
    }

    /// The text in a picture of the same console; what was not learnt is read as U+FFFD.
    pub(super) fn read(&self, picture: &Picture) -> Vec<String> {
        let line = |row| {
            let cell = |column| self.character(self.cell(picture, column, row)?);
            let line: String = (0..self.columns).filter_map(cell).collect();
            line.trim_end().to_owned()
        };
        (0..self.rows).map(line).collect()
    }

    fn character(&self, bitmap: Bitmap) -> Option<char> {
        if bitmap.iter().all(|ink| !ink) {
            return Some(' ');
        }
        Some(self.characters.get(&bitmap).copied().unwrap_or('\u{fffd}'))
    }

    fn cell(&self, picture: &Picture, column: u32, row: u32) -> Option<Bitmap> {
        let width = picture.width.checked_div(self.columns)?;
        let height = picture.height.checked_div(self.rows)?;
        let mut bitmap = Vec::new();
        for y in row * height..(row + 1) * height {
            let start = u64::from(y) * u64::from(picture.width) + u64::from(column * width);
            let start = usize::try_from(start).ok()?;
            let pixels = picture.pixels.get(start..start + usize::try_from(width).ok()?)?;
            bitmap.extend(pixels.iter().map(|pixel| pixel & 0x00ff_ffff != 0));
        }
        Some(bitmap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A font of 2 by 2 pixels: the bits of a character's code, lowest first.
    fn picture(lines: &[&str], columns: u32) -> Picture {
        let rows = u32::try_from(lines.len()).unwrap();
        let mut pixels = vec![0; usize::try_from(columns * rows * 4).unwrap()];
        for (row, line) in lines.iter().enumerate() {
            for (column, character) in line.bytes().enumerate().filter(|(_, byte)| *byte != b' ') {
                for bit in 0..4 {
                    let at = (row * 2 + bit / 2) * columns as usize * 2 + column * 2 + bit % 2;
                    pixels[at] = if character >> bit & 1 != 0 { 0x00aa_aaaa } else { 0 };
                }
            }
        }
        Picture { width: columns * 2, height: rows * 2, pixels }
    }

    fn vcs(lines: &[&str], columns: u32) -> Vcs {
        let text = lines.iter().map(|line| (*line).to_owned()).collect();
        Vcs { columns, rows: u32::try_from(lines.len()).unwrap(), text, attribute: None }
    }

    #[test]
    fn text_is_read_with_the_glyphs_that_were_learnt() {
        let known = ["abc", "g k"];
        let glyphs = Glyphs::learn(&picture(&known, 4), &vcs(&known, 4));
        assert_eq!(glyphs.read(&picture(&["cab", " gnk"], 4)), ["cab", " g\u{fffd}k"]);
    }

    #[test]
    fn picture_that_is_too_small_reads_as_nothing() {
        let glyphs = Glyphs::learn(&picture(&["abc"], 3), &vcs(&["abc"], 3));
        let empty = Picture { width: 0, height: 0, pixels: Vec::new() };
        assert!(glyphs.read(&empty).iter().all(String::is_empty));
    }
}
