//! Links and monitors: which processes are notified when a process ends, and of which ends it is notified.
//!
//! Both sides of a link and of a monitor have an entry. The receiver's own entry decides whether a death still
//! matters, so removing a link or a monitor takes effect at once, whatever signals are in flight.
//!
//! # Links that are removed and created at the same moment
//!
//! A monitor belongs to the process that created it. A link belongs to two processes, and both may create and remove
//! it without waiting for each other. An "unlink" from one side may cross a "link" from the other. If each side
//! simply obeyed, one would have the link and the other would not. So the process that removes a link keeps an entry
//! with the number of the removal until the other side has acknowledged that number. Signals between two processes
//! keep their order. Hence, while the entry exists, a "link" from the other side was sent before that side received
//! the removal, which is about to remove that link as well: the "link" is ignored. A "link" that arrives after the
//! acknowledgement was sent later and counts.
//!
//! Creating the link again replaces the entry, so an acknowledgement counts only for the removal that waits for it.
//! (Erlang solves it in the same way.) The test below tries every interleaving of what two processes may do.
//!
//! The collections are ordered, so that deaths are announced in the same order in every run.
//!
//! # What they cost
//!
//! A process pays for its links and for the monitors that it created, on both sides and with the message that each of
//! them may become ([`Relations::bytes`]). So no process can fill the memory of another process with monitors of it.

use std::collections::btree_map::{self, BTreeMap, Entry};
use std::collections::btree_set::{self, BTreeSet};
use std::sync::Arc;

use lunatic_resources::{Account, Charge, Full};

use super::exit::Termination;
use super::id::ProcessId;
use super::signal::Signal;

/// Bytes that a link or monitor is charged with: an entry on either side, and a death message.
pub(super) const RELATION_BYTES: u64 = 256;

/// Links and monitors that are not charged. Most processes have no more.
const FREE_RELATIONS: u64 = 16;

/// Links and monitors that are charged at a time.
const RELATIONS_AT_A_TIME: u64 = 64;

/// The links and monitors of a process. See the module documentation.
#[derive(Default)]
pub struct Relations {
    /// Links. Most processes have none.
    entries: Option<Box<Entries>>,
}

#[derive(Default)]
struct Entries {
    links: BTreeMap<ProcessId, Link>,
    /// The number of removed links that wait for an acknowledgement.
    undone: u64,
    /// The processes that monitor this one, with the references of their monitors.
    watchers: Monitors,
    /// The processes that this one monitors, with the references of the monitors.
    watched: Monitors,
    /// The charge for all of them.
    kept: Option<Charge>,
}

/// Monitors by the other process.
#[derive(Default)]
struct Monitors {
    by_process: BTreeMap<ProcessId, References>,
    count: u64,
}

/// The monitors between two processes in one direction.
pub enum References {
    /// One, which is the common case.
    One(u64),
    /// Several.
    Many(BTreeSet<u64>),
}

/// This side's entry of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The link exists, with this tag.
    Made { tag: i64 },
    /// This side has removed the link, and the other side has not acknowledged that yet.
    Undone { number: u64 },
}

impl Relations {
    /// Returns whether there never were any links or monitors.
    pub(super) fn is_none(&self) -> bool {
        self.entries.is_none()
    }

    fn entries(&mut self) -> &mut Entries {
        self.entries.get_or_insert_default()
    }

    /// Creates a link from this side. Creating it again changes the tag only.
    pub fn link(&mut self, peer: ProcessId, tag: i64) {
        self.set(peer, Some(Link::Made { tag }));
    }

    /// Handles a link that the other side has created.
    pub fn linked_by(&mut self, peer: ProcessId, tag: i64) {
        if !matches!(self.get(peer), Some(Link::Undone { .. })) {
            self.link(peer, tag);
        }
    }

