//! The table of live processes, by identifier.
//!
//! The table is sharded, so that spawning, sending and exiting on different workers rarely contend for a lock. Each
//! lock is held for a few instructions. Looking up the identifier of a process that has ended finds nothing, even if
//! the slot has a new owner: the generation differs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::id::ProcessId;

/// The number of shards. A power of two: the low bits of a slot number select the shard.
pub const SHARDS: u32 = 64;

/// The process table. See the module documentation. `T` is a process; the tests use something smaller.
pub struct ProcessTable<T> {
    shards: Box<[Apart<Mutex<Shard<T>>>]>,
}

/// A value in cache lines of its own. Processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

struct Shard<T> {
    // Unbounded: by default there is no limit on processes but memory.
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Slots that are never used again.
    retired: usize,
}

struct Slot<T> {
    generation: u32,
    owner: Option<Arc<T>>,
}

/// The table has no free slot: 2^32 processes are alive, or slots were retired.
#[derive(Debug, thiserror::Error)]
#[error("there are no process identifiers left")]
pub struct ProcessTableFull;

impl<T> Default for ProcessTable<T> {
    fn default() -> ProcessTable<T> {
        ProcessTable::new()
    }
}

impl<T> ProcessTable<T> {
    /// Creates a table without processes.
    pub fn new() -> ProcessTable<T> {
        let shard = || Apart(Mutex::new(Shard { slots: Vec::new(), free: Vec::new(), retired: 0 }));
        ProcessTable { shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// Adds a process, which `make` creates for its identifier. `hint` spreads processes over the shards.
    ///
    /// # Errors
    /// Returns [`ProcessTableFull`] if there are no identifiers left.
    pub fn insert(
        &self,
        hint: u32,
        make: impl FnOnce(ProcessId) -> Arc<T>,
    ) -> Result<Arc<T>, ProcessTableFull> {
        let number = hint % SHARDS;
        let mut shard = self.lock(number);
        let local = match shard.free.pop() {
            Some(local) => local,
            None => shard.grow(number)?,
        };
        let slot = &mut shard.slots[local as usize];
        let process = make(ProcessId::new(local * SHARDS + number, slot.generation));
        slot.owner = Some(process.clone());
        Ok(process)
    }

    /// Returns the process with this identifier, if it is alive.
    pub fn get(&self, id: ProcessId) -> Option<Arc<T>> {
        let shard = self.lock(id.slot() % SHARDS);
        let slot = shard.slots.get((id.slot() / SHARDS) as usize)?;
        if slot.generation == id.generation() { slot.owner.clone() } else { None }
    }

    /// Removes a process. Its identifier is invalid from now on.
    pub fn remove(&self, id: ProcessId) -> Option<Arc<T>> {
        let mut shard = self.lock(id.slot() % SHARDS);
        let local = id.slot() / SHARDS;
        let slot = shard.slots.get_mut(local as usize).filter(|slot| slot.generation == id.generation())?;
        let owner = slot.owner.take()?;
        // A slot that has had 2^32 processes is never used again.
        match slot.generation.checked_add(1) {
            Some(generation) => {
                slot.generation = generation;
                shard.free.push(local);
            }
            None => shard.retired += 1,
        }
        Some(owner)
    }

    /// Returns all live processes, shard by shard.
    pub fn all(&self) -> Vec<Arc<T>> {
        (0..SHARDS)
            .flat_map(|number| {
                let shard = self.lock(number);
                shard.slots.iter().filter_map(|slot| slot.owner.clone()).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Returns whether there are no processes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of live processes. This takes the same time however many there are.
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|number| self.lock(number).len()).sum()
    }

    fn lock(&self, number: u32) -> MutexGuard<'_, Shard<T>> {
        // Under the lock, only the two vectors change, one slot at a time.
        self.shards[number as usize].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shard<T> {
    fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.retired
    }

    /// Adds a slot. The very first slot is skipped, so that 0 is no process and the first process is 1.
    fn grow(&mut self, number: u32) -> Result<u32, ProcessTableFull> {
        if number == 0 && self.slots.is_empty() {
            self.slots.push(Slot { generation: 0, owner: None });
            self.retired += 1;
        }
        let local = u32::try_from(self.slots.len()).map_err(|_| ProcessTableFull)?;
        local.checked_mul(SHARDS).and_then(|slot| slot.checked_add(number)).ok_or(ProcessTableFull)?;
        self.slots.push(Slot { generation: 0, owner: None });
        Ok(local)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "its very many processes take very long")]
    fn guarantee_32_a_pid_is_not_reused() {
        let table = ProcessTable::new();
        let mut seen = HashSet::new();
        for round in 0..1_000_000u32 {
            let mut given = None;
            table
                .insert(round % 7, |id| {
                    given = Some(id);
                    Arc::new(round)
                })
                .unwrap();
            let id = given.unwrap();
            assert!(seen.insert(id), "{id} was given twice");
            assert_eq!(table.get(id).as_deref(), Some(&round));
            if round % 3 != 0 {
                table.remove(id).unwrap();
                assert!(table.get(id).is_none() && table.remove(id).is_none());
            }
        }
    }

    #[test]
    fn the_first_process_is_1_and_identifiers_of_no_one_find_nothing() {
        let table = ProcessTable::new();
        let mut first = None;
        table
            .insert(1, |id| {
                first = Some(id);
                Arc::new(())
            })
            .unwrap();
        assert_eq!(first.map(ProcessId::to_guest), Some(1));
        for id in [0, 2, u64::MAX, 1 << 32 | 1] {
            assert!(table.get(ProcessId::from_guest(id)).is_none());
        }
    }

    #[test]
    fn how_many_are_alive_is_known() {
        let table = ProcessTable::new();
        let mut ids = Vec::new();
        for round in 0..1000u32 {
            table
                .insert(round, |id| {
                    ids.push(id);
                    Arc::new(())
                })
                .unwrap();
            if round % 3 == 0 {
                table.remove(ids.swap_remove(ids.len() / 2)).unwrap();
            }
            assert_eq!(table.len(), ids.len());
        }
        assert_eq!(table.all().len(), ids.len());
        // A retired slot must not count as a live process.
        let last = ids[0];
        table.lock(last.slot() % SHARDS).slots[(last.slot() / SHARDS) as usize].generation = u32::MAX;
        table.remove(ProcessId::new(last.slot(), u32::MAX)).unwrap();
        assert_eq!(table.len(), ids.len() - 1);
    }
}
