//! Limits on the processes below a configuration, and on what the host keeps for all of them.
//!
//! A [`Quota`] belongs to a configuration and to all configurations made from it, by whichever process. A process
//! takes a permit when it is added to the node, and returns it when its data is dropped, which is before its death is
//! announced. A quota may lie below another one; a permit then counts in both, so a child never has more than its
//! parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::account::add_within;

/// Quotas that may lie below each other. Taking a permit is a step for each.
const MAX_DEPTH: u32 = 64;

/// A quota. See the module documentation.
#[derive(Debug)]
pub struct Quota {
    limit: u64,
    used: AtomicU64,
    /// Bytes that the host keeps for its processes, and for processes that have ended; see
    /// [`account`](crate::account).
    kept: AtomicU64,
    /// Names of metrics that its processes have introduced.
    metrics: AtomicU64,
    /// Open descriptors of its processes, and of processes that have ended.
    descriptors: AtomicU64,
    above: Option<Arc<Quota>>,
    depth: u32,
}

/// The permit of a process. Dropping this returns it.
#[derive(Debug)]
pub struct Permit(Arc<Quota>);

/// The quota has no permit left.
#[derive(Debug, thiserror::Error)]
#[error("its configuration allows no more than {0} processes at a time")]
pub struct QuotaExceeded(u64);

/// Quotas are nested too deeply: at most 64 may lie below each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits on processes are nested too deeply: at most {MAX_DEPTH} may lie beneath each other")]
pub struct Nested;

impl Quota {
    /// Creates a quota of `limit` processes, below another one if `above` is given.
    ///
    /// # Errors
    /// Returns [`Nested`] if there are too many above it.
    pub fn new(limit: u64, above: Option<Arc<Quota>>) -> Result<Arc<Quota>, Nested> {
        let depth = above.as_ref().map_or(0, |above| above.depth + 1);
        if depth >= MAX_DEPTH {
            return Err(Nested);
        }
        let [used, kept, metrics] = [(); 3].map(|()| AtomicU64::new(0));
        Ok(Arc::new(Quota { descriptors: AtomicU64::new(0), limit, used, kept, metrics, above, depth }))
    }

    /// Returns the number of processes that it and the quotas above it permit.
    pub fn limit(&self) -> u64 {
        self.with_those_above().map(|quota| quota.limit).min().expect("there is this one")
    }

    /// Returns identities of this quota and those above it, the outermost first. They are unique while the quotas
    /// exist.
    pub fn path(&self) -> Vec<usize> {
        let mut path: Vec<usize> =
            self.with_those_above().map(|quota| std::ptr::from_ref(quota).addr()).collect();
        path.reverse();
        path
    }

    /// Takes one name of a metric. Names are never returned. A quota has a share of them: half of that of the quota
    /// above it.
    pub fn take_metric(&self, most: u64) -> bool {
        for (taken, quota) in self.with_those_above().enumerate() {
            let share = most.checked_shr(quota.depth).unwrap_or(0);
            // Relaxed: a counter that orders nothing else.
            if quota.metrics.fetch_add(1, Ordering::Relaxed) >= share {
                let give_back = |quota: &Quota| _ = quota.metrics.fetch_sub(1, Ordering::Relaxed);
                self.with_those_above().take(taken + 1).for_each(give_back);
                return false;
            }
        }
        true
    }

    /// Returns the number of processes.
    pub fn used(&self) -> u64 {
        // Relaxed: the number is out of date when it is read.
        self.used.load(Ordering::Relaxed)
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// Returns [`QuotaExceeded`] if a quota has none left.
    pub fn take(self: &Arc<Self>) -> Result<Permit, QuotaExceeded> {
        for (taken, quota) in self.with_those_above().enumerate() {
            if !quota.take_here() {
                self.with_those_above().take(taken).for_each(Quota::give_here);
                return Err(QuotaExceeded(quota.limit));
            }
        }
        Ok(Permit(self.clone()))
    }

    /// Counts bytes that the host keeps for a process, in this quota and all above. The process itself may have
    /// `each`.
    ///
    /// # Errors
    /// Returns the limit on all processes of a quota that would be exceeded. Then nothing is counted.
    pub fn keep(&self, bytes: u64, each: u64) -> Result<(), u64> {
        for (taken, quota) in self.with_those_above().enumerate() {
            let limit = quota.limit.saturating_mul(each);
            if !add_within(&quota.kept, bytes, limit) {
                self.with_those_above().take(taken).for_each(|quota| quota.give_kept_here(bytes));
                return Err(limit);
            }
        }
        Ok(())
    }

    /// Counts a descriptor of a process, in this quota and all above. The process itself may have `each`.
    ///
    /// # Errors
    /// Returns the limit on all processes of a quota that would be exceeded.
    pub fn open(&self, each: u64) -> Result<(), u64> {
        for (taken, quota) in self.with_those_above().enumerate() {
            let limit = quota.limit.saturating_mul(each);
            if !add_within(&quota.descriptors, 1, limit) {
                self.with_those_above().take(taken).for_each(Quota::close_here);
                return Err(limit);
            }
        }
        Ok(())
    }

    /// Releases the count of a descriptor.
    pub fn close(&self) {
        self.with_those_above().for_each(Quota::close_here);
    }

    fn close_here(&self) {
        self.descriptors.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts bytes that the host keeps already.
    pub fn keep_beyond_limits(&self, bytes: u64) {
        for quota in self.with_those_above() {
            quota.kept.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Releases bytes that the host no longer keeps.
    pub fn give_kept(&self, bytes: u64) {
        self.with_those_above().for_each(|quota| quota.give_kept_here(bytes));
    }

    /// Returns the bytes that the host keeps.
    #[cfg(test)]
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    fn give_kept_here(&self, bytes: u64) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn with_those_above(&self) -> impl Iterator<Item = &Quota> {
        std::iter::successors(Some(self), |quota| quota.above.as_deref())
    }

    fn take_here(&self) -> bool {
        add_within(&self.used, 1, self.limit)
    }

    fn give_here(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.with_those_above().for_each(Quota::give_here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_in_every_quota_above() {
        let above = Quota::new(3, None).unwrap();
        let (narrow, wide) =
            (Quota::new(2, Some(above.clone())).unwrap(), Quota::new(9, Some(above.clone())).unwrap());
        assert_eq!((narrow.limit(), wide.limit()), (2, 3), "it is never wider than what is above");
        let places = [narrow.take().unwrap(), narrow.take().unwrap()];
        assert!(narrow.take().is_err());
        let other = wide.take().unwrap();
        assert!(wide.take().is_err());
        assert_eq!((above.used(), narrow.used(), wide.used()), (3, 2, 1), "a refusal takes nothing");
        drop(places);
        assert_eq!((above.used(), narrow.used()), (1, 0));
        drop(other);
        assert_eq!(above.used(), 0);
    }

    #[test]
    fn they_do_not_lie_beneath_each_other_without_end() {
        let mut quota = Quota::new(1, None);
        for _ in 1..MAX_DEPTH {
            quota = Quota::new(1, Some(quota.unwrap()));
        }
        assert!(Quota::new(1, Some(quota.unwrap())).is_err());
    }
}
