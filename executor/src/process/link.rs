//! Who is to be told when a process ends, and whose end it is told of.
//!
//! Both sides of a link and of a monitor have an entry. Whether a death still means anything is decided by the
//! receiver's own entry, so undoing a link or a monitor takes effect at once, whatever is under way.
//!
//! Ordered maps, so that the order in which deaths are announced is the same in every run.

use std::collections::BTreeMap;

use super::id::ProcessId;

/// See the module.
#[derive(Default)]
pub(crate) struct Relations {
    /// Linked processes and the tag that this side knows the link by.
    links: BTreeMap<ProcessId, i64>,
    /// Who monitors this process, and how many times.
    watchers: BTreeMap<ProcessId, u32>,
    /// Whom this process monitors, and how many times.
    watched: BTreeMap<ProcessId, u32>,
}

impl Relations {
    /// Links; doing it again only changes the tag.
    pub(crate) fn link(&mut self, peer: ProcessId, tag: i64) {
        self.links.insert(peer, tag);
    }

    /// Undoes a link: its tag, if there was one.
    pub(crate) fn unlink(&mut self, peer: ProcessId) -> Option<i64> {
        self.links.remove(&peer)
    }

    /// Someone monitors this process.
    pub(crate) fn add_watcher(&mut self, watcher: ProcessId) {
        *self.watchers.entry(watcher).or_default() += 1;
    }

    /// Someone no longer does.
    pub(crate) fn remove_watcher(&mut self, watcher: ProcessId) {
        self.watchers.remove(&watcher);
    }

    /// This process monitors someone.
    pub(crate) fn watch(&mut self, process: ProcessId) {
        *self.watched.entry(process).or_default() += 1;
    }

    /// This process stops monitoring someone, however often it had begun to.
    pub(crate) fn stop_watching(&mut self, process: ProcessId) -> bool {
        self.watched.remove(&process).is_some()
    }

    /// A monitored process ended. Whether that is news: each monitor is told once.
    pub(crate) fn watched_died(&mut self, process: ProcessId) -> bool {
        let Some(count) = self.watched.get_mut(&process) else { return false };
        *count -= 1;
        if *count == 0 {
            self.watched.remove(&process);
        }
        true
    }

    /// Everyone linked.
    pub(crate) fn linked(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.links.keys().copied()
    }

    /// Every watcher, as often as it asked.
    pub(crate) fn watchers(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.watchers.iter().flat_map(|(watcher, count)| (0..*count).map(|_| *watcher))
    }

    /// Everyone whom this process monitors.
    pub(crate) fn watched(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.watched.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 7;

    #[test]
    fn guarantee_13_linking_again_is_idempotent() {
        let mut relations = Relations::default();
        (0..5).for_each(|tag| relations.link(ProcessId::from_guest(A), tag));
        assert_eq!(relations.linked().count(), 1);
        assert_eq!(relations.unlink(ProcessId::from_guest(A)), Some(4));
        assert_eq!(relations.unlink(ProcessId::from_guest(A)), None);
    }

    #[test]
    fn guarantee_25_exactly_one_death_per_monitor() {
        let (mut watcher, mut target) = (Relations::default(), Relations::default());
        for _ in 0..5 {
            watcher.watch(ProcessId::from_guest(A));
            target.add_watcher(ProcessId::from_guest(1));
        }
        let told = target.watchers().filter(|_| watcher.watched_died(ProcessId::from_guest(A))).count();
        assert_eq!(told, 5);
        assert!(!watcher.watched_died(ProcessId::from_guest(A)));
    }

    #[test]
    fn guarantee_27_no_death_after_monitoring_was_stopped() {
        let mut watcher = Relations::default();
        watcher.watch(ProcessId::from_guest(A));
        watcher.watch(ProcessId::from_guest(A));
        assert!(watcher.stop_watching(ProcessId::from_guest(A)));
        assert!(!watcher.watched_died(ProcessId::from_guest(A)));
    }
}
