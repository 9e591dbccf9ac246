//! The messages that wait for room in a ring: at most one of each kind.

use core::mem::{Discriminant, discriminant};

/// First in, first out; a second message of a variant of `T` takes the place of the first.
///
/// `KINDS` is the number of variants, which bounds the queue whatever the other end does. It also keeps a host's
/// promise never to answer twice: Linux waits for all answers on one completion that it does not clear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneOfEach<T, const KINDS: usize> {
    waiting: [Option<T>; KINDS],
}

impl<T: Copy, const KINDS: usize> OneOfEach<T, KINDS> {
    pub(crate) const fn new() -> Self {
        Self { waiting: [None; KINDS] }
    }

    /// Adds `message`; true if it replaced an older one of its kind.
    pub(crate) fn push(&mut self, message: T) -> bool {
        for slot in &mut self.waiting {
            match slot {
                Some(queued) if discriminant(queued) == discriminant(&message) => {
                    *queued = message;
                    return true;
                }
                Some(_) => {}
                None => {
                    *slot = Some(message);
                    return false;
                }
            }
        }
        // Not reached: there is a slot for every kind. The users' tests pin that.
        false
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.waiting.first().copied().flatten()
    }

    pub(crate) fn pop(&mut self) {
        self.remove(0);
    }

    /// Forgets everything; gives the number of messages that were waiting.
    pub(crate) fn clear(&mut self) -> u64 {
        let before = core::mem::replace(self, Self::new());
        before.waiting.iter().flatten().fold(0, |count, _| count + 1)
    }

    /// Forgets the message of this kind; true if there was one.
    pub(crate) fn drop_kind(&mut self, kind: Discriminant<T>) -> bool {
        let found = self.waiting.iter().position(|slot| slot.as_ref().map(discriminant) == Some(kind));
        found.is_some_and(|at| self.remove(at))
    }

    fn remove(&mut self, at: usize) -> bool {
        let Some(tail) = self.waiting.get_mut(at..) else { return false };
        let Some(first) = tail.first_mut() else { return false };
        let was_some = first.take().is_some();
        tail.rotate_left(1);
        was_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Message {
        A(u8),
        B,
        C,
    }

    #[test]
    fn newer_message_takes_the_place_of_the_older() {
        let mut queue = OneOfEach::<Message, 3>::new();
        assert!(!queue.push(Message::A(1)));
        assert!(!queue.push(Message::B));
        assert!(queue.push(Message::A(2)));
        assert_eq!(queue.front(), Some(Message::A(2)));
        queue.pop();
        assert_eq!(queue.front(), Some(Message::B));
    }

    #[test]
    fn dropped_kind_leaves_the_rest_in_order() {
        let mut queue = OneOfEach::<Message, 3>::new();
        for message in [Message::B, Message::A(1), Message::C] {
            queue.push(message);
        }
        assert!(queue.drop_kind(discriminant(&Message::A(0))));
        assert!(!queue.drop_kind(discriminant(&Message::A(0))));
        queue.pop();
        assert_eq!(queue.front(), Some(Message::C));
    }

    #[test]
    fn cleared_queue_says_how_many_it_held() {
        let mut queue = OneOfEach::<Message, 3>::new();
        queue.push(Message::B);
        queue.push(Message::C);
        assert_eq!(queue.clear(), 2);
        assert_eq!(queue.front(), None);
        queue.pop();
        assert_eq!(queue.clear(), 0);
    }
}
