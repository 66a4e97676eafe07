//! Names of processes. A name has one owner.
//!
//! Names are freed before the death of their process is announced, so a process that receives a death message can
//! take the name. An owner is a node and a process, because it may be on another node once there is distribution.
//!
//! One lock covers all names: registering is rare, and looking up is short. It is taken before the locks of the
//! process table, never while one of them is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

use crate::process::ProcessId;
use lunatic_resources::Charge;

/// The owner of a name: a node and a process, as guests see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The node of the process.
    pub node: u64,
    /// The process.
    pub process: ProcessId,
}

/// The registry. See the module documentation.
#[derive(Default)]
pub struct Registry {
    names: Mutex<Names>,
}

/// The locked names. Results are valid until this is dropped.
#[derive(Default)]
pub struct Names {
    /// The accounts of the processes that have registered names bound this.
    owners: BTreeMap<Arc<str>, EntryPoint>,
    by_process: BTreeMap<ProcessId, BTreeSet<Arc<str>>>,
}

struct EntryPoint {
    owner: Registration,
    /// The charge to the process that registered the name.
    _kept: Option<Charge>,
}

/// Returns the bytes that the host keeps for a name of this length.
pub fn bytes_of_name(length: usize) -> u64 {
    const OVERHEAD: u64 = 160;
    OVERHEAD + length as u64
}

impl Registry {
    /// Locks the names, to look up and change them in one step.
    pub fn lock(&self) -> MutexGuard<'_, Names> {
        // The methods change two maps, and neither change can fail half-way.
        self.names.lock()
    }
}

impl Names {
    /// Returns the owner of a name.
    pub fn get(&self, name: &str) -> Option<Registration> {
        self.owners.get(name).map(|entry| entry.owner)
    }

    /// Gives a name to a process, and takes it from the previous owner.
    pub fn put(&mut self, name: Arc<str>, owner: Registration, kept: Option<Charge>) {
        self.remove(&name);
        self.by_process.entry(owner.process).or_default().insert(name.clone());
        self.owners.insert(name, EntryPoint { owner, _kept: kept });
    }

    /// Frees a name.
    pub fn remove(&mut self, name: &str) {
        let Some(EntryPoint { owner, .. }) = self.owners.remove(name) else { return };
        if let Some(names) = self.by_process.get_mut(&owner.process) {
            names.remove(name);
            if names.is_empty() {
                self.by_process.remove(&owner.process);
            }
        }
    }

    /// Frees at most `left` names of a process, and reduces `left` by their number. Returns whether none is left.
    pub fn remove_some(&mut self, process: ProcessId, left: &mut usize) -> bool {
        let Some(names) = self.by_process.get_mut(&process) else { return true };
        while *left > 0
            && let Some(name) = names.pop_first()
        {
            self.owners.remove(&name);
            *left -= 1;
        }
        let is_empty = names.is_empty();
        if is_empty {
            self.by_process.remove(&process);
        }
        is_empty
    }

    /// Returns one of the names of a process.
    pub fn name_of(&self, process: ProcessId) -> Option<&str> {
        self.by_process.get(&process)?.first().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: u64) -> Registration {
        Registration { node: 0, process: ProcessId::from_guest(id) }
    }

    #[test]
    fn guarantee_31_a_name_has_one_owner() {
        let registry = Registry::default();
        let mut names = registry.lock();
        names.put("a".into(), owner(1), None);
        names.put("a".into(), owner(2), None);
        assert_eq!(names.get("a"), Some(owner(2)));
        assert_eq!(names.name_of(owner(1).process), None);
        assert!(names.remove_some(owner(1).process, &mut 9));
        assert_eq!(names.get("a"), Some(owner(2)), "the first owner's end does not take it from the second");
    }

    #[test]
    fn guarantee_30_names_end_with_their_process() {
        let registry = Registry::default();
        let mut names = registry.lock();
        names.put("a".into(), owner(1), None);
        names.put("b".into(), owner(1), None);
        names.put("c".into(), owner(2), None);
        names.remove("b");
        assert!(names.remove_some(owner(1).process, &mut 9));
        assert_eq!([names.get("a"), names.get("b"), names.get("c")], [None, None, Some(owner(2))]);
    }

    #[test]
    fn many_names_are_freed_a_portion_at_a_time() {
        let registry = Registry::default();
        let mut names = registry.lock();
        (0..10).for_each(|name| names.put(name.to_string().into(), owner(1), None));
        let mut portions = 0;
        while !names.remove_some(owner(1).process, &mut 4) {
            portions += 1;
        }
        assert!(portions == 2 && names.owners.is_empty() && names.by_process.is_empty());
    }
}
