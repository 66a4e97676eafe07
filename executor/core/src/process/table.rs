//! The table of live processes, by identifier.
//!
//! The table is sharded, so that spawning, sending and exiting on different workers rarely contend for a lock. Each
//! lock is held for a few instructions. Looking up the identifier of a process that has ended finds nothing, even if
//! the slot has a new owner: the generation differs.

use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};
use lunatic_resources::{SlotKey, SlotTable};

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

/// By default, only memory limits the number of processes.
type Shard<T> = SlotTable<Arc<T>>;

/// The slots of a shard, so that all slot numbers fit 32 bits.
const SHARD_SLOTS: u32 = 1 << (u32::BITS - SHARDS.ilog2());

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
        let shards = (0..SHARDS).map(|number| {
            let mut shard = SlotTable::new(SHARD_SLOTS);
            // The very first slot is skipped, so that 0 is no process and the first process is 1.
            if number == 0 {
                shard.retire_first();
            }
            Apart(Mutex::new(shard))
        });
        ProcessTable { shards: shards.collect() }
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
        let mut process = None;
        self.lock(number)
            .insert_with(|key| {
                let made = make(ProcessId::new(key.index * SHARDS + number, key.generation));
                process.insert(made).clone()
            })
            .ok_or(ProcessTableFull)?;
        process.ok_or(ProcessTableFull)
    }

    /// Returns the process with this identifier, if it is alive.
    pub fn get(&self, id: ProcessId) -> Option<Arc<T>> {
        let (number, key) = place(id);
        self.lock(number).get(key).cloned()
    }

    /// Removes a process. Its identifier is invalid from now on.
    pub fn remove(&self, id: ProcessId) -> Option<Arc<T>> {
        let (number, key) = place(id);
        self.lock(number).remove(key)
    }

    /// Returns all live processes, shard by shard.
    pub fn all(&self) -> Vec<Arc<T>> {
        (0..SHARDS)
            .flat_map(|number| {
                let shard = self.lock(number);
                shard.iter().cloned().collect::<Vec<_>>()
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
        self.shards[number as usize].0.lock()
    }
}

/// Returns the shard of an identifier, and its key there.
fn place(id: ProcessId) -> (u32, SlotKey) {
    (id.slot() % SHARDS, SlotKey { index: id.slot() / SHARDS, generation: id.generation() })
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
    }
}
