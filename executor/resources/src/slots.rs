//! A table of values by keys that are never used twice.
//!
//! A key is a slot and a generation. Removing a value gives its slot the next generation, so an old key finds nothing,
//! even if the slot has a new value. A slot whose generations are used up is retired.

/// Key of a value in a [`SlotTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// Index of the slot.
    pub index: u32,
    /// Generation of the slot.
    pub generation: u32,
}

/// A table of values. See the module documentation.
pub struct SlotTable<T> {
    // Grows to the greatest number of values at a time, which `limit` bounds.
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Number of slots that are never used again.
    retired: u32,
    limit: u32,
}

struct Slot<T> {
    /// Generation of the current value, or of the next one.
    generation: u32,
    value: Option<T>,
}

impl<T> SlotTable<T> {
    /// Creates an empty table of at most `limit` slots.
    pub const fn new(limit: u32) -> SlotTable<T> {
        SlotTable { slots: Vec::new(), free: Vec::new(), retired: 0, limit }
    }

    /// Adds a slot that is never used, in a table that has none yet. The index 0 is then no valid key.
    pub fn retire_first(&mut self) {
        debug_assert!(self.slots.is_empty(), "the first slot is retired before it is used");
        self.slots.push(Slot { generation: 0, value: None });
        self.retired += 1;
    }

    /// Adds a value, which `make` creates for its key. Returns `None`, without calling `make`, if all slots are in use.
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce(SlotKey) -> T) -> Option<SlotKey> {
        let index = match self.free.last() {
            Some(&index) => index,
            None => self.grow()?,
        };
        let slot = &mut self.slots[index as usize];
        let key = SlotKey { index, generation: slot.generation };
        // If this panics, the slot is still free.
        slot.value = Some(make(key));
        self.free.pop();
        Some(key)
    }

    /// Returns the value with this key.
    #[inline]
    pub fn get(&self, key: SlotKey) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// Removes the value with this key and returns it. The key is invalid from now on.
    #[inline]
    pub fn remove(&mut self, key: SlotKey) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        match slot.generation.checked_add(1) {
            Some(generation) => {
                slot.generation = generation;
                self.free.push(key.index);
            }
            None => self.retired += 1,
        }
        Some(value)
    }

    /// Returns all values, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// Returns the number of values. This takes the same time however many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.retired as usize
    }

    /// Returns whether the table has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn grow(&mut self) -> Option<u32> {
        let index = u32::try_from(self.slots.len()).ok().filter(|index| *index < self.limit)?;
        self.slots.push(Slot { generation: 0, value: None });
        self.free.push(index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_retired_slot_counts_as_neither_used_nor_free() {
        let mut table = SlotTable::new(1);
        let key = table.insert_with(|_| 'a').unwrap();
        assert_eq!(table.insert_with(|_| unreachable!("the table is full")), None);
        table.remove(key);
        table.slots[0].generation = u32::MAX;
        let last = table.insert_with(|_| 'b').unwrap();
        assert_eq!((last.generation, table.len()), (u32::MAX, 1));
        assert_eq!(table.remove(last), Some('b'));
        assert_eq!((table.len(), table.insert_with(|_| 'c')), (0, None));
    }

    #[test]
    fn the_first_slot_can_be_left_out() {
        let mut table = SlotTable::new(2);
        table.retire_first();
        assert_eq!(table.insert_with(|_| ()).map(|key| key.index), Some(1));
        assert_eq!((table.len(), table.insert_with(|_| ())), (1, None));
        assert_eq!(table.get(SlotKey { index: 0, generation: 0 }), None);
    }

    #[test]
    fn a_slot_stays_free_if_creating_its_value_panics() {
        let mut table = SlotTable::new(1);
        let attempt = std::panic::AssertUnwindSafe(|| table.insert_with(|_| panic!("no value")));
        assert!(std::panic::catch_unwind(attempt).is_err());
        assert_eq!(table.len(), 0);
        assert!(table.insert_with(|_| ()).is_some());
    }

    proptest! {
        #[test]
        fn a_table_acts_like_a_map_with_unique_keys(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200)) {
            let (mut table, mut model) = (SlotTable::new(16), HashMap::new());
            let mut keys: Vec<SlotKey> = Vec::new();
            for (value, (inserts, at)) in steps.into_iter().enumerate() {
                if inserts || keys.is_empty() {
                    let key = table.insert_with(|_| value);
                    prop_assert_eq!(key.is_some(), model.len() < 16);
                    if let Some(key) = key {
                        prop_assert!(!keys.contains(&key));
                        keys.push(key);
                        model.insert(key, value);
                    }
                } else {
                    let key = keys[at.index(keys.len())];
                    prop_assert_eq!(table.remove(key), model.remove(&key));
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().count(), model.len());
                prop_assert!(keys.iter().all(|key| table.get(*key) == model.get(key)));
            }
        }
    }
}
