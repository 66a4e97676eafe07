//! How many processes may live beneath a configuration, and what the host may keep for all of them.
//!
//! A [`Quota`] belongs to a configuration and to all that are made from it, by whichever process. A process takes a
//! place in it when it is entered and gives it back when its data is dropped, which is before anyone hears of its
//! end. A quota may lie beneath another one; then a place is one in both, so a child is never wider than its parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::account::add_within;

/// Quotas that may lie beneath each other: taking a place is a step for each.
const MAX_DEPTH: u32 = 64;

/// See the module.
#[derive(Debug)]
pub struct Quota {
    limit: u64,
    used: AtomicU64,
    /// Bytes that the host keeps for its processes, and for those that have ended; see [`account`](crate::account).
    kept: AtomicU64,
    /// Names of metrics that its processes have introduced.
    metrics: AtomicU64,
    /// Descriptors that are open for its processes, and for those that have ended.
    descriptors: AtomicU64,
    above: Option<Arc<Quota>>,
    depth: u32,
}

/// A place of a process, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Quota>);

/// There is no place left.
#[derive(Debug, thiserror::Error)]
#[error("its configuration allows no more than {0} processes at a time")]
pub struct QuotaExceeded(u64);

/// Quotas are nested too deeply: at most 64 may lie beneath each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits on processes are nested too deeply: at most {MAX_DEPTH} may lie beneath each other")]
pub struct Nested;

impl Quota {
    /// A quota of `limit` processes, beneath another quota if `above` is given.
    ///
    /// # Errors
    /// [`Nested`] if there are too many above it.
    pub fn new(limit: u64, above: Option<Arc<Quota>>) -> Result<Arc<Quota>, Nested> {
        let depth = above.as_ref().map_or(0, |above| above.depth + 1);
        if depth >= MAX_DEPTH {
            return Err(Nested);
        }
        let [used, kept, metrics] = [(); 3].map(|()| AtomicU64::new(0));
        Ok(Arc::new(Quota { descriptors: AtomicU64::new(0), limit, used, kept, metrics, above, depth }))
    }

    /// How many processes it has room for, itself and those above it.
    pub fn limit(&self) -> u64 {
        self.with_those_above().map(|quota| quota.limit).min().expect("there is this one")
    }

    /// What tells it and those above it from others, as long as it is there; the outermost first.
    pub fn path(&self) -> Vec<usize> {
        let mut path: Vec<usize> =
            self.with_those_above().map(|quota| std::ptr::from_ref(quota).addr()).collect();
        path.reverse();
        path
    }

    /// Takes one name of a metric. Names are never given back; a quota has a share of them: half of those of the quota above, at each step.
    pub fn take_metric(&self, most: u64) -> bool {
        for (taken, quota) in self.with_those_above().enumerate() {
            let share = most.checked_shr(quota.depth).unwrap_or(0);
            // Relaxed: a count, which orders nothing else.
            if quota.metrics.fetch_add(1, Ordering::Relaxed) >= share {
                let give_back = |quota: &Quota| _ = quota.metrics.fetch_sub(1, Ordering::Relaxed);
                self.with_those_above().take(taken + 1).for_each(give_back);
                return false;
            }
        }
        true
    }

    /// How many there are.
    pub fn used(&self) -> u64 {
        // Relaxed: a number that is old when it is read.
        self.used.load(Ordering::Relaxed)
    }

    /// Takes a place.
    pub fn take(self: &Arc<Self>) -> Result<Permit, QuotaExceeded> {
        for (taken, quota) in self.with_those_above().enumerate() {
            if !quota.take_here() {
                self.with_those_above().take(taken).for_each(Quota::give_here);
                return Err(QuotaExceeded(quota.limit));
            }
        }
        Ok(Permit(self.clone()))
    }

    /// Counts bytes that the host keeps for a process, which may have `each` of them itself, in this quota and all above.
    ///
    /// # Errors
    /// When that is more than all processes of one of them may have together; nothing is counted then. The limit.
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

    /// Counts a descriptor of a process that may have `each` of them itself, in this quota and all above.
    ///
    /// # Errors
    /// When all processes of one of them have as many as they may have together. The limit.
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

    /// A descriptor was closed.
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

    /// The host no longer keeps these bytes.
    pub fn give_kept(&self, bytes: u64) {
        self.with_those_above().for_each(|quota| quota.give_kept_here(bytes));
    }

    /// Bytes that the host keeps.
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
