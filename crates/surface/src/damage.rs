//! Which parts of the surface a sink has not seen yet, in tiles.

use synthvid::{Rect, Size};

/// Pixels of a tile, either way.
pub const TILE_PX: u32 = 64;

/// A bitmap of damaged tiles of 64 by 64 pixels.
///
/// *Shape*: a bit a tile; 8 KiB for the largest screen of 16384 by 16384. Nothing that a guest does makes it larger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileDamage {
    size: Size,
    columns: u32,
    rows: u32,
    tiles: Vec<u64>,
}

impl TileDamage {
    /// A clean bitmap for a surface of `size`.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let (columns, rows) = (size.width.div_ceil(TILE_PX), size.height.div_ceil(TILE_PX));
        let words = (u64::from(columns) * u64::from(rows)).div_ceil(64);
        let words = usize::try_from(words).unwrap_or(0);
        Self { size, columns, rows, tiles: vec![0; words] }
    }

    /// Starts over for a surface of `size`, with everything damaged.
    pub fn resize(&mut self, size: Size) {
        *self = Self::new(size);
        self.mark_all();
    }

    /// Marks every tile that `rect` touches.
    pub fn mark(&mut self, rect: Rect) {
        let Some(rect) = rect.clip(&self.size.rect()) else { return };
        let tile = |px: i32| u32::try_from(px).unwrap_or(0) / TILE_PX;
        for row in tile(rect.top)..=tile(rect.bottom - 1) {
            for column in tile(rect.left)..=tile(rect.right - 1) {
                self.set(column, row);
            }
        }
    }

    /// Marks every tile.
    pub fn mark_all(&mut self) {
        self.mark(self.size.rect());
    }

    /// Adds the damage of `other`; all of it is damaged if the sizes differ.
    pub fn merge(&mut self, other: &Self) {
        if self.size != other.size {
            self.resize(other.size);
            return;
        }
        for (word, more) in self.tiles.iter_mut().zip(&other.tiles) {
            *word |= more;
        }
    }

    /// Takes the damage as rectangles that do not overlap, cut to the surface, and leaves the bitmap clean.
    ///
    /// Neighbours in a row become one rectangle, and so do equal ones in rows that follow each other.
    #[must_use]
    pub fn take(&mut self) -> Vec<Rect> {
        let mut done = Vec::new();
        // Those that reach down to the row above, from left to right.
        let mut open: Vec<Rect> = Vec::new();
        for row in 0..self.rows {
            let mut row_rects = self.row_rects(row);
            for above in open {
                let same_left = row_rects.binary_search_by_key(&above.left, |rect| rect.left);
                match same_left.ok().and_then(|at| row_rects.get_mut(at)) {
                    Some(rect) if rect.right == above.right => rect.top = above.top,
                    _ => done.push(above),
                }
            }
            open = row_rects;
        }
        done.append(&mut open);
        self.clear();
        done
    }

    /// Forgets all damage.
    pub fn clear(&mut self) {
        self.tiles.fill(0);
    }

    /// No tile is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.tiles.iter().all(|word| *word == 0)
    }

    /// Damaged tiles.
    #[must_use]
    pub fn tile_count(&self) -> u32 {
        self.tiles.iter().map(|word| word.count_ones()).sum()
    }

    /// The surface that it is for.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    fn set(&mut self, column: u32, row: u32) {
        let (word, bit) = self.place(column, row);
        if let Some(word) = self.tiles.get_mut(word) {
            *word |= bit;
        }
    }

    fn is_set(&self, column: u32, row: u32) -> bool {
        let (word, bit) = self.place(column, row);
        self.tiles.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(&self, column: u32, row: u32) -> (usize, u64) {
        let index = u64::from(row) * u64::from(self.columns) + u64::from(column);
        (usize::try_from(index / 64).unwrap_or(usize::MAX), 1 << (index % 64))
    }

    /// The runs of damaged tiles of one row, in pixels.
    fn row_rects(&self, row: u32) -> Vec<Rect> {
        let mut rects: Vec<Rect> = Vec::new();
        let bounds = self.size.rect();
        let px = |tile: u32| i32::try_from(u64::from(tile) * u64::from(TILE_PX)).unwrap_or(i32::MAX);
        for column in (0..self.columns).filter(|column| self.is_set(*column, row)) {
            let tile = Rect::at(px(column), px(row), Size::new(TILE_PX, TILE_PX));
            let Some(tile) = tile.clip(&bounds) else { continue };
            match rects.last_mut() {
                Some(last) if last.right == tile.left => last.right = tile.right,
                _ => rects.push(tile),
            }
        }
        rects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XGA: Size = Size::new(1024, 768);

    #[test]
    fn one_pixel_damages_its_tile() {
        let mut damage = TileDamage::new(XGA);
        damage.mark(Rect::new(64, 63, 65, 64));
        assert_eq!(damage.tile_count(), 1);
        assert_eq!(damage.take(), [Rect::new(64, 0, 128, 64)]);
        assert!(damage.is_clean());
    }

    #[test]
    fn whole_surface_is_one_rectangle_cut_to_its_edges() {
        let mut damage = TileDamage::new(Size::new(1000, 700));
        damage.mark_all();
        assert_eq!(damage.take(), [Rect::new(0, 0, 1000, 700)]);
    }

    #[test]
    fn two_columns_stay_two_rectangles() {
        let mut damage = TileDamage::new(XGA);
        damage.mark(Rect::new(0, 0, 1, 768));
        damage.mark(Rect::new(1023, 0, 1024, 768));
        assert_eq!(damage.take(), [Rect::new(0, 0, 64, 768), Rect::new(960, 0, 1024, 768)]);
    }

    #[test]
    fn rectangle_outside_or_inverted_marks_nothing() {
        let mut damage = TileDamage::new(XGA);
        damage.mark(Rect::new(1024, 0, 2000, 10));
        damage.mark(Rect::new(10, 10, 5, 5));
        damage.mark(Rect::new(i32::MIN, i32::MIN, 0, 0));
        assert!(damage.is_clean());
        assert!(damage.take().is_empty());
    }

    #[test]
    fn resized_bitmap_is_wholly_damaged() {
        let mut damage = TileDamage::new(XGA);
        damage.resize(Size::new(64, 64));
        assert_eq!(damage.take(), [Rect::new(0, 0, 64, 64)]);
    }

    #[test]
    fn merge_of_another_size_damages_all_of_it() {
        let mut damage = TileDamage::new(XGA);
        damage.merge(&TileDamage::new(Size::new(128, 64)));
        assert_eq!(damage.take(), [Rect::new(0, 0, 128, 64)]);
    }

    #[test]
    fn merge_adds_up() {
        let (mut one, mut two) = (TileDamage::new(XGA), TileDamage::new(XGA));
        one.mark(Rect::new(0, 0, 1, 1));
        two.mark(Rect::new(64, 0, 65, 1));
        one.merge(&two);
        assert_eq!(one.take(), [Rect::new(0, 0, 128, 64)]);
    }

    #[test]
    fn surface_without_pixels_has_no_tiles() {
        let mut damage = TileDamage::new(Size::new(0, 0));
        damage.mark_all();
        assert!(damage.is_clean());
    }

    #[test]
    fn largest_screen_takes_8_kib() {
        let damage = TileDamage::new(Size::new(16384, 16384));
        assert_eq!(damage.tiles.len() * 8, 8192);
    }

    proptest! {
        #[test]
        fn rectangles_cover_each_damaged_tile_once(
            marks in prop::collection::vec((0..1024i32, 0..768i32, 1..300i32, 1..300i32), 0..12),
        ) {
            let mut damage = TileDamage::new(XGA);
            for (x, y, w, h) in marks {
                damage.mark(Rect::new(x, y, x + w, y + h));
            }
            let before = damage.clone();
            let rects = damage.take();
            let area: u64 = rects.iter().map(Rect::area).sum();
            prop_assert_eq!(area, u64::from(before.tile_count()) * 64 * 64);
            for (at, rect) in rects.iter().enumerate() {
                prop_assert!(rects[at + 1..].iter().all(|other| rect.clip(other).is_none()));
            }
            let mut again = TileDamage::new(XGA);
            rects.iter().for_each(|rect| again.mark(*rect));
            prop_assert_eq!(again, before);
        }
    }
}
