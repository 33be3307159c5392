//! What is to happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::words::Time;

/// Things due, in the order of their time; those of one instant in the order in which they were
/// put in, so that a run can be repeated exactly.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    count: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: Time,
    number: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }

    pub(super) fn push(&mut self, at: Time, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Due { at, number: self.count, what }));
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// The next thing that is due at `now` or before, and its time.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, T)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| (due.at, due.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_instant_keep_their_order() {
        let mut queue = Queue::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'x')] {
            queue.push(Time(at), what);
        }
        let order: String =
            std::iter::from_fn(|| queue.pop(Time(5))).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
        assert_eq!(queue.next(), Some(Time(9)));
    }
}
