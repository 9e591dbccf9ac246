//! The screen modes that a host offers.

use crate::geometry::Size;
use crate::wire::MAX_RESOLUTIONS;

/// One screen mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Pixels.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Mode {
    /// This many pixels and rows.
    #[must_use]
    pub const fn new(width: u16, height: u16) -> Self {
        Self { width, height }
    }

    /// The same as a size.
    #[must_use]
    pub fn size(self) -> Size {
        Size::new(u32::from(self.width), u32::from(self.height))
    }

    /// Bytes of a screen of 32 bits a pixel. Linux checks no offered mode against the size of VRAM, so the
    /// host must.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.size().area() * 4
    }
}

/// One to 64 modes, one of them the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeList {
    modes: [Mode; MAX_RESOLUTIONS],
    len: usize,
    default_index: usize,
}

impl ModeList {
    /// The modes in the order in which the guest will see them; the one at `default_index` is the default.
    ///
    /// *Errors*: [`ModeListError`] if there is none or more than 64, if the default is not in the list, or if a
    /// mode has no pixels.
    pub fn new(modes: &[Mode], default_index: usize) -> Result<Self, ModeListError> {
        let mut list = Self { modes: [Mode::new(0, 0); MAX_RESOLUTIONS], len: modes.len(), default_index };
        let Some(place) = list.modes.get_mut(..modes.len()).filter(|place| !place.is_empty()) else {
            return Err(ModeListError::Count(modes.len()));
        };
        if default_index >= modes.len() {
            return Err(ModeListError::DefaultIndex { index: default_index, count: modes.len() });
        }
        if let Some(&mode) = modes.iter().find(|mode| mode.size().is_empty()) {
            return Err(ModeListError::NoPixels(mode));
        }
        place.copy_from_slice(modes);
        Ok(list)
    }

    /// The list of one mode.
    ///
    /// *Errors*: [`ModeListError::NoPixels`].
    pub fn single(mode: Mode) -> Result<Self, ModeListError> {
        Self::new(&[mode], 0)
    }

    /// The modes.
    #[must_use]
    pub fn as_slice(&self) -> &[Mode] {
        self.modes.get(..self.len).unwrap_or(&[])
    }

    /// Where the default stands.
    #[must_use]
    pub fn default_index(&self) -> usize {
        self.default_index
    }

    /// The default.
    #[must_use]
    pub fn default_mode(&self) -> Mode {
        self.modes.get(self.default_index).copied().unwrap_or(Mode::new(1024, 768))
    }

    /// The same list with another default; `None` if `mode` is not in it.
    #[must_use]
    pub fn with_default(mut self, mode: Mode) -> Option<Self> {
        self.default_index = self.as_slice().iter().position(|listed| *listed == mode)?;
        Some(self)
    }

    /// The first `max` modes, or all. If that leaves the default out, it takes the last place.
    #[must_use]
    pub(crate) fn at_most(&self, max: usize) -> Option<Self> {
        let len = self.len.min(max);
        let last = len.checked_sub(1)?;
        let mut cut = *self;
        cut.len = len;
        if self.default_index > last {
            *cut.modes.get_mut(last)? = self.default_mode();
            cut.default_index = last;
        }
        Some(cut)
    }
}

/// Why a list of modes cannot be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeListError {
    /// None, or too many.
    #[error("{0} modes, the message holds 1 to {MAX_RESOLUTIONS}")]
    Count(usize),
    /// The default is not one of them.
    #[error("default mode {index} of {count}, the first is 0")]
    DefaultIndex {
        /// The index given.
        index: usize,
        /// Modes in the list.
        count: usize,
    },
    /// Width or height is 0.
    #[error("mode {}x{} has no pixels", .0.width, .0.height)]
    NoPixels(Mode),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const XGA: Mode = Mode::new(1024, 768);
    const HD: Mode = Mode::new(1920, 1080);

    #[test]
    fn empty_list_and_65_modes_are_refused() {
        assert_eq!(ModeList::new(&[], 0), Err(ModeListError::Count(0)));
        assert_eq!(ModeList::new(&vec![XGA; 65], 0), Err(ModeListError::Count(65)));
        assert!(ModeList::new(&vec![XGA; 64], 63).is_ok());
    }

    #[test]
    fn default_outside_of_the_list_is_refused() {
        assert_eq!(ModeList::new(&[XGA], 1), Err(ModeListError::DefaultIndex { index: 1, count: 1 }));
    }

    #[test]
    fn mode_without_pixels_is_refused() {
        assert_eq!(ModeList::single(Mode::new(0, 768)), Err(ModeListError::NoPixels(Mode::new(0, 768))));
    }

    #[test]
    fn shortened_list_keeps_the_default() {
        let list = ModeList::new(&[XGA, Mode::new(800, 600), HD], 2).unwrap();
        let cut = list.at_most(2).unwrap();
        assert_eq!(cut.as_slice(), [XGA, HD]);
        assert_eq!(cut.default_mode(), HD);
        assert_eq!(list.at_most(64), Some(list));
        assert_eq!(list.at_most(0), None);
    }
}
