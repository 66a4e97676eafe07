//! Processes that wait for a standard stream.
//!
//! A stream may stay silent for the lifetime of the node, and it is not notified when a waiting process dies. Each
//! waiter therefore carries a weak reference to an object of its process. Waiters of dead processes are removed
//! whenever the list has grown to twice its size after the last removal.

use std::any::Any;
use std::sync::Weak;

use super::Resume;

/// A reference that dangles once the process no longer waits.
pub type Owner = Weak<dyn Any + Send + Sync>;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Waiters(Vec<(Owner, Resume)>);

impl Waiters {
    /// Adds a waiter. Returns the callbacks of dead processes, which the caller drops without holding a lock.
    #[must_use]
    pub(super) fn push(&mut self, owner: Owner, resume: Resume) -> Vec<Resume> {
        let gone = if self.0.len() == self.0.capacity() { self.take_gone() } else { Vec::new() };
        self.0.push((owner, resume));
        gone
    }

    fn take_gone(&mut self) -> Vec<Resume> {
        let is_gone = |(owner, _): &mut (Owner, Resume)| owner.strong_count() == 0;
        let gone: Vec<_> = self.0.extract_if(.., is_gone).map(|(_, resume)| resume).collect();
        let left = self.0.len();
        self.0.shrink_to(2 * left);
        self.0.reserve(left + 1);
        gone
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all waiters.
    pub(super) fn take(&mut self) -> Waiters {
        std::mem::take(self)
    }

    /// Calls all callbacks.
    pub(super) fn resume(self) {
        self.0.into_iter().for_each(|(_, resume)| resume());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn those_that_are_gone_are_not_kept() {
        let mut waiters = Waiters::default();
        let here: Vec<Arc<()>> = (0..10).map(|_| Arc::new(())).collect();
        let owner =
            |owner: &Arc<()>| -> Owner { Arc::downgrade(&(owner.clone() as Arc<dyn Any + Send + Sync>)) };
        here.iter().for_each(|one| drop(waiters.push(owner(one), Box::new(|| ()))));
        let mut most = 0;
        for _ in 0..1000 {
            drop(waiters.push(owner(&Arc::new(())), Box::new(|| ())));
            most = most.max(waiters.0.len());
        }
        assert!(most <= 4 * here.len(), "{most}");
        let left = waiters.0.iter().filter(|(owner, _)| owner.strong_count() > 0).count();
        assert_eq!(left, here.len());
    }
}
