//! Who is to be told when a process ends, and whose end it is told of.
//!
//! Both sides of a link and of a monitor have an entry. Whether a death still means anything is decided by the
//! receiver's own entry, so undoing a link or a monitor takes effect at once, whatever is under way.
//!
//! # Links that are undone and made at the same moment
//!
//! A monitor belongs to the one who made it. A link belongs to two, and both may make and undo it without waiting for
//! each other: "undone" from one side may meet "made" from the other on the way, and if each side simply did what it
//! is told, one would have the link and the other not. So whoever undoes a link keeps an entry with the number of its
//! undoing until the other side has acknowledged that number. Signals between two processes keep their order; hence,
//! while the entry is there, a "made" from the other side was sent before it heard of the undoing, which is about to
//! undo that one as well: it means nothing. After the acknowledgement, it was sent later and counts.
//!
//! Making the link again replaces the entry, so an acknowledgement counts only for the undoing that waits for it. (Erlang
//! solves it in the same way.) The test below tries every interleaving of what two processes may do.
//!
//! Ordered collections, so that the order in which deaths are announced is the same in every run.

use std::collections::{BTreeMap, BTreeSet};

use super::id::ProcessId;

/// See the module.
#[derive(Default)]
pub(crate) struct Relations {
    /// Most processes have none.
    entries: Option<Box<Entries>>,
}

#[derive(Default)]
struct Entries {
    links: BTreeMap<ProcessId, Link>,
    /// Who monitors this process, and the reference by which it knows the monitor.
    watchers: BTreeSet<(ProcessId, u64)>,
    /// Whom this process monitors, and by which reference.
    watched: BTreeSet<(ProcessId, u64)>,
}

/// This side's entry of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// There is one, and this side knows it by the tag.
    Made { tag: i64 },
    /// This side has undone it; the other has not acknowledged that yet.
    Undone { number: u64 },
}

impl Relations {
    fn entries(&mut self) -> &mut Entries {
        self.entries.get_or_insert_default()
    }

    /// This side makes a link; doing it again only changes the tag.
    pub(crate) fn link(&mut self, peer: ProcessId, tag: i64) {
        self.entries().links.insert(peer, Link::Made { tag });
    }

    /// The other side has made a link.
    pub(crate) fn linked_by(&mut self, peer: ProcessId, tag: i64) {
        if !matches!(self.get(peer), Some(Link::Undone { .. })) {
            self.link(peer, tag);
        }
    }

    /// This side undoes a link. Whether there was one, so that the other side has to be told this number.
    pub(crate) fn unlink(&mut self, peer: ProcessId, number: u64) -> bool {
        match self.entries().links.get_mut(&peer) {
            Some(link @ Link::Made { .. }) => {
                *link = Link::Undone { number };
                true
            }
            Some(Link::Undone { .. }) | None => false,
        }
    }

    /// The other side has undone the link; it is owed an acknowledgement.
    pub(crate) fn unlinked_by(&mut self, peer: ProcessId) {
        if let Some(Link::Made { .. }) = self.get(peer) {
            self.entries().links.remove(&peer);
        }
    }

    /// The other side knows of an undoing, or is gone.
    pub(crate) fn unlink_acknowledged(&mut self, peer: ProcessId, number: u64) {
        if self.get(peer) == Some(Link::Undone { number }) {
            self.entries().links.remove(&peer);
        }
    }

    /// The other side is gone: the link's tag, if there still was one.
    pub(crate) fn link_died(&mut self, peer: ProcessId) -> Option<i64> {
        match self.entries().links.remove(&peer)? {
            Link::Made { tag } => Some(tag),
            Link::Undone { .. } => None,
        }
    }

    fn get(&self, peer: ProcessId) -> Option<Link> {
        self.entries.as_ref()?.links.get(&peer).copied()
    }

    /// Someone monitors this process.
    pub(crate) fn add_watcher(&mut self, watcher: ProcessId, reference: u64) {
        self.entries().watchers.insert((watcher, reference));
    }

