//! What hyperv_fb remembers of its damage, and when it declares it: two timers that know nothing of each other.
//!
//! Source: Linux `drivers/video/fbdev/hyperv_fb.c` (`hvfb_ondemand_refresh_throttle`, `hvfb_update_work`,
//! `synthvid_deferred_io`, `synthvid_update`) and `drivers/video/fbdev/core/fb_defio.c`.

use std::collections::BTreeSet;

use synthvid::{Rect, Size};

use crate::memory::PAGE_BYTES;

/// HZ / 20 at HZ = 250: twelve jiffies of 4 ms.
pub const UPDATE_DELAY_NS: u64 = 48_000_000;

/// Damage by the kernel's own drawing: one bounding box, declared 48 ms after the first stroke.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpdateTimer {
    damage: Option<Rect>,
    due_ns: Option<u64>,
}

impl UpdateTimer {
    /// Adds a stroke and starts the timer if it does not run.
    pub(crate) fn draw(&mut self, rect: Rect, now_ns: u64) {
        self.damage = Some(self.damage.map_or(rect, |damage| damage.union(&rect)));
        self.start(now_ns);
    }

    /// Starts the timer if it does not run, damage or not.
    pub(crate) fn start(&mut self, now_ns: u64) {
        self.due_ns.get_or_insert_with(|| now_ns.saturating_add(UPDATE_DELAY_NS));
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// If the timer has run out, stops it and gives the box to copy and declare.
    ///
    /// A box with an edge outside of `screen` is dropped whole, as the driver does it.
    pub(crate) fn expire(&mut self, now_ns: u64, screen: Size) -> Option<Rect> {
        if self.due_ns.is_none_or(|due| now_ns < due) {
            return None;
        }
        self.due_ns = None;
        let damage = self.damage.take()?;
        (screen.rect().contains_rect(&damage) && !damage.is_empty()).then_some(damage)
    }
}

/// Damage through a mapping of `/dev/fb0`: the pages written to, declared 48 ms after the first fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeferredIo {
    pages: BTreeSet<u64>,
    due_ns: Option<u64>,
}

/// What a [`DeferredIo`] has collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TouchedPages {
    /// Page numbers from the start of the framebuffer, ascending. In the MMIO path each is copied whole.
    pub(crate) pages: Vec<u64>,
    /// Full-width rows from the first page's first byte to the last page's last.
    pub(crate) rect: Rect,
}

