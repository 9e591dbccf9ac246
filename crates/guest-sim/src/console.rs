//! A text console in the manner of fbcon: cells of 8x16 pixels, lines that scroll.

use synthvid::{Rect, Size};

use crate::framebuffer::Framebuffer;

/// Pixels of one character.
const CELL: Size = Size::new(8, 16);
/// Colour of text, fbcon's light grey.
const INK: u32 = 0x00aa_aaaa;

/// Where the next line goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Console {
    row: u32,
}

impl Console {
    /// Makes the screen black and starts at its top; gives the damage.
    pub(crate) fn clear(&mut self, framebuffer: &mut Framebuffer) -> Option<Rect> {
        self.row = 0;
        framebuffer.draw(framebuffer.size().rect(), |_, _| 0)
    }

    /// Prints `line`, cut at the right edge, and scrolls if it does not fit below; gives the damage.
    pub(crate) fn print(&mut self, framebuffer: &mut Framebuffer, line: &str) -> Option<Rect> {
        let size = framebuffer.size();
        let rows = size.height / CELL.height;
        let mut damage = None;
        if self.row >= rows {
            framebuffer.scroll_up(CELL.height);
            self.row = rows.saturating_sub(1);
            damage = Some(size.rect());
        }
        let text: Vec<u32> = line.chars().map(u32::from).take(columns(size)).collect();
        let width = u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_mul(CELL.width);
        let top = self.row.saturating_mul(CELL.height);
        let place = Rect::at(0, i32::try_from(top).unwrap_or(i32::MAX), Size::new(width, CELL.height));
        let drawn = framebuffer.draw(place, |x, y| {
            let cell = usize::try_from(x / CELL.width).ok().and_then(|cell| text.get(cell));
            let lit = cell.is_some_and(|code| is_lit(*code, x % CELL.width, y.saturating_sub(top)));
            if lit { INK } else { 0 }
        });
        self.row = self.row.saturating_add(1);
        damage.or(drawn)
    }

    /// The cell below the last line, where a cursor blinks.
    pub(crate) fn cursor(&self, size: Size) -> Rect {
        let row = self.row.min((size.height / CELL.height).saturating_sub(1));
        let top = row.saturating_mul(CELL.height).saturating_add(CELL.height - 2);
        Rect::at(0, i32::try_from(top).unwrap_or(i32::MAX), Size::new(CELL.width, 2))
    }

    /// Colour of text and cursor.
    pub(crate) const fn ink() -> u32 {
        INK
    }
}

fn columns(size: Size) -> usize {
    usize::try_from(size.width / CELL.width).unwrap_or(0)
}

/// Whether a pixel of the glyph is lit: the character's low eight bits as two columns of four blocks, 3x3 pixels
/// each. Not legible, but different for every character, and blank for a space.
fn is_lit(code: u32, x: u32, y: u32) -> bool {
    if code == u32::from(' ') || !(1..7).contains(&x) || !(2..14).contains(&y) {
        return false;
    }
    let block = (y - 2) / 3 * 2 + (x - 1) / 3;
    code >> block & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framebuffer::VramPath;
    use crate::memory::SimMemory;

    fn framebuffer() -> Framebuffer {
        let memory = SimMemory::new(0x10_0000, 0xf800_0000, 0x1000).expect("memory");
        Framebuffer::new(memory, 0x1000, VramPath::Direct, Size::new(64, 48))
    }

    fn cell(framebuffer: &Framebuffer, column: u32, row: u32) -> Vec<Option<u32>> {
        let pixels = (0..16).flat_map(|y| (0..8).map(move |x| (column * 8 + x, row * 16 + y)));
        pixels.map(|(x, y)| framebuffer.pixel(x, y)).collect()
    }

    #[test]
    fn every_printable_character_has_a_glyph_of_its_own() {
        let glyph = |code: u32| (0..128).map(|at| is_lit(code, at % 8, at / 8)).collect::<Vec<_>>();
        let glyphs: std::collections::BTreeSet<_> = (0x20..0x7f).map(glyph).collect();
        assert_eq!(glyphs.len(), 0x7f - 0x20);
    }

    #[test]
    fn line_damages_its_own_cells_only() {
        let (mut console, mut framebuffer) = (Console::default(), framebuffer());
        assert_eq!(console.print(&mut framebuffer, "abc"), Some(Rect::new(0, 0, 24, 16)));
        assert_eq!(console.print(&mut framebuffer, "0123456789"), Some(Rect::new(0, 16, 64, 32)));
        assert_eq!(console.print(&mut framebuffer, ""), None);
    }

    #[test]
    fn line_below_the_last_scrolls_and_damages_the_whole_screen() {
        let (mut console, mut framebuffer) = (Console::default(), framebuffer());
        for line in ["a", "b", "c"] {
            console.print(&mut framebuffer, line);
        }
        let second = cell(&framebuffer, 0, 1);
        assert_eq!(console.print(&mut framebuffer, "d"), Some(Rect::new(0, 0, 64, 48)));
        assert_eq!(cell(&framebuffer, 0, 0), second);
        assert_eq!(console.cursor(framebuffer.size()), Rect::new(0, 46, 8, 48));
    }

    #[test]
    fn cleared_console_is_black_and_starts_at_the_top() {
        let (mut console, mut framebuffer) = (Console::default(), framebuffer());
        console.print(&mut framebuffer, "x");
        assert_eq!(console.clear(&mut framebuffer), Some(Rect::new(0, 0, 64, 48)));
        assert!(cell(&framebuffer, 0, 0).into_iter().all(|pixel| pixel == Some(0)));
        assert_eq!(console.cursor(framebuffer.size()), Rect::new(0, 14, 8, 16));
    }
}
