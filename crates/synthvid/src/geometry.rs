//! Rectangles and sizes, in pixels.
//!
//! Every rectangle of the project is half-open: `left` and `top` lie inside, `right` and `bottom` do not.
//! The wire says the same of DIRT's x2 and y2. No operation here overflows, whatever the coordinates.

use core::fmt;

/// A half-open rectangle: columns `left..right` of rows `top..bottom`.
///
/// *Shape*: any four `i32`; a rectangle whose edges meet is empty, one whose edges are swapped is inverted
/// (and empty as well).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// First column inside.
    pub left: i32,
    /// First row inside.
    pub top: i32,
    /// First column to the right, outside.
    pub right: i32,
    /// First row below, outside.
    pub bottom: i32,
}

impl Rect {
    /// The rectangle with nothing in it, at the origin.
    pub const EMPTY: Self = Self::new(0, 0, 0, 0);

    /// The rectangle with these edges, in the order of the wire: x1, y1, x2, y2.
    #[must_use]
    pub const fn new(left: i32, top: i32, right: i32, bottom: i32) -> Self {
        Self { left, top, right, bottom }
    }

    /// The rectangle of `size` whose first pixel is (`left`, `top`); edges beyond `i32::MAX` are cut off.
    #[must_use]
    pub const fn at(left: i32, top: i32, size: Size) -> Self {
        Self {
            left,
            top,
            right: left.saturating_add_unsigned(size.width),
            bottom: top.saturating_add_unsigned(size.height),
        }
    }

    /// No pixel lies inside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }

    /// An edge lies on the wrong side of its opposite.
    #[must_use]
    pub const fn is_inverted(&self) -> bool {
        self.left > self.right || self.top > self.bottom
    }

    /// Columns inside; 0 if there are none.
    #[must_use]
    pub const fn width(&self) -> u32 {
        if self.right > self.left { self.right.abs_diff(self.left) } else { 0 }
    }

    /// Rows inside; 0 if there are none.
    #[must_use]
    pub const fn height(&self) -> u32 {
        if self.bottom > self.top { self.bottom.abs_diff(self.top) } else { 0 }
    }

    /// Width and height.
    #[must_use]
    pub const fn size(&self) -> Size {
        Size::new(self.width(), self.height())
    }

    /// Pixels inside.
    #[must_use]
    pub const fn area(&self) -> u64 {
        self.size().area()
    }

    /// The pixel (`x`, `y`) lies inside.
    #[must_use]
    pub const fn contains(&self, x: i32, y: i32) -> bool {
        self.left <= x && x < self.right && self.top <= y && y < self.bottom
    }

    /// Every pixel of `other` lies inside; an empty rectangle lies inside of any.
    #[must_use]
    pub const fn contains_rect(&self, other: &Self) -> bool {
        other.is_empty()
            || (self.left <= other.left
                && other.right <= self.right
                && self.top <= other.top
                && other.bottom <= self.bottom)
    }

    /// The part inside of `bounds`, or `None` if no pixel is left.
    #[must_use]
    pub fn clip(&self, bounds: &Self) -> Option<Self> {
        let clipped = Self {
            left: self.left.max(bounds.left),
            top: self.top.max(bounds.top),
            right: self.right.min(bounds.right),
            bottom: self.bottom.min(bounds.bottom),
        };
        (!clipped.is_empty()).then_some(clipped)
    }

    /// The smallest rectangle around both; an empty one adds nothing.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return if other.is_empty() { Self::EMPTY } else { *other };
        }
        if other.is_empty() {
            return *self;
        }
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl fmt::Display for Rect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})-({},{})", self.left, self.top, self.right, self.bottom)
    }
}

/// Width and height, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// This many columns and rows.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Pixels; cannot overflow, as both factors are 32 bits wide.
    #[must_use]
    pub const fn area(&self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// No pixel.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The rectangle of this size at the origin; edges beyond `i32::MAX` are cut off.
    #[must_use]
    pub const fn rect(&self) -> Rect {
        Rect::at(0, 0, *self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_that_meet_are_empty_and_not_inverted() {
        let rect = Rect::new(5, 5, 5, 9);
        assert!(rect.is_empty());
        assert!(!rect.is_inverted());
        assert_eq!(rect.area(), 0);
    }

    #[test]
    fn swapped_edges_are_inverted_and_have_no_area() {
        let rect = Rect::new(0, 9, 10, 3);
        assert!(rect.is_inverted());
        assert!(rect.is_empty());
        assert_eq!(rect.area(), 0);
    }

    #[test]
    fn widest_rectangle_has_an_area_without_overflow() {
        let rect = Rect::new(i32::MIN, i32::MIN, i32::MAX, i32::MAX);
        assert_eq!(rect.width(), u32::MAX);
        assert_eq!(rect.area(), u64::from(u32::MAX) * u64::from(u32::MAX));
    }

    #[test]
    fn right_and_bottom_edges_lie_outside() {
        let rect = Rect::new(0, 0, 2, 2);
        assert!(rect.contains(1, 1));
        assert!(!rect.contains(2, 1));
        assert!(!rect.contains(1, 2));
    }

    #[test]
    fn clip_of_disjoint_rectangles_leaves_nothing() {
        assert_eq!(Rect::new(0, 0, 4, 4).clip(&Rect::new(4, 0, 8, 4)), None);
    }

    #[test]
    fn union_ignores_an_inverted_rectangle() {
        let rect = Rect::new(1, 2, 3, 4);
        assert_eq!(rect.union(&Rect::new(100, 100, 0, 0)), rect);
        assert_eq!(Rect::new(9, 9, 0, 0).union(&Rect::new(7, 7, 7, 7)), Rect::EMPTY);
    }

    #[test]
    fn size_beyond_i32_is_cut_off() {
        assert_eq!(Size::new(u32::MAX, 1).rect(), Rect::new(0, 0, i32::MAX, 1));
    }

    fn any_rect() -> impl Strategy<Value = Rect> {
        any::<(i32, i32, i32, i32)>().prop_map(|(l, t, r, b)| Rect::new(l, t, r, b))
    }

    proptest! {
        #[test]
        fn clip_lies_inside_of_both(a in any_rect(), b in any_rect()) {
            if let Some(clip) = a.clip(&b) {
                prop_assert!(a.contains_rect(&clip) && b.contains_rect(&clip));
                prop_assert!(clip.area() <= a.area().min(b.area()));
            }
        }

        #[test]
        fn union_holds_both(a in any_rect(), b in any_rect()) {
            let union = a.union(&b);
            prop_assert!(union.contains_rect(&a) && union.contains_rect(&b));
            prop_assert!(union.area() >= a.area().max(b.area()));
        }
    }
}
