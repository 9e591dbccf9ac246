//! What the guest drew, and its way into VRAM.

use synthvid::{Rect, Size};

use crate::memory::{PAGE_BYTES, SimMemory};

/// Bytes a pixel, XRGB8888 little endian.
const PIXEL_BYTES: u32 = 4;

/// How drawing gets into VRAM (Linux `hyperv_fb.c`, `need_docopy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VramPath {
    /// VRAM lies in the MMIO window: drawing goes to a shadow, and is copied just before it is declared.
    Shadow,
    /// VRAM is RAM of the guest: drawing goes there at once.
    Direct,
}

/// A framebuffer of XRGB8888 pixels, and the VRAM behind it.
///
/// *Shape*: row 0 on top, rows follow each other without a gap. Drawing outside of it is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Framebuffer {
    memory: SimMemory,
    vram_gpa: u64,
    path: VramPath,
    size: Size,
    pixels: Vec<u32>,
}

impl Framebuffer {
    /// A black framebuffer. The caller has made sure that `size` fits into VRAM.
    pub(crate) fn new(memory: SimMemory, vram_gpa: u64, path: VramPath, size: Size) -> Self {
        let count = usize::try_from(size.area()).unwrap_or(0);
        Self { memory, vram_gpa, path, size, pixels: vec![0; count] }
    }

    /// Bytes that a framebuffer of `size` takes.
    pub(crate) fn bytes_of(size: Size) -> u64 {
        size.area().saturating_mul(u64::from(PIXEL_BYTES))
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Bytes from one row to the next.
    pub(crate) fn pitch_bytes(&self) -> u64 {
        u64::from(self.size.width) * u64::from(PIXEL_BYTES)
    }

    /// What was drawn last at (`x`, `y`), or `None` off the screen.
    pub(crate) fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        (x < self.size.width).then(|| self.row(y)?.get(usize::try_from(x).ok()?).copied()).flatten()
    }

    /// Gives every pixel of `rect` the colour that `colour` says; the part on the screen comes back.
    pub(crate) fn draw(&mut self, rect: Rect, mut colour: impl FnMut(u32, u32) -> u32) -> Option<Rect> {
        let rect = rect.clip(&self.size.rect())?;
        for y in rect.top.unsigned_abs()..rect.bottom.unsigned_abs() {
            let left = rect.left.unsigned_abs();
            let Some(row) = self.row_mut(y) else { continue };
            let columns = (left..rect.right.unsigned_abs()).zip(row.iter_mut().skip(to_index(left)));
            columns.for_each(|(x, pixel)| *pixel = colour(x, y));
        }
        self.drawn(rect);
        Some(rect)
    }

    /// Moves everything `rows` rows up and makes the rows below black.
    pub(crate) fn scroll_up(&mut self, rows: u32) {
        let rows = rows.min(self.size.height);
        let moved = to_index(rows) * to_index(self.size.width);
        self.pixels.drain(..moved.min(self.pixels.len()));
        self.pixels.resize(to_index(self.size.width) * to_index(self.size.height), 0);
        self.drawn(self.size.rect());
    }

    /// Copies the pixels of `rect` to VRAM, if drawing does not go there by itself.
    pub(crate) fn copy_rect(&self, rect: Rect) {
        if self.path == VramPath::Shadow {
            self.write_rect(rect);
        }
    }

    /// Copies whole pages to VRAM, if drawing does not go there by itself. `pages` are counted from the start of
    /// the framebuffer; what lies behind its end is not copied.
    pub(crate) fn copy_pages(&self, pages: &[u64]) {
        if self.path != VramPath::Shadow {
            return;
        }
        let page_px = PAGE_BYTES / u64::from(PIXEL_BYTES);
        for page in pages {
            let first = usize::try_from(page.saturating_mul(page_px)).unwrap_or(usize::MAX);
            let rest = self.pixels.get(first..).unwrap_or_default();
            let pixels = rest.get(..to_index_u64(page_px)).unwrap_or(rest);
            self.write(page.saturating_mul(PAGE_BYTES), pixels);
        }
    }

    fn drawn(&self, rect: Rect) {
        if self.path == VramPath::Direct {
            self.write_rect(rect);
        }
    }