    /// Removes a link from this side. Returns whether there was one; then the other side has to be sent this number.
    pub fn unlink(&mut self, peer: ProcessId, number: u64) -> bool {
        let is_made = matches!(self.get(peer), Some(Link::Made { .. }));
        if is_made {
            self.set(peer, Some(Link::Undone { number }));
        }
        is_made
    }

    /// Handles a removal by the other side, which has to be acknowledged.
    pub fn unlinked_by(&mut self, peer: ProcessId) {
        if let Some(Link::Made { .. }) = self.get(peer) {
            self.set(peer, None);
        }
    }

    /// Handles the acknowledgement of a removal, or the end of the other side.
    pub fn unlink_acknowledged(&mut self, peer: ProcessId, number: u64) {
        if self.get(peer) == Some(Link::Undone { number }) {
            self.set(peer, None);
        }
    }

    /// Handles the end of the other side. Returns the tag of the link, if there still was one.
    pub fn link_died(&mut self, peer: ProcessId) -> Option<i64> {
        match self.set(peer, None)? {
            Link::Made { tag } => Some(tag),
            Link::Undone { .. } => None,
        }
    }

    fn get(&self, peer: ProcessId) -> Option<Link> {
        self.entries.as_ref()?.links.get(&peer).copied()
    }

    /// Replaces an entry. Returns the previous one.
    fn set(&mut self, peer: ProcessId, link: Option<Link>) -> Option<Link> {
        let is_undone = |link: &Option<Link>| u64::from(matches!(link, Some(Link::Undone { .. })));
        let entries = self.entries();
        let before = match link {
            Some(link) => entries.links.insert(peer, link),
            None => entries.links.remove(&peer),
        };
        entries.undone += is_undone(&link);
        entries.undone -= is_undone(&before);
        before
    }

    /// Adds a process that monitors this one.
    pub fn add_watcher(&mut self, watcher: ProcessId, reference: u64) {
        self.entries().watchers.add(watcher, reference);
    }

    /// Removes the monitor of another process with this reference, or all of its monitors for `None`. Returns the
    /// entries of all, so that the caller can drop them on a thread that may be busy.
    pub fn remove_watcher(&mut self, watcher: ProcessId, reference: Option<u64>) -> Option<References> {
        let watchers = &mut self.entries().watchers;
        match reference {
            Some(reference) => {
                watchers.remove(watcher, reference);
                None
            }
            None => watchers.remove_all(watcher),
        }
    }

    /// Adds a monitor that this process has created.
    pub fn watch(&mut self, process: ProcessId, reference: u64) {
        self.entries().watched.add(process, reference);
    }

    /// Removes one monitor of this process. Returns whether there was one.
    pub fn stop_watching(&mut self, process: ProcessId, reference: u64) -> bool {
        self.entries().watched.remove(process, reference)
    }

    /// Removes all monitors that this process has of another one. Returns them, if there were any.
    pub fn stop_watching_at_all(&mut self, process: ProcessId) -> Option<References> {
        self.entries().watched.remove_all(process)
    }

    /// Handles the end of a monitored process. Returns whether the monitor existed: each is notified once.
    pub fn watched_died(&mut self, process: ProcessId, reference: u64) -> bool {
        self.entries().watched.remove(process, reference)
    }

    /// Returns the number of links, of monitors that this process has, and of monitors that others have of it.
    pub fn counts(&self) -> (u64, u64, u64) {
        let Some(entries) = &self.entries else { return (0, 0, 0) };
        (entries.links.len() as u64 - entries.undone, entries.watched.count, entries.watchers.count)
    }

