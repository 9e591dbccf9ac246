//! Proves a picture of a text console right without knowing its font.
//!
//! The guest says which character is in which cell. A right picture then shows the same bitmap wherever the same character is, a
//! different one for every other character, one background colour and one text colour in all, and nothing in blank cells. A stale
//! row, a shifted rectangle or a missing update breaks one of these. What this cannot see: two characters that occur only once
//! each and are swapped, or a consistent exchange of two glyphs everywhere; print text in which characters repeat.

use std::collections::HashMap;

/// Width of a cell in pixels: the kernel's 8x16 console font. On large screens it takes one twice as large.
pub const CELL_WIDTH_PX: u32 = 8;

/// Height of a cell in pixels.
pub const CELL_HEIGHT_PX: u32 = 16;

/// Sizes of a cell that Linux's built-in fonts have: VGA8x16, and TER16x32 for large screens
/// (`lib/fonts/fonts.c:get_default_font`).
const FONTS: [Font; 2] = [
    Font { width: CELL_WIDTH_PX, height: CELL_HEIGHT_PX },
    Font { width: 2 * CELL_WIDTH_PX, height: 2 * CELL_HEIGHT_PX },
];

/// A cell's size in pixels.
#[derive(Clone, Copy)]
struct Font {
    width: u32,
    height: u32,
}

impl Font {
    /// The font with which a console of so many cells covers a picture.
    fn of(columns: u32, rows: u32, width: u32, height: u32) -> Option<Self> {
        let fits = |font: &Self| width / font.width == columns && height / font.height == rows;
        (columns > 0 && rows > 0).then(|| FONTS.into_iter().find(fits)).flatten()
    }

    fn pixels_of(self, cell: Cell) -> impl Iterator<Item = (u32, u32)> {
        let (left, top) = (cell.column * self.width, cell.row * self.height);
        (top..top + self.height).flat_map(move |y| (left..left + self.width).map(move |x| (x, y)))
    }
}

/// What the guest says is on the screen.
///
/// Shape: `rows` rows of `columns` cells. Missing rows, and cells missing at the end of a row, are blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleText {
    /// Cells in a row.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// One string a row.
    pub text: Vec<String>,
}

impl From<&guest_agent::protocol::Vcs> for ConsoleText {
    fn from(vcs: &guest_agent::protocol::Vcs) -> Self {
        Self { columns: vcs.columns, rows: vcs.rows, text: vcs.text.clone() }
    }
}

/// A picture that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleMatch {
    /// Cells looked at.
    pub cells: u32,
    /// Cells that are not blank.
    pub inked_cells: u32,
    /// Different characters among them. Few of them prove little.
    pub glyphs: usize,
    /// The background colour, 0x00RRGGBB.
    pub background: u32,
    /// The text colour, 0x00RRGGBB; none on an empty screen.
    pub foreground: Option<u32>,
}

/// The first thing that is wrong with a picture, in reading order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleMismatch {
    /// The console is not of this picture's size.
    #[error(
        "console of {columns} x {rows} cells does not belong to a picture of {width} x {height} pixels, which holds \
         {} x {} of 8x16 or {} x {} of 16x32 pixels",
        width / FONTS[0].width, height / FONTS[0].height, width / FONTS[1].width, height / FONTS[1].height
    )]
    Size {
        /// Cells in a row.
        columns: u32,
        /// Rows.
        rows: u32,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A pixel that must be background is not.
    #[error("pixel ({x}, {y}) in {place} is 0x{found:06x}, the background is 0x{background:06x}")]
    NotBlank {
        /// Column of the pixel.
        x: u32,
        /// Row of the pixel.
        y: u32,
        /// Where it is, for a reader.
        place: String,
        /// Its colour.
        found: u32,
        /// The background colour.
        background: u32,
    },
    /// A pixel has a third colour.
    #[error(
        "pixel ({x}, {y}) in cell {cell} is 0x{found:06x}, neither background 0x{background:06x} nor text 0x{foreground:06x}"
    )]
    ThirdColour {
        /// Column of the pixel.
        x: u32,
        /// Row of the pixel.
        y: u32,
        /// The cell and its character, for a reader.
        cell: String,
        /// Its colour.
        found: u32,
        /// The background colour.
        background: u32,
        /// The text colour.
        foreground: u32,
    },
    /// The same character looks different in two cells.
    #[error("cell {cell} looks unlike cell {other}, first at pixel ({x}, {y})")]
    SameCharacterDiffers {
        /// The cell and its character, for a reader.
        cell: String,
        /// The earlier cell with the same character.
        other: String,
        /// Column of the first different pixel.
        x: u32,
        /// Row of it.
        y: u32,
    },
    /// Two different characters look the same.
    #[error("cell {cell} looks exactly like cell {other}")]
    DifferentCharactersAlike {
        /// The cell and its character, for a reader.
        cell: String,
        /// The earlier cell with another character.
        other: String,
    },
    /// A cell with a character in it shows nothing.
    #[error("cell {cell} is empty on the picture")]
    Missing {
        /// The cell and its character, for a reader.
        cell: String,
    },
}

/// One cell's ink, a word a row, the cell's right column in the least significant bit.
type Bitmap = [u32; 32];

#[derive(Clone, Copy)]
struct Cell {
    column: u32,
    row: u32,
    character: char,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at column {}, row {}", self.character, self.column, self.row)
    }
}

