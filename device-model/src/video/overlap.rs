//! Rectangles of one DIRT that lie over each other.
//!
//! A message holds up to 255 rectangles, and nothing keeps a guest from naming the whole screen in each. Copied as
//! declared, one packet of 4 KiB would cost 255 screens.

use synthvid::Rect;

/// Cuts `rects`, none of them empty, into pieces that cover the same pixels, each once.
#[must_use]
pub fn without_overlap(rects: &[Rect]) -> Vec<Rect> {
    let mut edges: Vec<i32> = rects.iter().flat_map(|rect| [rect.top, rect.bottom]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut pieces: Vec<Rect> = Vec::new();
    let mut columns: Vec<&Rect> = Vec::new();
    for (&top, &bottom) in edges.iter().zip(edges.iter().skip(1)) {
        columns.clear();
        columns.extend(rects.iter().filter(|rect| rect.top <= top && bottom <= rect.bottom));
        columns.sort_unstable_by_key(|rect| rect.left);
        let first = pieces.len();
        for rect in &columns {
            match pieces.get_mut(first..).and_then(<[Rect]>::last_mut) {
                Some(piece) if rect.left <= piece.right => piece.right = piece.right.max(rect.right),
                _ => pieces.push(Rect::new(rect.left, top, rect.right, bottom)),
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(rects: &[Rect], x: i32, y: i32) -> usize {
        rects.iter().filter(|rect| rect.contains(x, y)).count()
    }

    #[test]
    fn same_rectangle_many_times_is_one_piece() {
        let screen = Rect::new(0, 0, 1024, 768);
        assert_eq!(without_overlap(&[screen; 255]), [screen]);
    }

    #[test]
    fn pieces_cover_the_same_pixels_each_once() {
        let rects: Vec<Rect> = (0..40)
            .map(|index: i32| {
                let (left, top) = (index * 7 % 31, index * 11 % 29);
                Rect::new(left, top, left + 1 + index % 9, top + 1 + index * 5 % 8)
            })
            .collect();
        let pieces = without_overlap(&rects);
        for (x, y) in (0..48).flat_map(|x| (0..48).map(move |y| (x, y))) {
            assert_eq!(covers(&pieces, x, y), covers(&rects, x, y).min(1), "pixel ({x}, {y})");
        }
    }

    #[test]
    fn neighbours_become_one_piece_and_strangers_stay_two() {
        let row = [Rect::new(0, 0, 4, 2), Rect::new(4, 0, 8, 2), Rect::new(9, 0, 12, 2)];
        assert_eq!(without_overlap(&row), [Rect::new(0, 0, 8, 2), Rect::new(9, 0, 12, 2)]);
    }

    #[test]
    fn no_rectangle_gives_no_piece() {
        assert_eq!(without_overlap(&[]), []);
    }
}
