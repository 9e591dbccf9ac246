//! What waits for room in a guest's ring: first in, first out, of a fixed size.

/// At most `LIMIT` events.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue<T, const LIMIT: usize> {
    slots: [Option<T>; LIMIT],
    first: usize,
    len: usize,
}

impl<T: Copy, const LIMIT: usize> EventQueue<T, LIMIT> {
    pub(crate) const fn new() -> Self {
        Self { slots: [None; LIMIT], first: 0, len: 0 }
    }

    /// Adds an event; false, and nothing is added, if the queue is full.
    pub(crate) fn push(&mut self, event: T) -> bool {
        if self.len >= LIMIT {
            return false;
        }
        let at = (self.first + self.len) % LIMIT;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(event);
            self.len += 1;
        }
        true
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.slots.get(self.first).copied().flatten().filter(|_| self.len > 0)
    }

    pub(crate) fn pop(&mut self) {
        if self.len > 0 {
            self.first = (self.first + 1) % LIMIT;
            self.len -= 1;
        }
    }

    /// Forgets everything; gives the number of events that were waiting.
    pub(crate) fn clear(&mut self) -> u64 {
        let waiting = u64::try_from(self.len).unwrap_or(u64::MAX);
        *self = Self::new();
        waiting
    }

    /// How many more there is room for.
    pub(crate) fn room(&self) -> usize {
        LIMIT.saturating_sub(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_round_the_end_and_a_full_queue_takes_nothing() {
        let mut queue = EventQueue::<u8, 3>::new();
        for turn in 0..10 {
            assert!(queue.push(turn));
            assert!(queue.push(turn + 100));
            assert_eq!(queue.front(), Some(turn));
            queue.pop();
            assert_eq!(queue.front(), Some(turn + 100));
            queue.pop();
            assert_eq!(queue.front(), None);
        }
        for event in 0..3 {
            assert!(queue.push(event));
        }
        assert!(!queue.push(9));
        assert_eq!((queue.room(), queue.clear(), queue.room()), (0, 3, 3));
        queue.pop();
        assert_eq!(queue.front(), None);
    }
}
