//! SQLite's memory account for one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lunatic_resources::MemoryTotal;

use lunatic_resources::add_within;

/// Bytes that SQLite uses for one process: caches, statements, in-memory databases, and rows in transit. Allocations
/// may outlive the process, so they share the account.
#[derive(Debug)]
pub(crate) struct Account {
    limit: u64,
    used: AtomicU64,
    /// The common limit of all processes, if any.
    total: Option<Arc<dyn MemoryTotal>>,
}

impl Account {
    /// Creates an account of `limit` bytes, which the common limit may restrict further.
    pub(crate) fn new(limit: u64, total: Option<Arc<dyn MemoryTotal>>) -> Arc<Account> {
        Arc::new(Account { limit, used: AtomicU64::new(0), total })
    }

    /// Charges `bytes`, or nothing if a limit would be exceeded. Returns whether it charged them.
    pub(super) fn take(&self, bytes: u64) -> bool {
        if !add_within(&self.used, bytes, self.limit) {
            return false;
        }
        let is_there = self.total.as_ref().is_none_or(|total| total.charge(bytes));
        if !is_there {
            // Relaxed, here and below: a counter that orders no other memory accesses.
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_there
    }

    /// Returns charged bytes.
    pub(super) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(total) = &self.total {
            total.give_back(bytes);
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Host memory charged to an account. Returned on drop.
#[derive(Debug)]
pub(crate) struct Taken {
    account: Arc<Account>,
    bytes: u64,
}

impl Taken {
    /// Creates an empty charge.
    pub(super) fn nothing(account: Arc<Account>) -> Taken {
        Taken { account, bytes: 0 }
    }

    /// Charges more bytes. Returns whether the limits allow it.
    pub(super) fn more(&mut self, bytes: u64) -> bool {
        let taken = self.account.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charged_bytes_are_released() {
        let account = Account::new(100, None);
        let mut taken = Taken::nothing(account.clone());
        assert!(taken.more(60) && !taken.more(41) && taken.more(40));
        assert!(!account.take(1) && !account.take(u64::MAX));
        drop(taken);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn the_node_total_limits_accounts() {
        let total = lunatic_resources::FixedTotal::new(50);
        let (one, other) = (
            Account::new(100, Some(total.clone() as Arc<dyn MemoryTotal>)),
            Account::new(100, Some(total.clone() as Arc<dyn MemoryTotal>)),
        );
        assert!(one.take(40) && !other.take(20) && other.take(10));
        assert_eq!((other.used(), total.used()), (10, 50), "a refusal takes nothing");
        one.give_back(40);
        assert!(other.take(40));
    }
}