    /// Someone no longer does, by this reference or (`None`) by any.
    pub(crate) fn remove_watcher(&mut self, watcher: ProcessId, reference: Option<u64>) {
        match reference {
            Some(reference) => {
                self.entries().watchers.remove(&(watcher, reference));
            }
            None => {
                take_all(&mut self.entries().watchers, watcher);
            }
        }
    }

    /// This process monitors someone.
    pub(crate) fn watch(&mut self, process: ProcessId, reference: u64) {
        self.entries().watched.insert((process, reference));
    }

    /// This process stops one monitor. Whether there was one.
    pub(crate) fn stop_watching(&mut self, process: ProcessId, reference: u64) -> bool {
        self.entries().watched.remove(&(process, reference))
    }

    /// This process stops monitoring someone, however often it had begun to. Whether it had.
    pub(crate) fn stop_watching_at_all(&mut self, process: ProcessId) -> bool {
        !take_all(&mut self.entries().watched, process).is_empty()
    }

    /// A monitored process ended. Whether that is news: each monitor is told once.
    pub(crate) fn watched_died(&mut self, process: ProcessId, reference: u64) -> bool {
        self.entries().watched.remove(&(process, reference))
    }

    /// Everyone linked.
    pub(crate) fn linked(&self) -> impl Iterator<Item = ProcessId> + '_ {
        let links = self.entries.iter().flat_map(|entries| &entries.links);
        links.filter(|(_, link)| matches!(link, Link::Made { .. })).map(|(peer, _)| *peer)
    }

    /// Every monitor of this process: by whom, and its reference.
    pub(crate) fn watchers(&self) -> impl Iterator<Item = (ProcessId, u64)> + '_ {
        self.entries.iter().flat_map(|entries| &entries.watchers).copied()
    }

    /// Every monitor that this process has: of whom, and its reference.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (ProcessId, u64)> + '_ {
        self.entries.iter().flat_map(|entries| &entries.watched).copied()
    }
}

