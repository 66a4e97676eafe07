//! Aliases: addresses of a process that are valid until it drops them.
//!
//! A process that sends a request and stops waiting does not want a late reply. It cannot keep others from sending,
//! but it can have them send to an alias. The receiver checks the alias when it handles the message. So from the
//! moment that the alias is dropped, nothing that was sent to it is delivered, whatever is in flight.

use std::collections::BTreeMap;

/// Aliases that a process may have at a time.
pub(super) const MAX_ALIASES: usize = 65_536;

/// The aliases of a process. See the module documentation. Their numbers are references of the process, so none is
/// used twice.
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
    /// Adds an alias. Returns false if there are too many.
    pub fn add(&mut self, alias: u64, lasts: Use) -> bool {
        let has_room = self.aliases.len() < MAX_ALIASES;
        if has_room {
            self.aliases.insert(alias, lasts);
        }
        has_room
    }

    /// Drops an alias. Returns whether it existed.
    pub fn remove(&mut self, alias: u64) -> bool {
        self.aliases.remove(&alias).is_some()
    }

    /// Returns whether a message that was sent to the alias is delivered.
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
