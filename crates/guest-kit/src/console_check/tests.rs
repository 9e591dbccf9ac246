//! A made-up font draws consoles, right ones and broken ones.

use super::*;

const WIDTH: u32 = 20 * 8 + 5;
const HEIGHT: u32 = 6 * 16 + 3;
const INK: u32 = 0xaa_aaaa;

/// Ink of `character` at (dx, dy) of its cell: different for every character, never empty, never full.
fn glyph(character: char, dx: u32, dy: u32) -> bool {
    if is_blank(character) {
        return false;
    }
    match dy {
        3 => dx < 7,
        5 => u32::from(character) >> dx & 1 == 1,
        _ => false,
    }
}

fn console() -> ConsoleText {
    let text = (1..=6).map(|line| format!("line {line} of 6: 61524")).collect();
    ConsoleText { columns: 20, rows: 6, text }
}

struct Screen(Vec<u32>);

impl Screen {
    fn showing(console: &ConsoleText) -> Self {
        let mut screen = Self(vec![0; (WIDTH * HEIGHT) as usize]);
        for (row, line) in (0..).zip(&console.text) {
            for (column, character) in (0..).zip(line.chars()) {
                screen.put(column, row, character);
            }
        }
        screen
    }

    fn put(&mut self, column: u32, row: u32, character: char) {
        for (x, y) in FONTS[0].pixels_of(Cell { column, row, character }) {
            *self.at(x, y) = if glyph(character, x % 8, y % 16) { INK } else { 0 };
        }
    }

    fn at(&mut self, x: u32, y: u32) -> &mut u32 {
        &mut self.0[(y * WIDTH + x) as usize]
    }

    fn check(&self, console: &ConsoleText) -> Result<ConsoleMatch, ConsoleMismatch> {
        check(console, WIDTH, HEIGHT, |x, y| self.0[(y * WIDTH + x) as usize])
    }
}

#[test]
fn right_picture_passes_and_is_counted() {
    let found = Screen::showing(&console()).check(&console()).unwrap();
    assert_eq!((found.cells, found.inked_cells), (120, 6 * 14));
    assert_eq!((found.background, found.foreground), (0, Some(INK)));
    assert_eq!(found.glyphs, "line123456of:".chars().count());
}

#[test]
fn blanks_left_out_at_the_end_are_blanks() {
    let mut short = console();
    short.text.truncate(3);
    assert!(Screen::showing(&short).check(&short).is_ok());
}

#[test]
fn wrong_pixel_in_a_glyph_is_found_where_it_is() {
    let mut screen = Screen::showing(&console());
    *screen.at(8 * 2 + 4, 16 * 3 + 9) = INK;
    let found = screen.check(&console()).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::SameCharacterDiffers { x: 20, y: 57, .. }), "{found}");
}

#[test]
fn wrong_pixel_in_a_blank_is_found() {
    let mut screen = Screen::showing(&console());
    *screen.at(8 * 4 + 1, 16 * 2 + 15) = INK;
    let found = screen.check(&console()).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::NotBlank { x: 33, y: 47, .. }), "{found}");
}

#[test]
fn third_colour_is_found() {
    let mut screen = Screen::showing(&console());
    *screen.at(8 * 3 + 3, 16 * 4 + 3) = 0xab_aaaa;
    let found = screen.check(&console()).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::ThirdColour { x: 27, y: 67, found: 0xab_aaaa, .. }), "{found}");
}

#[test]
fn swapped_cells_are_found() {
    let mut screen = Screen::showing(&console());
    screen.put(0, 4, 'i');
    screen.put(1, 4, 'l');
    let found = screen.check(&console()).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::SameCharacterDiffers { .. }), "{found}");
    assert!(found.to_string().contains("'l' at column 0, row 4"), "{found}");
}

#[test]
fn stale_row_is_found() {
    let mut screen = Screen::showing(&console());
    for (column, character) in (0..).zip(console().text[2].chars()) {
        screen.put(column, 3, character);
    }
    let found = screen.check(&console()).unwrap_err();
    assert!(found.to_string().contains("row 3"), "{found}");
}

#[test]
fn row_that_was_not_drawn_is_found() {
    let mut screen = Screen::showing(&console());
    for column in 0..20 {
        screen.put(column, 5, ' ');
    }
    let found = screen.check(&console()).unwrap_err();
    assert_eq!(found.to_string(), "cell 'l' at column 0, row 5 is empty on the picture");
}

#[test]
fn two_characters_with_one_bitmap_are_found() {
    let mut console = console();
    let screen = Screen::showing(&console);
    console.text[5] = console.text[5].replace('o', "p");
    let found = screen.check(&console).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::DifferentCharactersAlike { .. }), "{found}");
}

#[test]
fn ink_in_the_margin_is_found() {
    for (x, y) in [(WIDTH - 1, 0), (0, HEIGHT - 1)] {
        let mut screen = Screen::showing(&console());
        *screen.at(x, y) = INK;
        let found = screen.check(&console()).unwrap_err();
        assert!(found.to_string().contains("margin"), "{found}");
    }
}

#[test]
fn console_of_another_size_is_refused() {
    let console = ConsoleText { columns: 80, rows: 25, text: vec![] };
    let found = check(&console, 1024, 768, |_, _| 0).unwrap_err();
    assert_eq!(
        found.to_string(),
        "console of 80 x 25 cells does not belong to a picture of 1024 x 768 pixels, which holds 128 x 48 of 8x16 or 64 x 24 of 16x32 pixels"
    );
}

#[test]
fn font_of_twice_the_size_is_recognised_and_a_wrong_pixel_found() {
    let mut small = Screen::showing(&console());
    let twice = |screen: &mut Screen, wrong: Option<(u32, u32)>| {
        check(&console(), 2 * WIDTH, 2 * HEIGHT, |x, y| {
            let ink = screen.0[(y / 2 * WIDTH + x / 2) as usize];
            if wrong == Some((x, y)) { ink ^ INK } else { ink }
        })
    };
    assert_eq!(twice(&mut small, None).unwrap().cells, 120);
    let found = twice(&mut small, Some((16 * 2 + 15, 32 * 3 + 31))).unwrap_err();
    assert!(matches!(found, ConsoleMismatch::SameCharacterDiffers { x: 47, y: 127, .. }), "{found}");
}