    /// Charges for one more link or monitor than there are. Most processes have so few that nothing is charged.
    ///
    /// # Errors
    /// Returns an error if that exceeds a limit of the account.
    pub fn charge_for_one_more(&mut self, account: impl FnOnce() -> Arc<Account>) -> Result<(), Full> {
        let Some(entries) = &mut self.entries else { return Ok(()) };
        let count = entries.links.len() as u64 + entries.watched.count + 1;
        if count <= FREE_RELATIONS {
            return Ok(());
        }
        let bytes = count.next_multiple_of(RELATIONS_AT_A_TIME) * RELATION_BYTES;
        match &mut entries.kept {
            Some(kept) if kept.bytes() == bytes => Ok(()),
            Some(kept) => kept.resize(bytes),
            None => {
                entries.kept = Some(account().keep(bytes)?);
                Ok(())
            }
        }
    }

    /// Returns the signals that are sent when this process, `me`, has ended: to linked processes first, then to
    /// processes that monitor it, then to those that it monitored.
    pub fn announcements(self, me: ProcessId, termination: Termination) -> Announcements {
        let Entries { links, watchers, watched, kept, .. } = *self.entries.unwrap_or_default();
        Announcements {
            me,
            termination,
            links: links.into_iter(),
            watchers: Announced::new(watchers),
            watched: Announced::new(watched),
            _kept: kept,
        }
    }
}

impl Monitors {
    fn add(&mut self, process: ProcessId, reference: u64) {
        let is_new = match self.by_process.entry(process) {
            Entry::Vacant(entry) => {
                entry.insert(References::One(reference));
                true
            }
            Entry::Occupied(mut entry) => entry.get_mut().add(reference),
        };
        self.count += u64::from(is_new);
    }

    fn remove(&mut self, process: ProcessId, reference: u64) -> bool {
        let Entry::Occupied(mut entry) = self.by_process.entry(process) else { return false };
        let (was_there, is_empty) = match entry.get_mut() {
            References::One(one) => (*one == reference, *one == reference),
            References::Many(many) => (many.remove(&reference), many.is_empty()),
        };
        if is_empty {
            entry.remove();
        }
        self.count -= u64::from(was_there);
        was_there
    }

    fn remove_all(&mut self, process: ProcessId) -> Option<References> {
        let removed = self.by_process.remove(&process)?;
        self.count -= removed.len() as u64;
        Some(removed)
    }
}

impl References {
    /// Returns their number.
    pub fn len(&self) -> usize {
        match self {
            References::One(_) => 1,
            References::Many(many) => many.len(),
        }
    }

    /// Adds a reference. Returns whether it is new.
    fn add(&mut self, reference: u64) -> bool {
        match self {
            References::One(one) if *one == reference => false,
            References::One(one) => {
                *self = References::Many(BTreeSet::from([*one, reference]));
                true
            }
            References::Many(many) => many.insert(reference),
        }
    }
}

/// See [`Relations::announcements`]. There can be any number of announcements, so they are sent in portions.
pub struct Announcements {
    me: ProcessId,
    termination: Termination,
    links: btree_map::IntoIter<ProcessId, Link>,
    watchers: Announced,
    watched: Announced,
    /// The charge, until they are sent.
    _kept: Option<Charge>,
}

/// Iterates over monitors one by one.
struct Announced {
    by_process: btree_map::IntoIter<ProcessId, References>,
    current: Option<(ProcessId, btree_set::IntoIter<u64>)>,
}

impl Announced {
    fn new(monitors: Monitors) -> Announced {
        Announced { by_process: monitors.by_process.into_iter(), current: None }
    }
}

impl Iterator for Announced {
    type Item = (ProcessId, u64);

    fn next(&mut self) -> Option<(ProcessId, u64)> {
        loop {
            if let Some((process, references)) = &mut self.current
                && let Some(reference) = references.next()
            {
                return Some((*process, reference));
            }
            match self.by_process.next()? {
                (process, References::One(reference)) => return Some((process, reference)),
                (process, References::Many(many)) => self.current = Some((process, many.into_iter())),
            }
        }
    }
}

impl Iterator for Announcements {
    /// The receiver and the signal; `None` for a link that had been removed.
    type Item = Option<(ProcessId, Signal)>;

