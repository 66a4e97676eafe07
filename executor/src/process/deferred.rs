//! Messages that a process has in timers: they belong to no mailbox yet, so they count against whoever set them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes a process has in timers. Its timers may outlive it, so they share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deferred(Arc<AtomicU64>);

/// A message's share, given back when the timer fires or is cancelled.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u64,
    of: Deferred,
}

impl Deferred {
    /// Takes a share, if no more than `limit` bytes are then taken.
    pub(crate) fn take(&self, bytes: u64, limit: u64) -> Option<Share> {
        let next = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= limit);
        // Relaxed: a count, which orders nothing else.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Share { bytes, of: self.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let deferred = Deferred::default();
        let share = deferred.take(60, 100).unwrap();
        assert!(deferred.take(41, 100).is_none());
        drop(share);
        assert!(deferred.take(100, 100).is_some());
        assert!(deferred.take(u64::MAX, u64::MAX).is_some(), "a refusal takes nothing");
    }
}
