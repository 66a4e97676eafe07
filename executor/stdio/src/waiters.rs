//! Who waits for a standard stream.
//!
//! A stream may be silent for as long as the node lives, and nobody tells it of processes that end meanwhile. So with each
//! that waits it has something of the process's own, by which it finds those that are gone; it looks for them whenever
//! there are twice as many as it found the last time.

use std::any::Any;
use std::sync::Weak;

use super::Resume;

/// Something that is gone when nobody waits any more.
pub type Owner = Weak<dyn Any + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(super) struct Waiters(Vec<(Owner, Resume)>);

impl Waiters {
    /// Adds one. Returns those that were gone, to be dropped where no lock is held.
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

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Waiters {
        std::mem::take(self)
    }

    /// Calls all back.
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
