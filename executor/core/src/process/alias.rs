//! Aliases: numbers by which a process can be sent messages until it drops them.
//!
//! Whoever asks something and gives up waiting does not want the reply that comes too late. It cannot keep others from
//! sending, but it can have them send to an alias: whether that is still one is looked at when the message is handled
//! by its receiver, so from the moment that it is dropped nothing that was sent to it is delivered, whatever is under
//! way.

use std::collections::BTreeMap;

/// Aliases that a process may have at a time.
pub(super) const MAX_ALIASES: usize = 65_536;

/// See the module. Numbers are the process's references, so none is given twice.
#[derive(Default)]
pub struct Aliases {
    aliases: BTreeMap<u64, Use>,
}

/// How long an alias lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Until it is dropped.
    Many,
    /// Until the first message.
    Once,
}

impl Aliases {
    /// Adds one; false if there are too many.
    pub fn add(&mut self, alias: u64, lasts: Use) -> bool {
        let has_room = self.aliases.len() < MAX_ALIASES;
        if has_room {
            self.aliases.insert(alias, lasts);
        }
        has_room
    }

    /// Drops one; whether it still was one.
    pub fn remove(&mut self, alias: u64) -> bool {
        self.aliases.remove(&alias).is_some()
    }

    /// Whether a message that was sent to it is delivered.
    pub fn accept(&mut self, alias: u64) -> bool {
        let lasts = self.aliases.get(&alias).copied();
        if lasts == Some(Use::Once) {
            self.aliases.remove(&alias);
        }
        lasts.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guarantee_33_what_is_sent_to_a_dropped_alias_is_not_delivered() {
        let mut aliases = Aliases::default();
        assert!(aliases.add(1, Use::Many) && aliases.add(2, Use::Once));
        assert!(aliases.accept(1) && aliases.accept(1) && aliases.accept(2));
        assert!(!aliases.accept(2), "one message was all");
        assert!(aliases.remove(1) && !aliases.remove(1) && !aliases.remove(2));
        assert!(!aliases.accept(1));
    }

    #[test]
    #[cfg_attr(miri, ignore = "safe code, for very many aliases")]
    fn there_is_a_limit() {
        let mut aliases = Aliases::default();
        assert!((0..MAX_ALIASES as u64).all(|alias| aliases.add(alias, Use::Many)));
        assert!(!aliases.add(u64::MAX, Use::Many));
        assert!(aliases.remove(0) && aliases.add(u64::MAX, Use::Many));
    }
}
