//! Deadlines in order, each of which can be cancelled: a heap with four children to a parent, and the position of
//! each deadline.
//!
//! ```text
//! order   [ deadline, sequence, slot ] …    the heap: no entry is later than those below it
//! slots   [ generation, position, what is due ] …    where each is in it; a ticket says which slot, and which generation
//! ```
//!
//! A new deadline is most often one of the latest, so it stays at the end, where it is put, and is cancelled there.
//! Neither moves anything, however many there are. Timers with equal deadlines fire in the order in which they were
//! set.
//!
//! # Invariants
//!
//! - A slot in use is at its position in the order, and the heap node there names the slot.
//! - No ticket is used twice: each use of a slot has another generation, even if slots were freed in between.

/// Children of a heap node. More children make the heap flatter, which is good for deadlines that come and go at its
/// end.
const CHILDREN: usize = 4;

/// The number of slots that are not worth freeing.
const KEPT: usize = 1024;

/// Slots with a greater generation are not freed: slots that replace them continue with their generation, and must
/// last as well.
const MANY_GENERATIONS: u32 = u32::MAX / 2;

/// The number of slots at most. A ticket has space for the number of a shard besides.
pub(super) const MAX_SLOTS: usize = 1 << 29;

/// Deadlines. See the module documentation. `T` is the event of a deadline.
pub(super) struct Deadlines<T> {
    // Unbounded here. The callers bound it; see `timers`.
    order: Vec<HeapNode>,
    slots: Vec<Slot<T>>,
    /// The slot that was freed last. Each free slot links to the one before it.
    free: Option<u32>,
    sequence: u64,
    /// The first generation of new slots: greater than that of any slot that was freed.
    generation: u32,
    /// When no more deadlines than this are left, free slots at the end are freed.
    shrink_at: usize,
}

/// A ticket: a slot, and the generation of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

struct HeapNode {
    deadline: u64,
    sequence: u64,
    slot: u32,
}

struct Slot<T> {
    /// The generation of its current use, or of the next one.
    generation: u32,
    content: Content<T>,
}

enum Content<T> {
    Used { position: u32, due: T },
    Free { next: Option<u32> },
}

impl HeapNode {
    fn is_before(&self, other: &HeapNode) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

impl<T> Deadlines<T> {
    pub(super) fn new() -> Deadlines<T> {
        let (order, slots) = (Vec::new(), Vec::new());
        Deadlines { order, slots, free: None, sequence: 0, generation: 1, shrink_at: 0 }
    }

    /// Returns the earliest deadline.
    pub(super) fn first(&self) -> Option<u64> {
        self.order.first().map(|entry| entry.deadline)
    }

    /// Returns the number of deadlines.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn set(&mut self, deadline: u64, due: T) -> Ticket {
        let position = self.order.len();
        let slot = self.use_slot(Content::Used { position: position as u32, due });
        self.sequence += 1;
        self.order.push(HeapNode { deadline, sequence: self.sequence, slot });
        self.rise(position);
        Ticket { slot, generation: self.slots[slot as usize].generation }
    }

