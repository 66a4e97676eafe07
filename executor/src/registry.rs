//! Names of processes, one owner each.
//!
//! Names end with their process, before anyone is told of its death, so whoever hears of it can take the name.
//! The owner of a name may be on another node one day; therefore the value is a node and a process.
//!
//! One lock for all names: registering is rare, looking up is short. It is taken before the process table's
//! locks, never while one of them is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::process::ProcessId;

/// Who has a name: a node and a process, as guests see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: u64,
    pub(crate) process: ProcessId,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Registry {
    names: Mutex<Names>,
}

/// The names, locked: what is found stays true until it is dropped.
#[derive(Default)]
pub(crate) struct Names {
    // Unbounded: a name is as dear to the node as a process that registers it, and ends with it.
    owners: BTreeMap<Box<str>, Owner>,
    by_process: BTreeMap<ProcessId, BTreeSet<Box<str>>>,
}

impl Registry {
    /// Locks the names, to look and change in one step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Names> {
        // Its methods change two maps, neither of which can fail half-way.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Who has the name.
    pub(crate) fn get(&self, name: &str) -> Option<Owner> {
        self.owners.get(name).copied()
    }

    /// Gives the name to a process, whoever had it.
    pub(crate) fn put(&mut self, name: &str, owner: Owner) {
        self.remove(name);
        self.owners.insert(name.into(), owner);
        self.by_process.entry(owner.process).or_default().insert(name.into());
    }

    /// Frees the name.
    pub(crate) fn remove(&mut self, name: &str) {
        let Some(owner) = self.owners.remove(name) else { return };
        if let Some(names) = self.by_process.get_mut(&owner.process) {
            names.remove(name);
            if names.is_empty() {
                self.by_process.remove(&owner.process);
            }
        }
    }

    /// Frees all names of a process.
    pub(crate) fn remove_all(&mut self, process: ProcessId) {
        for name in self.by_process.remove(&process).unwrap_or_default() {
            self.owners.remove(&name);
        }
    }

    /// One of the process's names.
    pub(crate) fn name_of(&self, process: ProcessId) -> Option<&str> {
        self.by_process.get(&process)?.first().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: u64) -> Owner {
        Owner { node: 0, process: ProcessId::from_guest(id) }
    }

    #[test]
    fn guarantee_31_a_name_has_one_owner() {
        let registry = Registry::default();
        let mut names = registry.lock();
        names.put("a", owner(1));
        names.put("a", owner(2));
        assert_eq!(names.get("a"), Some(owner(2)));
        assert_eq!(names.name_of(owner(1).process), None);
        names.remove_all(owner(1).process);
        assert_eq!(names.get("a"), Some(owner(2)), "the first owner's end does not take it from the second");
    }

    #[test]
    fn guarantee_30_names_end_with_their_process() {
        let registry = Registry::default();
        let mut names = registry.lock();
        names.put("a", owner(1));
        names.put("b", owner(1));
        names.put("c", owner(2));
        names.remove("b");
        names.remove_all(owner(1).process);
        assert_eq!([names.get("a"), names.get("b"), names.get("c")], [None, None, Some(owner(2))]);
    }
}