    fn write_rect(&self, rect: Rect) {
        let Some(rect) = rect.clip(&self.size.rect()) else { return };
        let left = rect.left.unsigned_abs();
        for y in rect.top.unsigned_abs()..rect.bottom.unsigned_abs() {
            let Some(row) = self.row(y) else { continue };
            let pixels = row.get(to_index(left)..to_index(rect.right.unsigned_abs())).unwrap_or_default();
            self.write(u64::from(y) * self.pitch_bytes() + u64::from(left * PIXEL_BYTES), pixels);
        }
    }

    fn write(&self, offset: u64, pixels: &[u32]) {
        let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        // VRAM holds the whole framebuffer, so a write cannot miss; if it did, the host's picture would show it.
        let _ = self.memory.write(self.vram_gpa.saturating_add(offset), &bytes);
    }

    fn row(&self, y: u32) -> Option<&[u32]> {
        let start = to_index(y).checked_mul(to_index(self.size.width))?;
        self.pixels.get(start..start.checked_add(to_index(self.size.width))?)
    }

    fn row_mut(&mut self, y: u32) -> Option<&mut [u32]> {
        let start = to_index(y).checked_mul(to_index(self.size.width))?;
        self.pixels.get_mut(start..start.checked_add(to_index(self.size.width))?)
    }
}

fn to_index(number: u32) -> usize {
    to_index_u64(number.into())
}

fn to_index_u64(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestAddress};

    const VRAM: u64 = 0x1_0000;

    /// VRAM in RAM for both paths, so that the test can read it.
    fn framebuffer(path: VramPath) -> Framebuffer {
        let memory = SimMemory::new(0x10_0000, 0xf800_0000, 0x1000).expect("memory");
        Framebuffer::new(memory, VRAM, path, Size::new(64, 48))
    }

    fn vram(framebuffer: &Framebuffer, x: u64, y: u64) -> u32 {
        let at = GuestAddress(VRAM + (y * 64 + x) * 4);
        framebuffer.memory.ram().read_obj(at).expect("in RAM")
    }

    #[test]
    fn shadow_reaches_vram_only_by_a_copy() {
        let mut shadowed = framebuffer(VramPath::Shadow);
        shadowed.draw(Rect::new(1, 2, 3, 4), |x, y| x * 100 + y);
        assert_eq!((shadowed.pixel(2, 3), vram(&shadowed, 2, 3)), (Some(203), 0));
        shadowed.copy_rect(Rect::new(2, 3, 3, 4));
        assert_eq!((vram(&shadowed, 2, 3), vram(&shadowed, 1, 2)), (203, 0));
    }

    #[test]
    fn direct_drawing_is_in_vram_at_once() {
        let mut direct = framebuffer(VramPath::Direct);
        direct.draw(Rect::new(63, 47, 64, 48), |_, _| 0xab_cdef);
        assert_eq!(vram(&direct, 63, 47), 0xab_cdef);
    }

    #[test]
    fn page_copy_moves_sixteen_rows_of_64_pixels_and_stops_at_the_end() {
        let mut shadowed = framebuffer(VramPath::Shadow);
        shadowed.draw(Rect::new(0, 0, 64, 48), |x, y| (x << 8 | y) + 1);
        shadowed.copy_pages(&[2, 3, 900]);
        assert_eq!(
            (vram(&shadowed, 0, 31), vram(&shadowed, 0, 32), vram(&shadowed, 63, 47)),
            (0, 33, 0x3f30)
        );
        assert_eq!(vram(&shadowed, 0, 48), 0, "behind the framebuffer");
    }

    #[test]
    fn scrolling_moves_rows_up_and_leaves_black_ones() {
        let mut direct = framebuffer(VramPath::Direct);
        direct.draw(Rect::new(0, 0, 64, 48), |_, y| y + 1);
        direct.scroll_up(16);
        assert_eq!(
            (direct.pixel(5, 0), direct.pixel(5, 31), direct.pixel(5, 32)),
            (Some(17), Some(48), Some(0))
        );
        assert_eq!((vram(&direct, 5, 0), vram(&direct, 5, 40)), (17, 0));
        direct.scroll_up(1_000);
        assert_eq!(direct.pixel(5, 0), Some(0));
    }

    #[test]
    fn drawing_off_the_screen_is_cut_off() {
        let mut direct = framebuffer(VramPath::Direct);
        assert_eq!(direct.draw(Rect::new(60, 40, 90, 90), |_, _| 1), Some(Rect::new(60, 40, 64, 48)));
        assert_eq!(direct.draw(Rect::new(64, 0, 90, 90), |_, _| 1), None);
        assert_eq!((direct.pixel(64, 0), direct.pixel(0, 48)), (None, None));
    }
}
