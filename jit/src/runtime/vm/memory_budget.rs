//! Limits on linear memory: of one store, and of all stores that share a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit on the linear memories of all stores that [share it](crate::StoreLimits::total).
///
/// It is consulted where a memory is created, grown and dropped, and nowhere else in this crate. An embedder
/// may charge other memory that it keeps for its guests to the same limit.
#[derive(Debug)]
pub struct TotalMemory {
    limit: u64,
    used: AtomicU64,
}

impl TotalMemory {
    /// Creates a limit of this number of bytes.
    pub fn new(limit: u64) -> Arc<TotalMemory> {
        Arc::new(TotalMemory { limit, used: AtomicU64::new(0) })
    }

    /// Returns the bytes in use.
    pub fn used(&self) -> u64 {
        // Relaxed, here and below: the counter orders no other memory accesses.
        self.used.load(Ordering::Relaxed)
    }

    /// Charges `bytes`. Returns false, and charges nothing, if the limit would be exceeded.
    pub fn charge(&self, bytes: u64) -> bool {
        let next = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Charges bytes that are in use already and cannot be refused. Other charges fail until as many bytes
    /// are given back.
    pub fn charge_beyond_limit(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back bytes that were charged.
    pub fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The linear memory of one store. Gives back everything when it is dropped.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct MemoryBudget {
    limit: u64,
    total: Option<Arc<TotalMemory>>,
    /// Read after each turn. In a store, the next field is needed at the same time.
    used: u64,
}

/// A charge would exceed a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverMemoryBudget {
    #[error("{bytes} bytes of memory exceed the limit of {limit}")]
    Here { bytes: u64, limit: u64 },
    #[error("{bytes} bytes of memory exceed what is left of {limit} for all memories together")]
    InTotal { bytes: u64, limit: u64 },
}

impl MemoryBudget {
    pub(crate) fn new(limit: u64, total: Option<Arc<TotalMemory>>) -> MemoryBudget {
        MemoryBudget { used: 0, limit, total }
    }

    /// Returns the bytes of all memories of the store.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Charges `bytes`, to both limits or to none.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), OverMemoryBudget> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit);
        let used = used.ok_or(OverMemoryBudget::Here { bytes, limit: self.limit })?;
        if let Some(total) = &self.total
            && !total.charge(bytes)
        {
            return Err(OverMemoryBudget::InTotal { bytes, limit: total.limit });
        }
        self.used = used;
        Ok(())
    }

    /// Gives back bytes that were charged and not used.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
        if let Some(total) = &self.total {
            total.give_back(bytes);
        }
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        self.give_back(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_and_dropped_memory_is_not_counted() {
        let total = TotalMemory::new(100);
        let mut one = MemoryBudget::new(80, Some(total.clone()));
        let mut other = MemoryBudget::new(80, Some(total.clone()));
        one.charge(60).unwrap();
        assert_eq!(one.charge(30), Err(OverMemoryBudget::Here { bytes: 30, limit: 80 }));
        assert_eq!(other.charge(50), Err(OverMemoryBudget::InTotal { bytes: 50, limit: 100 }));
        assert_eq!(other.charge(u64::MAX), Err(OverMemoryBudget::Here { bytes: u64::MAX, limit: 80 }));
        assert_eq!((one.used(), other.used(), total.used()), (60, 0, 60));
        other.charge(40).unwrap();
        other.give_back(10);
        drop(one);
        assert_eq!((other.used(), total.used()), (30, 30));
        drop(other);
        assert_eq!(total.used(), 0);
    }

    #[test]
    fn racing_stores_never_exceed_the_shared_limit() {
        const ROUNDS: usize = if cfg!(miri) { 50 } else { 2000 };
        let total = TotalMemory::new(10);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut account = MemoryBudget::new(u64::MAX, Some(total.clone()));
                        let charged = (0..6).filter(|_| account.charge(1).is_ok()).count();
                        assert_eq!(account.used(), charged as u64);
                        assert!(total.used() <= 10);
                    }
                });
            }
        });
        assert_eq!(total.used(), 0);
    }
}
