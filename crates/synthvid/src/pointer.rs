//! The guest's pointer: where it is, and its shape from one or more parts.

use zerocopy::FromBytes;

use crate::fault::ProtocolFault;
use crate::geometry::Size;
use crate::wire::{self, MessageType, POINTER_PART_LAST};

/// Largest width or height of a pointer (Linux `hyperv_fb.c`, `CURSOR_MAX_X` and `CURSOR_MAX_Y`).
pub const MAX_POINTER_PX: u32 = 96;

/// Bytes of the largest shape: 96 by 96 at 32 bits a pixel.
pub const MAX_POINTER_BYTES: usize = 96 * 96 * 4;

/// Where the pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerPosition {
    /// It is shown.
    pub visible: bool,
    /// Column of its upper left corner.
    pub x: i32,
    /// Row of its upper left corner.
    pub y: i32,
}

impl TryFrom<wire::PointerPosition> for PointerPosition {
    type Error = ProtocolFault;

    fn try_from(position: wire::PointerPosition) -> Result<Self, ProtocolFault> {
        if position.video_output != 0 {
            let kind = MessageType::PointerPosition;
            return Err(ProtocolFault::UnknownOutput { kind, output: position.video_output });
        }
        Ok(Self { visible: position.is_visible != 0, x: position.image_x.get(), y: position.image_y.get() })
    }
}

/// How the pixels of a pointer lie in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointerFormat {
    /// 32 bits a pixel: blue, green, red, alpha.
    Argb8888,
    /// An AND mask, then an XOR mask, 1 bit a pixel each, rows filled up to a byte.
    Monochrome,
}

/// A whole shape; its pixels are in [`crate::Vsp::pointer_pixels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerShape {
    /// How the pixels lie.
    pub format: PointerFormat,
    /// Columns and rows, 1 to 96 each.
    pub size: Size,
    /// Column of the pixel that points, inside of the size.
    pub hot_x: u32,
    /// Row of the pixel that points, inside of the size.
    pub hot_y: u32,
}

impl PointerShape {
    /// Bytes of all pixels: at most [`MAX_POINTER_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Size { width, height } = self.size;
        let bytes = match self.format {
            PointerFormat::Argb8888 => self.size.area() * 4,
            PointerFormat::Monochrome => u64::from(width.div_ceil(8)) * u64::from(height) * 2,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl TryFrom<wire::PointerShape> for PointerShape {
    type Error = ProtocolFault;

    fn try_from(head: wire::PointerShape) -> Result<Self, ProtocolFault> {
        let size = Size::new(head.width.get(), head.height.get());
        let limits = 1..=MAX_POINTER_PX;
        if !limits.contains(&size.width) || !limits.contains(&size.height) {
            return Err(ProtocolFault::PointerSize(size));
        }
        let (hot_x, hot_y) = (head.hot_x.get(), head.hot_y.get());
        if hot_x >= size.width || hot_y >= size.height {
            return Err(ProtocolFault::PointerHotSpot { x: hot_x, y: hot_y, size });
        }
        let format = if head.is_argb == 0 { PointerFormat::Monochrome } else { PointerFormat::Argb8888 };
        Ok(Self { format, size, hot_x, hot_y })
    }
}

/// Puts a shape together from its parts. Holds at most one shape in the making and one that is whole.
pub(crate) struct ShapeAssembly {
    pixels: [u8; MAX_POINTER_BYTES],
    filled: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    Parts { shape: PointerShape, next: u8 },
    Whole(PointerShape),
}

impl ShapeAssembly {
    pub(crate) const fn new() -> Self {
        Self { pixels: [0; MAX_POINTER_BYTES], filled: 0, state: State::Idle }
    }

    /// Takes the body of a POINTER_SHAPE; gives the shape if it was the last part.
    ///
    /// Part 0, or a last part on its own, starts over. A fault throws away what was collected.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<Option<PointerShape>, ProtocolFault> {
        let before = core::mem::replace(&mut self.state, State::Idle);
        let need = size_of::<wire::PointerShape>();
        let Ok((head, data)) = wire::PointerShape::read_from_prefix(body) else {
            return Err(ProtocolFault::TooShort { kind: MessageType::PointerShape, len: body.len(), need });
        };
        let shape = PointerShape::try_from(head)?;
        let part = head.part_index;
        let is_last = part == POINTER_PART_LAST;
        let next = match before {
            _ if part == 0 => 0,
            State::Parts { next, .. } => next,
            State::Idle | State::Whole(_) => 0,
        };
        if !is_last && part != next {
            return Err(ProtocolFault::PointerPart { got: part, expected: next });
        }
        if next == 0 {
            self.filled = 0;
        } else if !matches!(before, State::Parts { shape: first, .. } if first == shape) {
            return Err(ProtocolFault::PointerChanged(part));
        }
        let need = shape.bytes();
        let filled = self.filled.saturating_add(data.len());
        if filled > need || (is_last && filled < need) {
            return Err(ProtocolFault::PointerBytes { got: filled, need });
        }
        if let Some(place) = self.pixels.get_mut(self.filled..filled) {
            place.copy_from_slice(data);
        }
        self.filled = filled;
        if is_last {
            self.state = State::Whole(shape);
            return Ok(Some(shape));
        }
        self.state = State::Parts { shape, next: next.saturating_add(1) };
        Ok(None)
    }

    /// The shape that is whole, and its pixels.
    pub(crate) fn whole(&self) -> Option<(PointerShape, &[u8])> {
        match self.state {
            State::Whole(shape) => Some((shape, self.pixels.get(..self.filled)?)),
            State::Idle | State::Parts { .. } => None,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.state = State::Idle;
        self.filled = 0;
    }
}
