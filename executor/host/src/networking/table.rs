//! Sockets by number. Most processes that have sockets have one or two of a kind. The first one is stored in the
//! table itself, so using it touches no other memory.

use lunatic_core::Fault;
use lunatic_core::process::ResourceTable;

/// A table of sockets. See the module documentation.
pub(crate) struct Table<T> {
    first: Option<(u64, T)>,
    /// Sockets that were added while there was a first one. It assigns all numbers.
    others: ResourceTable<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { first: None, others: ResourceTable::default() }
    }
}

impl<T> Table<T> {
    /// Adds a socket, unless there are `max`. Returns its number, which is used once.
    pub(super) fn add(&mut self, max: u64, item: T) -> Option<u64> {
        if self.first.is_some() || max == 0 {
            return self.others.add_within(max.saturating_sub(1), item);
        }
        let id = self.others.take_number();
        self.first = Some((id, item));
        Some(id)
    }

    /// Returns the socket with this number.
    pub(crate) fn get(&self, kind: &'static str, id: u64) -> Result<&T, Fault> {
        match &self.first {
            Some((first, item)) if *first == id => Ok(item),
            _ => self.others.get(kind, id),
        }
    }

    /// Returns the socket with this number, to be changed.
    pub(super) fn get_mut(&mut self, kind: &'static str, id: u64) -> Result<&mut T, Fault> {
        match &mut self.first {
            Some((first, item)) if *first == id => Ok(item),
            _ => self.others.get_mut(kind, id),
        }
    }

    /// Removes the socket with this number.
    pub(crate) fn remove(&mut self, kind: &'static str, id: u64) -> Result<T, Fault> {
        match self.first.take_if(|(first, _)| *first == id) {
            Some((_, item)) => Ok(item),
            None => self.others.remove(kind, id),
        }
    }

    /// Adds a socket like [`Table::add`], and traps if there are too many.
    pub(crate) fn add_or_trap(&mut self, max: u64, kind: &'static str, item: T) -> Result<u64, Fault> {
        self.add(max, item).ok_or(Fault::TooMany(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_once_and_there_is_a_limit() {
        let mut table = Table::default();
        assert_eq!((table.add(2, 'a'), table.add(2, 'b'), table.add(2, 'c')), (Some(0), Some(1), None));
        assert_eq!(table.remove("thing", 0), Ok('a'));
        assert!(table.get("thing", 0).is_err() && table.remove("thing", 0).is_err());
        assert_eq!((table.add(2, 'd'), table.add(2, 'e')), (Some(2), None));
        assert_eq!((table.get("thing", 1), table.get("thing", 2)), (Ok(&'b'), Ok(&'d')));
        assert_eq!(table.remove("thing", 1), Ok('b'));
        assert_eq!(table.get_mut("thing", 2), Ok(&mut 'd'));
        assert_eq!(table.add(0, 'f'), None);
    }
}