/// Takes all monitors of, or by, a process out.
fn take_all(monitors: &mut BTreeSet<(ProcessId, u64)>, process: ProcessId) -> Vec<(ProcessId, u64)> {
    let found: Vec<_> = monitors.range((process, 0)..=(process, u64::MAX)).copied().collect();
    for monitor in &found {
        monitors.remove(monitor);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use super::*;

    const A: u64 = 7;

    fn id(number: u64) -> ProcessId {
        ProcessId::from_guest(number)
    }

    #[test]
    fn guarantee_13_linking_again_is_idempotent() {
        let mut relations = Relations::default();
        (0..5).for_each(|tag| relations.link(id(A), tag));
        assert_eq!(relations.linked().count(), 1);
        assert_eq!(relations.link_died(id(A)), Some(4));
        assert_eq!(relations.link_died(id(A)), None);
    }

    #[test]
    fn guarantee_25_exactly_one_death_per_monitor() {
        let (mut watcher, mut target) = (Relations::default(), Relations::default());
        for reference in 0..5 {
            watcher.watch(id(A), reference);
            target.add_watcher(id(1), reference);
        }
        let told = target.watchers().filter(|(_, reference)| watcher.watched_died(id(A), *reference)).count();
        assert_eq!(told, 5);
        assert!((0..5).all(|reference| !watcher.watched_died(id(A), reference)));
    }

    #[test]
    fn guarantee_27_no_death_after_monitoring_was_stopped() {
        let mut watcher = Relations::default();
        (0..4).for_each(|reference| watcher.watch(id(A), reference));
        watcher.watch(id(A + 1), 4);
        assert!(watcher.stop_watching(id(A), 2));
        assert!(!watcher.watched_died(id(A), 2));
        assert!(watcher.watched_died(id(A), 0), "the others are not touched");
        assert!(watcher.stop_watching_at_all(id(A)));
        assert!(!watcher.watched_died(id(A), 1) && !watcher.watched_died(id(A), 3));
        assert_eq!(watcher.watched().collect::<Vec<_>>(), [(id(A + 1), 4)]);
    }

    /// What one of two processes sends the other about their link.
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Sent {
        Made,
        Undone(u64),
        Acknowledged(u64),
    }

    /// Two processes, 0 and 1, what is on its way to each, and how many more times each may make or undo the link.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        entries: [Option<(bool, u64)>; 2],
        inbound: [VecDeque<Sent>; 2],
        left: [u8; 2],
        /// Undoings so far.
        numbers: u64,
    }

    impl World {
        fn new() -> World {
            World { entries: [None; 2], inbound: Default::default(), left: [4; 2], numbers: 0 }
        }

        /// Does something with a side's relations, which are kept in a form that can be compared.
        fn with<R>(&mut self, side: usize, act: impl FnOnce(&mut Relations) -> R) -> R {
            let peer = id(1 - side as u64);
            let mut relations = Relations::default();
            match self.entries[side] {
                Some((true, _)) => relations.link(peer, 0),
                Some((false, number)) => {
                    relations.link(peer, 0);
                    assert!(relations.unlink(peer, number));
                }
                None => {}
            }
            let result = act(&mut relations);
            self.entries[side] = match relations.get(peer) {
                Some(Link::Made { .. }) => Some((true, 0)),
                Some(Link::Undone { number }) => Some((false, number)),
                None => None,
            };
            result
        }

        fn make(mut self, side: usize) -> World {
            let peer = id(1 - side as u64);
            self.with(side, |relations| relations.link(peer, 0));
            self.inbound[1 - side].push_back(Sent::Made);
            self.left[side] -= 1;
            self
        }

        fn undo(mut self, side: usize) -> World {
            let peer = id(1 - side as u64);
            self.numbers += 1;
            let number = self.numbers;
            if self.with(side, |relations| relations.unlink(peer, number)) {
                self.inbound[1 - side].push_back(Sent::Undone(number));
            }
            self.left[side] -= 1;
            self
        }

        fn receive(mut self, side: usize) -> World {
            let peer = id(1 - side as u64);
            match self.inbound[side].pop_front().expect("it is only asked when there is one") {
                Sent::Made => self.with(side, |relations| relations.linked_by(peer, 0)),
                Sent::Undone(number) => {
                    self.with(side, |relations| relations.unlinked_by(peer));
                    self.inbound[1 - side].push_back(Sent::Acknowledged(number));
                }
                Sent::Acknowledged(number) => {
                    self.with(side, |relations| relations.unlink_acknowledged(peer, number));
                }
            }
            self
        }

        fn next(&self) -> Vec<World> {
            let acts = (0..2).filter(|side| self.left[*side] > 0);
            let acts = acts.flat_map(|side| [self.clone().make(side), self.clone().undo(side)]);
            let receives = (0..2).filter(|side| !self.inbound[*side].is_empty());
            acts.chain(receives.map(|side| self.clone().receive(side))).collect()
        }
    }

    /// Every order in which two processes can make and undo their link four times each, and hear of it.
    #[test]
    #[cfg_attr(miri, ignore = "its very many worlds take very long")]
    fn a_link_is_whole_or_none_whoever_makes_and_undoes_it_when() {
        let (mut seen, mut open) = (HashSet::new(), vec![World::new()]);
        let (mut linked, mut apart) = (0, 0);
        while let Some(world) = open.pop() {
            if !seen.insert(world.clone()) {
                continue;
            }
            if world.inbound.iter().all(VecDeque::is_empty) {
                match world.entries {
                    [None, None] => apart += 1,
                    [Some((true, _)), Some((true, _))] => linked += 1,
                    entries => panic!("half a link: {entries:?}"),
                }
            }
            open.extend(world.next());
        }
        assert!(linked >= 100 && apart >= 100, "{linked} and {apart} ends of {}", seen.len());
    }
}
