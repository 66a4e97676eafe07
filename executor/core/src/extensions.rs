//! State of host functions in a process, keyed by type.
//!
//! The core does not know what host functions keep: descriptors, sockets, databases, or the state of an embedder's
//! functions. Each kind of state is a type. A process has at most one value of a type, which is created on first use.

use std::any::Any;

use smallvec::SmallVec;

/// State of host functions in a process. Dropped with the process.
pub trait HostState: Any + Send {
    /// Whether dropping the state may take so long that a worker must not do it.
    fn is_slow_to_drop(&self) -> bool {
        false
    }
}

/// All state of one process.
#[derive(Default)]
pub struct Extensions {
    // A vector: most processes have one or two values.
    values: SmallVec<[Box<dyn HostState>; 2]>,
}

impl Extensions {
    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the value of this type, if there is one.
    pub fn get<T: HostState>(&self) -> Option<&T> {
        self.values.iter().find_map(|value| (&**value as &dyn Any).downcast_ref())
    }

    /// Returns the value of this type, if there is one.
    pub fn get_mut<T: HostState>(&mut self) -> Option<&mut T> {
        self.values.iter_mut().find_map(|value| (&mut **value as &mut dyn Any).downcast_mut())
    }

    /// Returns the value of this type, and creates it first if necessary.
    #[inline]
    pub fn get_or_insert_with<T: HostState>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        // Search for the index: a returned reference to a found value would keep `self` borrowed in the other branch.
        let found = self.values.iter().position(|value| (&**value as &dyn Any).is::<T>());
        let index = found.unwrap_or_else(|| {
            self.values.push(Box::new(make()));
            self.values.len() - 1
        });
        (&mut *self.values[index] as &mut dyn Any).downcast_mut().expect("it is of this type")
    }

    /// Returns the value of this type, and creates it with its default first if necessary.
    pub fn get_or_default<T: HostState + Default>(&mut self) -> &mut T {
        self.get_or_insert_with(T::default)
    }

    /// Sets the value of this type.
    pub fn insert<T: HostState>(&mut self, value: T) {
        match self.get_mut() {
            Some(place) => *place = value,
            None => self.values.push(Box::new(value)),
        }
    }

    /// Removes the value of this type and returns it.
    pub fn remove<T: HostState>(&mut self) -> Option<T> {
        let index = self.values.iter().position(|value| (&**value as &dyn Any).is::<T>())?;
        let value: Box<dyn Any> = self.values.swap_remove(index);
        value.downcast().ok().map(|value| *value)
    }

    /// Returns whether dropping the values may take so long that a worker must not do it.
    pub fn is_slow_to_drop(&self) -> bool {
        self.values.iter().any(|value| value.is_slow_to_drop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Count(u32);
    impl HostState for Count {}

    #[derive(Debug, PartialEq)]
    struct Name(&'static str);
    impl HostState for Name {
        fn is_slow_to_drop(&self) -> bool {
            true
        }
    }

    #[test]
    fn there_is_one_value_of_each_type() {
        let mut extensions = Extensions::default();
        assert_eq!(extensions.get::<Count>(), None);
        extensions.get_or_default::<Count>().0 = 7;
        assert!(!extensions.is_slow_to_drop());
        extensions.insert(Name("first"));
        extensions.insert(Name("second"));
        assert!(extensions.is_slow_to_drop());
        assert_eq!(extensions.get_or_default::<Count>(), &mut Count(7));
        assert_eq!(extensions.get(), Some(&Name("second")));
        assert_eq!(extensions.remove(), Some(Count(7)));
        assert_eq!(extensions.remove::<Count>(), None);
        assert_eq!(extensions.get_mut(), Some(&mut Name("second")));
    }
}