    /// Returns the event of this ticket, if it has not fired.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        let slot =
            self.slots.get(ticket.slot as usize).filter(|slot| slot.generation == ticket.generation)?;
        match &slot.content {
            Content::Used { due, .. } => Some(due),
            Content::Free { .. } => None,
        }
    }

    /// Cancels a deadline. Returns the deadline and its event.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<(u64, T)> {
        let slot =
            self.slots.get(ticket.slot as usize).filter(|slot| slot.generation == ticket.generation)?;
        let Content::Used { position, .. } = slot.content else { return None };
        Some(self.remove(position as usize))
    }

    /// Takes the first event, if it is due.
    pub(super) fn take_due(&mut self, now: u64) -> Option<T> {
        self.first().filter(|deadline| *deadline <= now)?;
        Some(self.remove(0).1)
    }

    fn remove(&mut self, position: usize) -> (u64, T) {
        let entry = self.order.swap_remove(position);
        if position < self.order.len() {
            // The node that was last may belong above or below its new position.
            let position = self.rise(position);
            self.sink(position);
        }
        let due = self.free_slot(entry.slot);
        if self.order.len() <= self.shrink_at && self.slots.len() > KEPT {
            self.shrink();
        }
        (entry.deadline, due)
    }

    /// Moves a node up to its position. Returns the position.
    fn rise(&mut self, mut position: usize) -> usize {
        while position > 0 {
            let parent = (position - 1) / CHILDREN;
            if !self.order[position].is_before(&self.order[parent]) {
                break;
            }
            self.order.swap(position, parent);
            self.note_position(position);
            position = parent;
        }
        self.note_position(position);
        position
    }

    /// Moves a node down to its position.
    fn sink(&mut self, mut position: usize) {
        while let Some(child) = self.first_child(position) {
            if !self.order[child].is_before(&self.order[position]) {
                break;
            }
            self.order.swap(child, position);
            self.note_position(position);
            position = child;
        }
        self.note_position(position);
    }

    /// Returns the earliest child of a node.
    fn first_child(&self, position: usize) -> Option<usize> {
        let start = position * CHILDREN + 1;
        let end = (start + CHILDREN).min(self.order.len());
        (start..end).reduce(
            |first, child| {
                if self.order[child].is_before(&self.order[first]) { child } else { first }
            },
        )
    }

    fn note_position(&mut self, at: usize) {
        let slot = &mut self.slots[self.order[at].slot as usize];
        let Content::Used { position, .. } = &mut slot.content else { unreachable!("it is in the order") };
        *position = at as u32;
    }

    fn use_slot(&mut self, content: Content<T>) -> u32 {
        let Some(free) = self.free else {
            assert!(self.slots.len() < MAX_SLOTS, "memory for so many timers ends earlier");
            self.slots.push(Slot { generation: self.generation, content });
            self.shrink_at = self.slots.len() / 4;
            return self.slots.len() as u32 - 1;
        };
        let slot = &mut self.slots[free as usize];
        let Content::Free { next } = slot.content else { unreachable!("it is among the free ones") };
        slot.content = content;
        self.free = next;
        free
    }

    fn free_slot(&mut self, index: u32) -> T {
        let slot = &mut self.slots[index as usize];
        let content = std::mem::replace(&mut slot.content, Content::Free { next: self.free });
        let Content::Used { due, .. } = content else { unreachable!("it was in the order") };
        match slot.generation.checked_add(1) {
            Some(generation) => {
                slot.generation = generation;
                self.free = Some(index);
            }
            // The slot has had 2^32 timers and is not used again.
            None => slot.content = Content::Free { next: None },
        }
        due
    }

    /// Frees the unused slots at the end. Slots in use stay where they are, so this is tried again when half of the
    /// deadlines are gone.
    fn shrink(&mut self) {
        let stays = |slot: &Slot<T>| {
            matches!(slot.content, Content::Used { .. }) || slot.generation > MANY_GENERATIONS
        };
        let end = self.slots.iter().rposition(stays).map_or(0, |last| last + 1);
        let given_up = self.slots.drain(end..).map(|slot| slot.generation).max();
        self.generation = self.generation.max(given_up.map_or(0, |generation| generation + 1));
        self.slots.shrink_to_fit();
        self.order.shrink_to_fit();
        self.free = None;
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            // Slots that are not used again have the last generation.
            if let Content::Free { next } = &mut slot.content
                && slot.generation < u32::MAX
            {
                *next = self.free.replace(index as u32);
            }
        }
        self.shrink_at = (self.order.len() / 2).min(self.slots.len() / 4);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// An operation on the tickets so far.
    #[derive(Clone, Debug)]
    enum Act {
        Set { deadline: u64 },
        Cancel { which: usize },
        Fire { now: u64 },
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            // There are few deadlines, so that many are equal.
            3 => (0u64..50).prop_map(|deadline| Act::Set { deadline }),
            2 => any::<usize>().prop_map(|which| Act::Cancel { which }),
            1 => (0u64..50).prop_map(|now| Act::Fire { now }),
        ]
    }

    /// Checks that every node is where its slot says, and not before its parent.
    fn assert_whole(deadlines: &Deadlines<u32>) {
        for (position, entry) in deadlines.order.iter().enumerate() {
            let slot = &deadlines.slots[entry.slot as usize];
            assert!(matches!(slot.content, Content::Used { position: at, .. } if at as usize == position));
            let parent = position.saturating_sub(1) / CHILDREN;
            assert!(position == 0 || !entry.is_before(&deadlines.order[parent]));
        }
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "hundreds of cases take an hour")]
        fn it_is_an_ordered_map(acts in prop::collection::vec(act(), 0..400)) {
            let mut deadlines = Deadlines::new();
            let (mut model, mut tickets) = (BTreeMap::new(), Vec::new());
            for (number, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Set { deadline } => {
                        tickets.push((deadlines.set(deadline, number as u32), (deadline, number)));
                        model.insert((deadline, number), number as u32);
                    }
                    Act::Cancel { .. } if tickets.is_empty() => {}
                    Act::Cancel { which } => {
                        let (ticket, key) = tickets[which % tickets.len()];
                        let expected = model.remove(&key);
                        prop_assert_eq!(deadlines.get(ticket), expected.as_ref());
                        prop_assert_eq!(deadlines.cancel(ticket), expected.map(|due| (key.0, due)));
                    }
                    Act::Fire { now } => {
                        let first = model.first_entry().filter(|entry| entry.key().0 <= now);
                        prop_assert_eq!(deadlines.take_due(now), first.map(|entry| entry.remove()));
                    }
                }
                prop_assert_eq!(deadlines.first(), model.first_key_value().map(|((deadline, _), _)| *deadline));
                prop_assert_eq!(deadlines.len(), model.len());
                assert_whole(&deadlines);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "its very many timers take very long")]
    fn memory_of_a_burst_is_released_and_tickets_stay_unique() {
        const MANY: u32 = 50_000;
        let mut deadlines = Deadlines::new();
        let mut seen = HashSet::new();
        for round in 0..3 {
            let tickets: Vec<Ticket> =
                (0..MANY).map(|number| deadlines.set((number * 7 % 1000).into(), number)).collect();
            assert!(tickets.iter().all(|ticket| seen.insert((ticket.slot, ticket.generation))), "{round}");
            // All but one from the middle of the slots.
            let (kept, others) = (tickets[MANY as usize / 3], tickets.iter());
            for ticket in others.filter(|ticket| **ticket != kept) {
                assert!(deadlines.cancel(*ticket).is_some());
            }
            assert!(deadlines.slots.capacity() <= MANY as usize / 2, "the upper ones are given up");
            assert_whole(&deadlines);
            assert!(tickets.iter().filter(|ticket| deadlines.get(**ticket).is_some()).count() == 1);
            assert!(deadlines.cancel(kept).is_some());
            assert!(deadlines.slots.capacity() <= KEPT && deadlines.order.capacity() <= KEPT);
        }
    }

    #[test]
    fn a_slot_that_has_had_all_its_generations_is_not_used_again() {
        let mut deadlines = Deadlines::new();
        let first = deadlines.set(1, 0u32);
        assert!(deadlines.cancel(first).is_some());
        deadlines.slots[0].generation = u32::MAX;
        let last = deadlines.set(1, 1);
        assert_eq!((last.slot, last.generation), (0, u32::MAX));
        assert!(deadlines.cancel(last).is_some() && deadlines.cancel(last).is_none());
        assert_eq!(deadlines.set(1, 2).slot, 1);
        // A retired slot is not freed, or the next slot would begin with its generation.
        let tickets: Vec<Ticket> = (0..10 * KEPT as u64).map(|deadline| deadlines.set(deadline, 3)).collect();
        assert!(tickets.iter().all(|ticket| ticket.slot > 1 && deadlines.cancel(*ticket).is_some()));
        assert!(deadlines.slots.len() < KEPT && deadlines.set(1, 4) != last);
    }
}
