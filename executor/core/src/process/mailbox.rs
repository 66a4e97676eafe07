//! Messages that have arrived and wait to be received, in order of arrival.
//!
//! A selective receive takes the first message that matches and leaves the others in place. Its cost must not depend
//! on the number of waiting messages, because other processes can send any number of them:
//!
//! - Messages form a doubly linked list in a vector. Removing one from the middle is as cheap as removing the first.
//! - A search that passes over more than [`WINDOW`] messages adds the messages that it passed to an index by tag.
//!   Later searches use the index, so a search passes over a message about once in the message's life. Short mailboxes
//!   have no index.
//! - A search takes a limited number of steps and can be continued ([`Search::Unfinished`]). So a process that
//!   searches a long mailbox lets others run in between, and pays for the steps.
//! - While a process waits with one pattern, messages that were compared are not compared again: a message that
//!   arrives is compared alone.

use std::collections::{BTreeMap, BTreeSet};

use super::id::ProcessId;
use super::message::{Envelope, Message};

/// Tags that one receive may name. The limit exists because the guest's array is copied.
pub const MAX_TAGS: usize = 65_536;

/// Messages behind the position of a search that stay out of the index. Comparing this few again is cheaper than
/// maintaining index entries for them.
const WINDOW: u32 = 64;

/// Entries for which an empty mailbox keeps its memory.
const KEPT_CAPACITY: usize = 64;

/// The index that stands for "no entry".
const NIL: u32 = u32::MAX;

/// A mailbox. See the module documentation. The inbox counts the bytes of messages when they are sent.
#[derive(Default)]
pub struct Mailbox {
    /// The list. Most messages are received as they arrive, so most processes have no list.
    list: Option<Box<List>>,
}

struct List {
    entries: Vec<EntryPoint>,
    /// The first free entry. Free entries are linked by `next`.
    free: u32,
    first: u32,
    last: u32,
    len: usize,
    /// The number of the next message. Numbers grow, so they tell which of two messages is older.
    next_number: u64,
    /// The oldest entry that is not in the index. All older entries are in it.
    unindexed: u32,
    index: BTreeSet<(i64, u64, u32)>,
    /// Entries that are death messages of monitored processes.
    deaths: BTreeMap<(ProcessId, u64), u32>,
}

struct EntryPoint {
    /// `None` if the entry is free.
    envelope: Option<Envelope>,
    number: u64,
    previous: u32,
    next: u32,
}

/// What a receive waits for, and how far its search has come.
#[derive(Debug)]
pub struct Pattern {
    tags: Tags,
    place: Place,
}

/// The tags that match.
#[derive(Debug)]
pub enum Tags {
    /// Any tag.
    Any,
    /// One tag: the common case, which needs no allocation.
    One(i64),
    /// Any of several tags, in ascending order.
    Several(Box<[i64]>),
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing was compared yet.
    Start,
    /// The first `tags` tags were looked up in the index; `oldest` is the oldest entry that was found.
    Index { tags: usize, oldest: Option<(u64, u32)> },
    /// All entries before this one were compared. The last `unindexed` of them are not in the index.
    At { entry: u32, unindexed: u32 },
    /// Everything that has arrived was compared.
    End,
}

/// The result of a search.
pub enum Search {
    Found(Envelope),
    /// No message matches.
    Nothing,
    /// The steps are used up. The next call continues.
    Unfinished,
}

impl Tags {
    /// Matches these tags, in any order and with repetitions.
    pub fn of(mut tags: Vec<i64>) -> Tags {
        tags.sort_unstable();
        tags.dedup();
        match *tags {
            [] => Tags::Any,
            [tag] => Tags::One(tag),
            _ => Tags::Several(tags.into()),
        }
    }
}

impl Pattern {
    /// Creates a pattern that matches messages in the mailbox and messages that arrive later.
    pub fn new(tags: Tags) -> Pattern {
        Pattern { tags, place: Place::Start }
    }

