//! Indices into SynIC pages that are in range by construction.

use hv_abi::{message, sint};

/// A synthetic interrupt source, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sint(u8);

impl Sint {
    /// The SINT that VMBus uses, 2.
    pub const VMBUS: Self = Self(sint::VMBUS);

    /// `index` as a SINT; `None` from 16 up.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < sint::COUNT { Some(Self(index)) } else { None }
    }

    /// All sixteen, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0_u8..16).map(Self)
    }

    /// The number, 0 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number as an array index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An event flag of one SINT, 0 to 2047; VMBus uses the relid of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventFlag(u16);

impl EventFlag {
    /// `number` as an event flag; `None` from 2048 up.
    pub const fn new(number: u16) -> Option<Self> {
        if number < message::EVENT_FLAG_COUNT { Some(Self(number)) } else { None }
    }

    /// The number, 0 to 2047.
    pub const fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_index_past_the_end_is_refused() {
        assert_eq!(Sint::new(15).map(Sint::number), Some(15));
        assert_eq!(Sint::new(16), None);
        assert_eq!(EventFlag::new(2047).map(EventFlag::number), Some(2047));
        assert_eq!(EventFlag::new(2048), None);
        assert_eq!(Sint::all().count(), sint::COUNT);
    }
}