/// Checks a whole picture. `pixel` is asked for (x, y); its top byte is ignored.
///
/// Pixels to the right of the last column and below the last row must be background.
///
/// # Errors
/// The first mismatch in reading order of the cells; the margin comes last.
pub fn check(
    console: &ConsoleText,
    width: u32,
    height: u32,
    pixel: impl Fn(u32, u32) -> u32,
) -> Result<ConsoleMatch, ConsoleMismatch> {
    let (columns, rows) = (console.columns, console.rows);
    let font = Font::of(columns, rows, width, height);
    let font = font.ok_or(ConsoleMismatch::Size { columns, rows, width, height })?;
    let pixel = |x, y| pixel(x, y) & 0x00ff_ffff;
    let background = most_common_colour(width, height, pixel);
    let mut check =
        Check { font, background, foreground: None, by_character: HashMap::new(), by_bitmap: HashMap::new() };
    let mut inked_cells = 0;
    for row in 0..rows {
        let text = usize::try_from(row).ok().and_then(|row| console.text.get(row));
        let mut characters = text.map_or("", String::as_str).chars();
        for column in 0..columns {
            let cell = Cell { column, row, character: characters.next().unwrap_or(' ') };
            if is_blank(cell.character) {
                check.blank(cell, pixel)?;
            } else {
                inked_cells += 1;
                check.inked(cell, pixel)?;
            }
        }
    }
    for y in 0..height {
        let from = if y < rows * font.height { columns * font.width } else { 0 };
        for x in from..width {
            let found = pixel(x, y);
            if found != background {
                return Err(ConsoleMismatch::NotBlank {
                    x,
                    y,
                    place: "the margin".into(),
                    found,
                    background,
                });
            }
        }
    }
    Ok(ConsoleMatch {
        cells: columns * rows,
        inked_cells,
        glyphs: check.by_character.len(),
        background,
        foreground: check.foreground,
    })
}

struct Check {
    font: Font,
    background: u32,
    foreground: Option<u32>,
    by_character: HashMap<char, (Bitmap, Cell)>,
    by_bitmap: HashMap<Bitmap, Cell>,
}

impl Check {
    fn blank(&self, cell: Cell, pixel: impl Fn(u32, u32) -> u32) -> Result<(), ConsoleMismatch> {
        match self.font.pixels_of(cell).find(|(x, y)| pixel(*x, *y) != self.background) {
            None => Ok(()),
            Some((x, y)) => Err(ConsoleMismatch::NotBlank {
                x,
                y,
                place: format!("cell {cell}"),
                found: pixel(x, y),
                background: self.background,
            }),
        }
    }

    fn inked(&mut self, cell: Cell, pixel: impl Fn(u32, u32) -> u32) -> Result<(), ConsoleMismatch> {
        let bitmap = self.bitmap(cell, pixel)?;
        if bitmap == Bitmap::default() {
            return Err(ConsoleMismatch::Missing { cell: cell.to_string() });
        }
        if let Some((known, earlier)) = self.by_character.get(&cell.character) {
            return match first_difference(&bitmap, known, self.font) {
                None => Ok(()),
                Some((dx, dy)) => Err(ConsoleMismatch::SameCharacterDiffers {
                    cell: cell.to_string(),
                    other: earlier.to_string(),
                    x: cell.column * self.font.width + dx,
                    y: cell.row * self.font.height + dy,
                }),
            };
        }
        if let Some(earlier) = self.by_bitmap.get(&bitmap) {
            return Err(ConsoleMismatch::DifferentCharactersAlike {
                cell: cell.to_string(),
                other: earlier.to_string(),
            });
        }
        self.by_character.insert(cell.character, (bitmap, cell));
        self.by_bitmap.insert(bitmap, cell);
        Ok(())
    }

    fn bitmap(&mut self, cell: Cell, pixel: impl Fn(u32, u32) -> u32) -> Result<Bitmap, ConsoleMismatch> {
        let mut bitmap = Bitmap::default();
        let Font { width, height } = self.font;
        let (left, top) = (cell.column * width, cell.row * height);
        for (y, row) in (top..top + height).zip(&mut bitmap) {
            for x in left..left + width {
                let found = pixel(x, y);
                *row <<= 1;
                if found == self.background {
                    continue;
                }
                let foreground = *self.foreground.get_or_insert(found);
                if found != foreground {
                    return Err(ConsoleMismatch::ThirdColour {
                        x,
                        y,
                        cell: cell.to_string(),
                        found,
                        background: self.background,
                        foreground,
                    });
                }
                *row |= 1;
            }
        }
        Ok(bitmap)
    }
}

/// NUL, space and no-break space: the console fonts draw nothing for them.
fn is_blank(character: char) -> bool {
    matches!(character, '\0' | ' ' | '\u{a0}' | '\u{ff}')
}

fn first_difference(one: &Bitmap, other: &Bitmap, font: Font) -> Option<(u32, u32)> {
    (0..).zip(one.iter().zip(other)).find_map(|(y, (one, other))| match one ^ other {
        0 => None,
        differs => Some((font.width - 1 - differs.ilog2(), y)),
    })
}

/// The colour of most pixels. Text covers well under half of a cell, so on a console this is the background.
fn most_common_colour(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u32) -> u32 {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for y in 0..height {
        for x in 0..width {
            *counts.entry(pixel(x, y)).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(colour, count)| (*count, *colour)).map_or(0, |(colour, _)| colour)
}

#[cfg(test)]
mod tests;