    /// Returns the tags that match; an empty slice if all do.
    pub(super) fn tags(&self) -> &[i64] {
        match &self.tags {
            Tags::Any => &[],
            Tags::One(tag) => std::slice::from_ref(tag),
            Tags::Several(tags) => tags,
        }
    }

    /// Returns whether the search has begun and is not finished.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self.place, Place::Index { .. } | Place::At { .. })
    }

    fn matches(&self, message: &Message) -> bool {
        match &self.tags {
            Tags::Any => true,
            Tags::One(tag) => message.tag() == *tag,
            Tags::Several(tags) => tags.binary_search(&message.tag()).is_ok(),
        }
    }
}

impl Mailbox {
    pub fn push(&mut self, envelope: Envelope) {
        self.list.get_or_insert_with(|| Box::new(List::new())).push(envelope);
    }

    /// Returns a message that arrives if the pattern matches it, or keeps the message. The search with this pattern
    /// must have compared all other messages.
    pub fn offer(&mut self, pattern: &mut Pattern, envelope: Envelope) -> Option<Envelope> {
        if self.is_empty() || pattern.place == Place::End {
            if pattern.matches(envelope.message()) {
                return Some(envelope);
            }
            pattern.place = Place::End;
        }
        self.push(envelope);
        None
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.len)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first message that matches, in at most `steps` steps, and reduces `steps` by those that it took.
    /// Between two calls with one pattern, messages may arrive and none may be taken.
    pub fn take(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Search {
        match &mut self.list {
            Some(list) => list.take(pattern, steps),
            None => {
                pattern.place = Place::End;
                Search::Nothing
            }
        }
    }

    /// Takes the death message with this monitor's reference, if it is in the mailbox.
    pub fn forget_death(&mut self, process: ProcessId, reference: u64) -> Option<Envelope> {
        let list = self.list.as_mut()?;
        let entry = *list.deaths.get(&(process, reference))?;
        Some(list.remove(entry))
    }

    /// Makes a pattern match only messages that arrive from now on.
    pub fn skip(&self, pattern: &mut Pattern) {
        pattern.place = Place::End;
    }
}

impl List {
    fn new() -> List {
        List {
            entries: Vec::new(),
            free: NIL,
            first: NIL,
            last: NIL,
            len: 0,
            next_number: 0,
            unindexed: NIL,
            index: BTreeSet::new(),
            deaths: BTreeMap::new(),
        }
    }

    fn push(&mut self, envelope: Envelope) {
        let number = self.next_number;
        self.next_number += 1;
        let death = match envelope.message() {
            Message::ProcessDied(death) => Some((death.process, death.reference)),
            _ => None,
        };
        let entry = EntryPoint { envelope: Some(envelope), number, previous: self.last, next: NIL };
        let slot = match self.free {
            NIL => {
                self.entries.push(entry);
                // A mailbox of 2^32 messages does not fit in any memory.
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 messages")
            }
            free => {
                self.free = self.entries[free as usize].next;
                self.entries[free as usize] = entry;
                free
            }
        };
        match self.last {
            NIL => self.first = slot,
            last => self.entries[last as usize].next = slot,
        }
        self.last = slot;
        self.len += 1;
        if self.unindexed == NIL {
            self.unindexed = slot;
        }
        if let Some(death) = death {
            self.deaths.insert(death, slot);
        }
    }

    /// Removes an entry that is in use.
    fn remove(&mut self, slot: u32) -> Envelope {
        let entry = &mut self.entries[slot as usize];
        let envelope = entry.envelope.take().expect("an entry of the list has a message");
        let (number, previous, next) = (entry.number, entry.previous, entry.next);
        entry.next = self.free;
        self.free = slot;
        match previous {
            NIL => self.first = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NIL => self.last = previous,
            next => self.entries[next as usize].previous = previous,
        }
        self.len -= 1;
        if self.unindexed == slot {
            self.unindexed = next;
        } else if !self.index.is_empty() {
            self.index.remove(&(envelope.message().tag(), number, slot));
        }
        if let Message::ProcessDied(death) = envelope.message() {
            self.deaths.remove(&(death.process, death.reference));
        }
        if self.len == 0 {
            self.forget_entries();
        }
        envelope
    }

