//! Messages that have arrived and wait to be received, in order of arrival.
//!
//! A selective receive takes the first that matches and leaves the others where they are. While one pattern
//! waits, what it has looked at is not looked at again ([`Pattern::searched`]), so that a process with a long
//! mailbox pays for a search once and not with every message that arrives.

use std::collections::VecDeque;

use super::id::ProcessId;
use super::message::{Letter, Message};

/// Tags that one receive may name. The guest's array is copied, so it has to end somewhere.
pub(crate) const MAX_TAGS: usize = 65_536;

/// See the module. Its bytes are counted where messages enter, in the inbox.
#[derive(Default)]
pub(crate) struct Mailbox {
    messages: VecDeque<Letter>,
}

/// What a receive waits for.
#[derive(Debug)]
pub(crate) struct Pattern {
    tags: Tags,
    searched: usize,
}

/// Which tags match.
#[derive(Debug)]
pub(crate) enum Tags {
    /// All of them.
    Any,
    /// One; the common case, without an allocation.
    One(i64),
    /// Any of several.
    Several(Box<[i64]>),
}

impl Pattern {
    /// Matches messages that are there or arrive.
    pub(crate) fn new(tags: Tags) -> Pattern {
        Pattern { tags, searched: 0 }
    }

    /// The tags that match; none if all do.
    pub(super) fn tags(&self) -> &[i64] {
        match &self.tags {
            Tags::Any => &[],
            Tags::One(tag) => std::slice::from_ref(tag),
            Tags::Several(tags) => tags,
        }
    }

    fn matches(&self, message: &Message) -> bool {
        match &self.tags {
            Tags::Any => true,
            Tags::One(tag) => message.tag() == *tag,
            Tags::Several(tags) => tags.contains(&message.tag()),
        }
    }
}

impl Mailbox {
    pub(crate) fn push(&mut self, letter: Letter) {
        self.messages.push_back(letter);
    }

    /// Gives back a message for which a search waits that has looked at all others, or keeps it.
    pub(crate) fn offer(&mut self, pattern: &mut Pattern, letter: Letter) -> Option<Letter> {
        if pattern.searched == self.messages.len() {
            if pattern.matches(letter.message()) {
                return Some(letter);
            }
            pattern.searched += 1;
        }
        self.messages.push_back(letter);
        None
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes the first message that matches.
    pub(crate) fn take(&mut self, pattern: &mut Pattern) -> Option<Letter> {
        if pattern.searched == 0
            && let Some(first) = self.messages.front()
            && pattern.matches(first.message())
        {
            return self.messages.pop_front();
        }
        if pattern.searched == self.messages.len() {
            return None;
        }
        let rest = self.messages.range(pattern.searched..);
        match rest.into_iter().position(|letter| pattern.matches(letter.message())) {
            Some(offset) => self.messages.remove(pattern.searched + offset),
            None => {
                pattern.searched = self.messages.len();
                None
            }
        }
    }

    /// Takes out what says that a process died, if a monitor's reference says so.
    pub(crate) fn forget_death(&mut self, process: ProcessId, reference: u64) {
        self.messages.retain(|letter| match letter.message() {
            Message::ProcessDied(death) => (death.process, death.reference) != (process, reference),
            _ => true,
        });
    }

    /// Makes a pattern match only what arrives from now on.
    pub(crate) fn skip(&self, pattern: &mut Pattern) {
        pattern.searched = self.messages.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exit::{Cause, Ending};
    use super::super::message::{DataMessage, Death, NO_TAG};
    use super::*;

    fn mailbox(tags: &[i64]) -> Mailbox {
        let mut mailbox = Mailbox::default();
        tags.iter().for_each(|tag| mailbox.push(Letter::new(Message::Data(DataMessage::new(*tag, 0)))));
        mailbox
    }

    fn take(mailbox: &mut Mailbox, tags: &[i64]) -> Option<i64> {
        let tags = if tags.is_empty() { Tags::Any } else { Tags::Several(tags.into()) };
        mailbox.take(&mut Pattern::new(tags)).map(|letter| letter.message().tag())
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
        assert!(mailbox.take(&mut pattern).is_none());
        mailbox.push(Letter::new(Message::Data(DataMessage::new(8, 0))));
        let death = Death { process: ProcessId::NONE, reference: 0, ending: Ending::Own(Cause::Killed) };
        mailbox.push(Letter::new(Message::LinkDied { tag: 5, death }));
        let found = mailbox.take(&mut pattern).unwrap();
        assert!(matches!(found.message(), Message::LinkDied { tag: 5, .. }));
        assert_eq!([(); 3].map(|()| take(&mut mailbox, &[])), [Some(5), Some(6), Some(8)]);
    }

    #[test]
    fn what_arrives_passes_those_that_wait_only_if_none_of_them_matches() {
        let letter = |tag| Letter::new(Message::Data(DataMessage::new(tag, 0)));
        let mut mailbox = mailbox(&[1, 2]);
        let mut pattern = Pattern::new(Tags::One(3));
        assert!(mailbox.take(&mut pattern).is_none());
        assert!(mailbox.offer(&mut pattern, letter(4)).is_none(), "it does not match");
        assert!(mailbox.offer(&mut pattern, letter(3)).is_some(), "all others were looked at");
        assert_eq!(mailbox.len(), 3);
        let mut fresh = Pattern::new(Tags::Any);
        assert!(mailbox.offer(&mut fresh, letter(5)).is_none(), "older ones come first");
        assert_eq!(mailbox.take(&mut fresh).map(|letter| letter.message().tag()), Some(1));
    }

    #[test]
    fn a_tag_does_not_match_the_untagged() {
        let mut mailbox = mailbox(&[NO_TAG, 3]);
        assert_eq!(take(&mut mailbox, &[3]), Some(3));
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "hundreds of cases take an hour")]
        fn a_waiting_pattern_finds_what_a_fresh_search_would(arrivals in prop::collection::vec(0i64..5, 0..40), wanted in 0i64..5) {
            let mut mailbox = Mailbox::default();
            let mut pattern = Pattern::new(Tags::One(wanted));
            for (index, tag) in arrivals.iter().enumerate() {
                mailbox.push(Letter::new(Message::Data(DataMessage::new(*tag, 0))));
                let found = mailbox.take(&mut pattern).is_some();
                prop_assert_eq!(found, *tag == wanted, "arrival {}", index);
                if found {
                    pattern = Pattern::new(Tags::One(wanted));
                }
            }
        }
    }
}