impl DeferredIo {
    /// Notes a write to `len` bytes from `offset` on. Only the first write to a page faults.
    pub(crate) fn touch(&mut self, offset: u64, len: u64, now_ns: u64) {
        let Some(last) = len.checked_sub(1).and_then(|last| offset.checked_add(last)) else { return };
        self.pages.extend(offset / PAGE_BYTES..=last / PAGE_BYTES);
        self.due_ns.get_or_insert_with(|| now_ns.saturating_add(UPDATE_DELAY_NS));
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// If the timer has run out, stops it and gives the pages to copy and the rows to declare.
    pub(crate) fn expire(&mut self, now_ns: u64, screen: Size, pitch: u64) -> Option<TouchedPages> {
        if self.due_ns.is_none_or(|due| now_ns < due) {
            return None;
        }
        self.due_ns = None;
        let pages: Vec<_> = core::mem::take(&mut self.pages).into_iter().collect();
        let row_of = |byte: u64| i32::try_from(byte.checked_div(pitch).unwrap_or(0)).unwrap_or(i32::MAX);
        let top = row_of(pages.first()? * PAGE_BYTES);
        let bottom = row_of(pages.last()? * PAGE_BYTES + PAGE_BYTES - 1).saturating_add(1);
        let declared = Rect::new(0, top, screen.rect().right, bottom);
        Some(TouchedPages { pages, rect: clamp_as_driver(declared, screen) })
    }
}

/// The last correction that the driver makes to a rectangle (`synthvid_update`): what it does not like becomes a
/// screen edge.
pub(crate) fn clamp_as_driver(rect: Rect, screen: Size) -> Rect {
    let edges = screen.rect();
    let clamp = |first: i32, last: i32, limit: i32| {
        let first = if first > limit { 0 } else { first };
        let last = if last < first || last > limit { limit } else { last };
        (first, last)
    };
    let (left, right) = clamp(rect.left, rect.right, edges.right);
    let (top, bottom) = clamp(rect.top, rect.bottom, edges.bottom);
    Rect::new(left, top, right, bottom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Size = Size::new(1024, 768);
    const MS: u64 = 1_000_000;

    #[test]
    fn strokes_within_48_ms_become_one_bounding_box() {
        let mut timer = UpdateTimer::default();
        timer.draw(Rect::new(0, 0, 8, 16), 10 * MS);
        timer.draw(Rect::new(1016, 752, 1024, 768), 57 * MS);
        assert_eq!(timer.due_ns(), Some(58 * MS));
        assert_eq!(timer.expire(57 * MS, SCREEN), None);
        assert_eq!(timer.expire(58 * MS, SCREEN), Some(SCREEN.rect()));
        assert_eq!((timer.due_ns(), timer.expire(200 * MS, SCREEN)), (None, None));
    }

    #[test]
    fn box_with_an_edge_off_the_screen_is_dropped_whole() {
        let mut timer = UpdateTimer::default();
        timer.draw(Rect::new(0, 0, 8, 16), 0);
        timer.draw(Rect::new(0, 752, 8, 769), 0);
        assert_eq!(timer.expire(UPDATE_DELAY_NS, SCREEN), None);
        timer.draw(Rect::new(0, 752, 8, 768), UPDATE_DELAY_NS);
        assert_eq!(timer.expire(2 * UPDATE_DELAY_NS, SCREEN), Some(Rect::new(0, 752, 8, 768)));
    }

    #[test]
    fn timer_without_damage_declares_nothing() {
        let mut timer = UpdateTimer::default();
        timer.start(0);
        assert_eq!((timer.due_ns(), timer.expire(UPDATE_DELAY_NS, SCREEN)), (Some(UPDATE_DELAY_NS), None));
    }

    #[test]
    fn touched_pages_become_full_width_rows() {
        let mut deferred = DeferredIo::default();
        deferred.touch(5 * 4096 + 4000, 4, 0);
        deferred.touch(9 * 4096, 1, 40 * MS);
        let touched = deferred.expire(UPDATE_DELAY_NS, SCREEN, 4096).expect("two pages");
        assert_eq!(touched, TouchedPages { pages: vec![5, 9], rect: Rect::new(0, 5, 1024, 10) });
    }

    #[test]
    fn page_that_spans_rows_declares_all_of_them() {
        let screen = Size::new(800, 600);
        let mut deferred = DeferredIo::default();
        deferred.touch(4096, 1, 0);
        // Bytes 4096 to 8191 at 3200 bytes a row are in rows 1 and 2.
        let touched = deferred.expire(UPDATE_DELAY_NS, screen, 3200).expect("a page");
        assert_eq!(touched.rect, Rect::new(0, 1, 800, 3));
    }

    #[test]
    fn last_page_is_cut_at_the_end_of_the_screen() {
        let screen = Size::new(640, 479);
        let mut deferred = DeferredIo::default();
        deferred.touch(478 * 2560, 2560, 0);
        let touched = deferred.expire(UPDATE_DELAY_NS, screen, 2560).expect("a page");
        assert_eq!(touched.rect.bottom, 479);
    }

    #[test]
    fn write_of_nothing_touches_nothing() {
        let mut deferred = DeferredIo::default();
        deferred.touch(100, 0, 0);
        assert_eq!((deferred.due_ns(), deferred.expire(u64::MAX, SCREEN, 4096)), (None, None));
    }

    #[test]
    fn edges_beyond_the_screen_become_its_edges() {
        assert_eq!(clamp_as_driver(Rect::new(0, 0, i32::MAX, i32::MAX), SCREEN), SCREEN.rect());
        assert_eq!(clamp_as_driver(Rect::new(2000, 5, 3000, 4), SCREEN), Rect::new(0, 5, 1024, 768));
        assert_eq!(clamp_as_driver(Rect::new(-3, 0, 5, 5), SCREEN), Rect::new(-3, 0, 5, 5));
    }
}