    /// The list is empty: frees the memory that a burst of messages took.
    fn forget_entries(&mut self) {
        self.free = NIL;
        if self.entries.capacity() > KEPT_CAPACITY {
            self.entries = Vec::new();
        } else {
            self.entries.clear();
        }
    }

    fn take(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Search {
        if pattern.place == Place::Start {
            if self.first == NIL {
                pattern.place = Place::End;
                return Search::Nothing;
            }
            *steps = steps.saturating_sub(1);
            if pattern.matches(self.message(self.first)) {
                return Search::Found(self.remove(self.first));
            }
            pattern.place = self.begin(pattern);
        }
        if let Place::Index { .. } = pattern.place {
            match self.look_up(pattern, steps) {
                Search::Nothing => pattern.place = self.from(self.unindexed),
                other => return other,
            }
        }
        self.scan(pattern, steps)
    }

    /// Returns where a search begins whose first comparison failed.
    fn begin(&self, pattern: &Pattern) -> Place {
        let tags = pattern.tags().len();
        // With more tags than indexed messages, comparing the messages is less work.
        if tags > 0 && tags <= self.index.len() {
            return Place::Index { tags: 0, oldest: None };
        }
        self.from(self.first)
    }

    fn from(&self, entry: u32) -> Place {
        if entry == NIL { Place::End } else { Place::At { entry, unindexed: 0 } }
    }

    /// Looks up each of the pattern's tags in the index, and takes the oldest entry that was found.
    fn look_up(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Search {
        let Place::Index { tags: mut asked, mut oldest } = pattern.place else { return Search::Nothing };
        while let Some(&tag) = pattern.tags().get(asked) {
            if *steps == 0 {
                pattern.place = Place::Index { tags: asked, oldest };
                return Search::Unfinished;
            }
            *steps -= 1;
            let found = self.index.range((tag, 0, 0)..=(tag, u64::MAX, NIL)).next();
            let found = found.map(|(_, number, slot)| (*number, *slot));
            oldest = [oldest, found].into_iter().flatten().min();
            asked += 1;
        }
        match oldest {
            Some((_, slot)) => Search::Found(self.remove(slot)),
            None => Search::Nothing,
        }
    }

    /// Compares message by message.
    fn scan(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Search {
        let Place::At { mut entry, mut unindexed } = pattern.place else { return Search::Nothing };
        while entry != NIL {
            if *steps == 0 {
                pattern.place = Place::At { entry, unindexed };
                return Search::Unfinished;
            }
            *steps -= 1;
            if pattern.matches(self.message(entry)) {
                return Search::Found(self.remove(entry));
            }
            // Entries before `unindexed` are in the index already.
            if self.entries[entry as usize].number >= self.oldest_unindexed() {
                unindexed += 1;
                if unindexed > WINDOW {
                    self.index_one();
                    unindexed -= 1;
                }
            }
            entry = self.entries[entry as usize].next;
        }
        pattern.place = Place::End;
        Search::Nothing
    }

    fn oldest_unindexed(&self) -> u64 {
        self.entries.get(self.unindexed as usize).map_or(u64::MAX, |entry| entry.number)
    }

    /// Adds the oldest entry that is not in the index.
    fn index_one(&mut self) {
        let slot = self.unindexed;
        let EntryPoint { number, next, .. } = self.entries[slot as usize];
        self.index.insert((self.message(slot).tag(), number, slot));
        self.unindexed = next;
    }

    fn message(&self, slot: u32) -> &Message {
        self.entries[slot as usize].envelope.as_ref().expect("an entry of the list has a message").message()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exit::{Cause, Termination};
    use super::super::message::{DataMessage, Death, NO_TAG};
    use super::*;

    fn mailbox(tags: &[i64]) -> Mailbox {
        let mut mailbox = Mailbox::default();
        tags.iter().for_each(|tag| mailbox.push(Envelope::new(Message::Data(DataMessage::new(*tag, 0)))));
        mailbox
    }

    fn take(mailbox: &mut Mailbox, tags: &[i64]) -> Option<i64> {
        found(mailbox, &mut Pattern::new(Tags::of(tags.to_vec())))
    }

    /// Searches until the search ends, and returns the result.
    fn found(mailbox: &mut Mailbox, pattern: &mut Pattern) -> Option<i64> {
        loop {
            match mailbox.take(pattern, &mut 3) {
                Search::Found(envelope) => return Some(envelope.message().tag()),
                Search::Nothing => return None,
                Search::Unfinished => assert!(pattern.is_unfinished()),
            }
        }
    }

    /// Returns the tag of the message that a search finds, and the steps that it took.
    fn counted(mailbox: &mut Mailbox, tags: &[i64]) -> (Option<i64>, u64) {
        let mut steps = u64::MAX;
        let found = match mailbox.take(&mut Pattern::new(Tags::of(tags.to_vec())), &mut steps) {
            Search::Found(envelope) => Some(envelope.message().tag()),
            Search::Nothing => None,
            Search::Unfinished => unreachable!("its steps do not run out"),
        };
        (found, u64::MAX - steps)
    }

    fn death(process: u64, reference: u64) -> Envelope {
        let termination = Termination::Own(Cause::Killed);
        Envelope::new(Message::ProcessDied(Death {
            process: ProcessId::from_guest(process),
            reference,
            termination,
        }))
    }

    #[test]
    fn a_message_is_passed_over_once_however_often_a_receive_searches() {
        const MESSAGES: i64 = 10_000;
        let mut mailbox = mailbox(&(1..=MESSAGES).collect::<Vec<_>>());
        let (_, first) = counted(&mut mailbox, &[-1]);
        assert_eq!(first, MESSAGES as u64 + 1);
        for _ in 0..100 {
            let (nothing, steps) = counted(&mut mailbox, &[-1]);
            assert!(nothing.is_none() && steps <= u64::from(WINDOW) + 2, "{steps} steps");
        }
        for tag in [MESSAGES / 2, 7, MESSAGES - 1] {
            let (taken, steps) = counted(&mut mailbox, &[tag, -1]);
            assert!(taken == Some(tag) && steps <= u64::from(WINDOW) + 4, "{steps} steps");
        }
        let many: Vec<i64> = (0..20_000).map(|tag| -tag - 1).collect();
        let (_, steps) = counted(&mut mailbox, &many);
        assert!(steps <= MESSAGES as u64 + 1, "{steps} steps for {MESSAGES} messages and twice as many tags");
    }

    #[test]
    fn an_empty_mailbox_releases_the_memory_of_a_burst() {
        let mut mailbox = mailbox(&[1; 10_000]);
        assert_eq!(take(&mut mailbox, &[2]), None);
        while take(&mut mailbox, &[]).is_some() {}
        let list = mailbox.list.as_ref().unwrap();
        assert!(list.entries.capacity() <= KEPT_CAPACITY && list.index.is_empty() && list.deaths.is_empty());
        mailbox.push(death(1, 1));
        assert_eq!(mailbox.len(), 1);
    }

    #[test]
    fn the_news_of_a_death_is_taken_out_from_among_others() {
        let mut mailbox = mailbox(&[1; 200]);
        (0..3).for_each(|reference| mailbox.push(death(9, reference)));
        (0..100).for_each(|_| mailbox.push(Envelope::new(Message::Data(DataMessage::new(2, 0)))));
        assert_eq!(take(&mut mailbox, &[3]), None, "and they are in the index now");
        assert!(mailbox.forget_death(ProcessId::from_guest(9), 1).is_some());
        assert!(mailbox.forget_death(ProcessId::from_guest(9), 1).is_none());
        assert!(mailbox.forget_death(ProcessId::from_guest(8), 2).is_none());
        assert_eq!(mailbox.len(), 302);
        assert_eq!([(); 2].map(|()| take(&mut mailbox, &[NO_TAG])), [Some(NO_TAG); 2]);
        assert_eq!(take(&mut mailbox, &[NO_TAG]), None);
        assert!(mailbox.forget_death(ProcessId::from_guest(9), 2).is_none(), "it was received");
    }

    #[test]
    fn guarantee_06_receive_order_is_arrival_order() {
        let mut mailbox = mailbox(&[4, 2, 9, 2]);
        let order: Vec<_> = std::iter::from_fn(|| take(&mut mailbox, &[])).collect();
        assert_eq!(order, [4, 2, 9, 2]);
    }

    #[test]
    fn guarantee_07_selective_receive_leaves_the_others_in_place() {
        let mut mailbox = mailbox(&[1, 2, 3, 4]);
        assert_eq!(take(&mut mailbox, &[3]), Some(3));
        assert_eq!(take(&mut mailbox, &[7]), None);
        assert_eq!([(); 3].map(|()| take(&mut mailbox, &[])), [Some(1), Some(2), Some(4)]);
    }

    #[test]
    fn guarantee_10_skip_search_sees_only_what_arrives_later() {
        let mut mailbox = mailbox(&[5, 6]);
        let mut pattern = Pattern::new(Tags::One(5));
        mailbox.skip(&mut pattern);
        assert_eq!(found(&mut mailbox, &mut pattern), None);
        assert!(mailbox.offer(&mut pattern, Envelope::new(Message::Data(DataMessage::new(8, 0)))).is_none());
        let death =
            Death { process: ProcessId::NONE, reference: 0, termination: Termination::Own(Cause::Killed) };
        let found = mailbox.offer(&mut pattern, Envelope::new(Message::LinkDied { tag: 5, death })).unwrap();
        assert!(matches!(found.message(), Message::LinkDied { tag: 5, .. }));
        assert_eq!([(); 3].map(|()| take(&mut mailbox, &[])), [Some(5), Some(6), Some(8)]);
    }

    #[test]
    fn a_new_message_is_matched_after_the_waiting_ones() {
        let envelope = |tag| Envelope::new(Message::Data(DataMessage::new(tag, 0)));
        let mut mailbox = mailbox(&[1, 2]);
        let mut pattern = Pattern::new(Tags::One(3));
        assert_eq!(found(&mut mailbox, &mut pattern), None);
        assert!(mailbox.offer(&mut pattern, envelope(4)).is_none(), "it does not match");
        assert!(mailbox.offer(&mut pattern, envelope(3)).is_some(), "all others were looked at");
        assert_eq!(mailbox.len(), 3);
        let mut fresh = Pattern::new(Tags::Any);
        assert!(mailbox.offer(&mut fresh, envelope(5)).is_none(), "older ones come first");
        assert_eq!(found(&mut mailbox, &mut fresh), Some(1));
    }

    #[test]
    fn a_tag_does_not_match_the_untagged() {
        let mut mailbox = mailbox(&[NO_TAG, 3]);
        assert_eq!(take(&mut mailbox, &[3]), Some(3));
    }

    /// The simplest mailbox: a list that is searched from the start.
    #[derive(Default)]
    struct Plain(Vec<(i64, u64)>);

    impl Plain {
        fn take(&mut self, tags: &[i64]) -> Option<i64> {
            let found = self.0.iter().position(|(tag, _)| tags.is_empty() || tags.contains(tag))?;
            Some(self.0.remove(found).0)
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Push(i64),
        Die(u64),
        Take(Vec<i64>),
        Flush(u64),
        /// A search that is interrupted while messages arrive, and waits for a message if there is none.
        Wait(Vec<i64>, Vec<i64>),
    }

    fn act() -> impl Strategy<Value = Act> {
        let tag = 1i64..6;
        prop_oneof![
            6 => tag.clone().prop_map(Act::Push),
            1 => (0u64..4).prop_map(Act::Die),
            3 => prop::collection::vec(tag.clone(), 0..4).prop_map(Act::Take),
            1 => (0u64..4).prop_map(Act::Flush),
            2 => (prop::collection::vec(tag.clone(), 0..4), prop::collection::vec(tag, 0..5))
                .prop_map(|(tags, arrivals)| Act::Wait(tags, arrivals)),
        ]
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "hundreds of cases take an hour")]
        fn it_is_a_list_that_is_looked_through_from_the_start(
            before in prop::collection::vec(1i64..6, 0..300),
            acts in prop::collection::vec(act(), 0..200),
        ) {
            let data = |tag| Envelope::new(Message::Data(DataMessage::new(tag, 0)));
            let (mut mailbox, mut plain) = (mailbox(&before), Plain::default());
            plain.0.extend(before.iter().map(|tag| (*tag, u64::MAX)));
            for act in acts {
                match act {
                    Act::Push(tag) => {
                        mailbox.push(data(tag));
                        plain.0.push((tag, u64::MAX));
                    }
                    Act::Die(reference) if plain.0.iter().all(|(_, other)| *other != reference) => {
                        mailbox.push(death(1, reference));
                        plain.0.push((NO_TAG, reference));
                    }
                    Act::Die(_) => {}
                    Act::Take(tags) => prop_assert_eq!(take(&mut mailbox, &tags), plain.take(&tags)),
                    Act::Flush(reference) => {
                        let flushed = mailbox.forget_death(ProcessId::from_guest(1), reference).is_some();
                        let before = plain.0.len();
                        plain.0.retain(|(_, other)| *other != reference);
                        prop_assert_eq!(flushed, plain.0.len() < before);
                    }
                    Act::Wait(tags, arrivals) => {
                        let mut pattern = Pattern::new(Tags::of(tags.clone()));
                        let mut received = None;
                        let mut arrivals = arrivals.into_iter();
                        while received.is_none() {
                            received = match mailbox.take(&mut pattern, &mut 2) {
                                Search::Found(envelope) => Some(envelope),
                                Search::Unfinished | Search::Nothing => {
                                    let Some(tag) = arrivals.next() else { break };
                                    plain.0.push((tag, u64::MAX));
                                    mailbox.offer(&mut pattern, data(tag))
                                }
                            };
                        }
                        let is_over = received.is_some() || !pattern.is_unfinished();
                        arrivals.for_each(|tag| {
                            mailbox.push(data(tag));
                            plain.0.push((tag, u64::MAX));
                        });
                        if is_over && (received.is_some() || plain.0.is_empty()) {
                            let received = received.map(|envelope| envelope.message().tag());
                            prop_assert_eq!(received, plain.take(&tags));
                        }
                    }
                }
                prop_assert_eq!(mailbox.len(), plain.0.len());
            }
            let rest: Vec<_> = std::iter::from_fn(|| take(&mut mailbox, &[])).collect();
            prop_assert_eq!(rest, plain.0.iter().map(|(tag, _)| *tag).collect::<Vec<_>>());
        }

        #[test]
        #[cfg_attr(miri, ignore = "hundreds of cases take an hour")]
        fn a_resumed_search_finds_the_same_as_a_new_one(arrivals in prop::collection::vec(0i64..5, 0..40), wanted in 0i64..5) {
            let mut mailbox = Mailbox::default();
            let mut pattern = Pattern::new(Tags::One(wanted));
            for (index, tag) in arrivals.iter().enumerate() {
                let envelope = Envelope::new(Message::Data(DataMessage::new(*tag, 0)));
                let is_found = mailbox.offer(&mut pattern, envelope).is_some() || found(&mut mailbox, &mut pattern).is_some();
                prop_assert_eq!(is_found, *tag == wanted, "arrival {}", index);
                if is_found {
                    pattern = Pattern::new(Tags::One(wanted));
                }
            }
        }
    }
}