    fn next(&mut self) -> Option<Option<(ProcessId, Signal)>> {
        let (from, termination) = (self.me, self.termination);
        if let Some((peer, link)) = self.links.next() {
            let is_made = matches!(link, Link::Made { .. });
            return Some(is_made.then_some((peer, Signal::LinkDied { from, termination })));
        }
        if let Some((watcher, reference)) = self.watchers.next() {
            return Some(Some((watcher, Signal::ProcessDied { from, reference, termination })));
        }
        let (watched, reference) = self.watched.next()?;
        Some(Some((watched, Signal::StopMonitoring { from, reference: Some(reference) })))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use super::super::exit::Cause;
    use super::*;

    const A: u64 = 7;

    fn id(number: u64) -> ProcessId {
        ProcessId::from_guest(number)
    }

    #[test]
    fn guarantee_13_linking_again_is_idempotent() {
        let mut relations = Relations::default();
        (0..5).for_each(|tag| relations.link(id(A), tag));
        assert_eq!(relations.counts().0, 1);
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
        let told =
            sent(target).filter(|(to, reference)| *to == id(1) && watcher.watched_died(id(A), *reference));
        assert_eq!(told.count(), 5);
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
        assert_eq!(watcher.stop_watching_at_all(id(A)).map(|monitors| monitors.len()), Some(2));
        assert!(!watcher.watched_died(id(A), 1) && !watcher.watched_died(id(A), 3));
        assert_eq!(watcher.counts(), (0, 1, 0));
        assert_eq!(sent(watcher).collect::<Vec<_>>(), [(id(A + 1), 4)]);
    }

    /// Returns what a process announces at its end: the receivers, and the references of monitors.
    fn sent(relations: Relations) -> impl Iterator<Item = (ProcessId, u64)> {
        relations.announcements(id(A), Termination::Own(Cause::Killed)).flatten().map(|(to, signal)| {
            match signal {
                Signal::ProcessDied { reference, .. } => (to, reference),
                Signal::StopMonitoring { reference, .. } => (to, reference.unwrap()),
                _ => (to, 0),
            }
        })
    }

    #[test]
    fn links_and_monitors_are_charged_to_the_process_that_has_them() {
        let account = Account::new(100 * RELATION_BYTES, 0, None, None);
        let mut relations = Relations::default();
        let mut monitors = 0;
        while relations.charge_for_one_more(|| account.clone()).is_ok() && monitors < 1000 {
            relations.watch(id(A), monitors);
            monitors += 1;
        }
        assert_eq!((monitors, account.bytes()), (64, 64 * RELATION_BYTES));
        drop(relations.stop_watching_at_all(id(A)));
        relations.link(id(A), 1);
        (0..FREE_RELATIONS).for_each(|reference| relations.add_watcher(id(A), reference));
        assert!(relations.charge_for_one_more(|| account.clone()).is_ok());
        assert_eq!(relations.counts(), (1, 0, FREE_RELATIONS), "monitors that others have cost it nothing");
        drop(relations);
        assert_eq!(account.bytes(), 0);
    }

    /// A signal about their link, from one of two processes to the other.
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Sent {
        Made,
        Undone(u64),
        Acknowledged(u64),
    }

    /// Two processes, 0 and 1: the signals in flight to each, and how often each may still create or remove the link.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        entries: [Option<(bool, u64)>; 2],
        inbound: [VecDeque<Sent>; 2],
        left: [u8; 2],
        /// Removals so far.
        numbers: u64,
    }

    impl World {
        fn new() -> World {
            World { entries: [None; 2], inbound: Default::default(), left: [4; 2], numbers: 0 }
        }

        /// Changes one side's relations, which are kept in a form that can be compared.
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

    /// Tries every order in which two processes can create and remove their link four times each, and receive the
    /// signals.
    #[test]
    #[cfg_attr(miri, ignore = "its very many worlds take very long")]
    fn a_link_is_on_both_sides_or_none_in_every_interleaving() {
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
