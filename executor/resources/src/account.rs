//! Accounts of what the host keeps because of a guest.
//!
//! A guest with a limit on its linear memory can still make the host keep other things: names, timers, messages that
//! are being written, monitors, configurations, modules, texts. Each of them is charged here, in bytes, and each open
//! descriptor is counted. The thing that is kept owns its charge ([`Charge`], [`OpenDescriptor`]) and releases it
//! when it is dropped, wherever it is by then, and whether or not its process is still alive.
//!
//! An account has three levels, and a charge counts on all of them:
//!
//! - the process: as many bytes as it may have of linear memory, and as many descriptors as it may have resources;
//! - each quota above its configuration: as many bytes as all its processes may have together. This level outlives
//!   the process, so a series of processes that leave something behind reaches its limit;
//! - the node, if the memory of all its processes is limited: the same total that linear memories count against.
//!
//! `docs/memory.md` lists what is charged where.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::quota::Quota;

/// The limit on the memory of a node, which linear memories and all charges share.
pub trait MemoryTotal: std::fmt::Debug + Send + Sync {
    /// Charges for bytes, unless that exceeds the limit. Returns whether they were charged.
    fn charge(&self, bytes: u64) -> bool;
    /// Charges for bytes that exist already.
    fn charge_beyond_limit(&self, bytes: u64);
    /// Releases bytes that were charged.
    fn give_back(&self, bytes: u64);
}

/// A limit that counts its bytes itself.
#[derive(Debug)]
pub struct FixedTotal {
    limit: u64,
    used: AtomicU64,
}

impl FixedTotal {
    /// Creates a total of at most `limit` bytes.
    pub fn new(limit: u64) -> Arc<FixedTotal> {
        Arc::new(FixedTotal { limit, used: AtomicU64::new(0) })
    }

    /// Returns the bytes that are charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl MemoryTotal for FixedTotal {
    fn charge(&self, bytes: u64) -> bool {
        add_within(&self.used, bytes, self.limit)
    }

    fn charge_beyond_limit(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The account of a process. See the module documentation. It is created when the host first keeps something for the
/// process.
#[derive(Debug)]
pub struct Account {
    max_bytes: u64,
    max_descriptors: u64,
    bytes: AtomicU64,
    /// The part of the bytes that are messages in timers.
    deferred: AtomicU64,
    descriptors: AtomicU64,
    quota: Option<Arc<Quota>>,
    total: Option<Arc<dyn MemoryTotal>>,
}

/// The limit that a charge would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The limit of the process, in bytes.
    #[error("what the host keeps for this process would exceed its limit of {0} bytes")]
    Process(u64),
    /// The limit of a quota above it, in bytes.
    #[error("what the host keeps for the processes of this configuration would exceed {0} bytes")]
    Quota(u64),
    /// The limit of the node.
    #[error("what the host keeps would exceed the limit on the memory of all processes")]
    Total,
    /// The limit of messages in timers, in bytes.
    #[error("this process has too many bytes of messages in timers: it may have {0}")]
    Timers(u64),
    /// The limit of the process, in descriptors.
    #[error("this process has {0} descriptors open, as many as it may")]
    Descriptors(u64),
    /// The limit of a quota above it, in descriptors.
    #[error("the processes of this configuration have {0} descriptors open, as many as they may")]
    DescriptorsOfQuota(u64),
}

/// Charged bytes. Dropping this releases them.
#[derive(Debug)]
pub struct Charge {
    bytes: u64,
    account: Arc<Account>,
}

/// Charged bytes of a message in a timer. Dropping this releases them.
#[derive(Debug)]
pub struct TimerCharge {
    bytes: u64,
    kept: Charge,
}

/// A counted open descriptor. Dropping this releases the count.
#[derive(Debug)]
pub struct OpenDescriptor(Arc<Account>);

impl Account {
    /// Creates the account of a process with these limits.
    pub fn new(
        max_bytes: u64,
        max_descriptors: u64,
        quota: Option<Arc<Quota>>,
        total: Option<Arc<dyn MemoryTotal>>,
    ) -> Arc<Account> {
        let (bytes, deferred, descriptors) = Default::default();
        Arc::new(Account { max_bytes, max_descriptors, bytes, deferred, descriptors, quota, total })
    }

    /// Charges for bytes that the host is about to keep.
    ///
    /// # Errors
    /// Returns the limit that would be exceeded. Then nothing is charged.
    pub fn keep(self: &Arc<Self>, bytes: u64) -> Result<Charge, Full> {
        let mut kept = Charge { bytes: 0, account: self.clone() };
        kept.grow(bytes)?;
        Ok(kept)
    }

    /// Charges for a message in a timer. All messages of the process in timers may have `limit` bytes together.
    ///
    /// # Errors
    /// Returns the limit that would be exceeded. Then nothing is charged.
    pub fn defer(self: &Arc<Self>, bytes: u64, limit: u64) -> Result<TimerCharge, Full> {
        /// Bytes of a timer besides its message.
        const TIMER: u64 = 128;
        let kept = self.keep(bytes.saturating_add(TIMER))?;
        if !add_within(&self.deferred, bytes, limit) {
            return Err(Full::Timers(limit));
        }
        Ok(TimerCharge { bytes, kept })
    }

    /// Charges for bytes that the host keeps already and cannot refuse any more, such as a received message.
    pub fn keep_beyond_limits(self: &Arc<Self>, bytes: u64) -> Charge {
        // Relaxed, here and below: counters that order nothing else.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(quota) = &self.quota {
            quota.keep_beyond_limits(bytes);
        }
        if let Some(total) = &self.total {
            total.charge_beyond_limit(bytes);
        }
        Charge { bytes, account: self.clone() }
    }

    /// Counts a descriptor that is about to be opened.
    ///
    /// # Errors
    /// Returns the limit that would be exceeded.
    pub fn open(self: &Arc<Self>) -> Result<OpenDescriptor, Full> {
        if !add_within(&self.descriptors, 1, self.max_descriptors) {
            return Err(Full::Descriptors(self.max_descriptors));
        }
        if let Some(quota) = &self.quota
            && let Err(limit) = quota.open(self.max_descriptors)
        {
            self.descriptors.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::DescriptorsOfQuota(limit));
        }
        Ok(OpenDescriptor(self.clone()))
    }

    /// Returns the bytes that are charged.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: u64) -> Result<(), Full> {
        if !add_within(&self.bytes, bytes, self.max_bytes) {
            return Err(Full::Process(self.max_bytes));
        }
        if let Some(quota) = &self.quota
            && let Err(limit) = quota.keep(bytes, self.max_bytes)
        {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Full::Quota(limit));
        }
        if let Some(total) = &self.total
            && !total.charge(bytes)
        {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(quota) = &self.quota {
                quota.give_kept(bytes);
            }
            return Err(Full::Total);
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(quota) = &self.quota {
            quota.give_kept(bytes);
        }
        if let Some(total) = &self.total {
            total.give_back(bytes);
        }
    }
}

impl Charge {
    /// Returns the bytes that are charged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges for more bytes.
    ///
    /// # Errors
    /// Returns the limit that would be exceeded. Then the charge does not change.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        self.account.charge(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Changes the charge to `bytes`.
    ///
    /// # Errors
    /// Returns the limit that would be exceeded. Then the charge does not change.
    pub fn resize(&mut self, bytes: u64) -> Result<(), Full> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.account.give_back(self.bytes - bytes);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

impl OpenDescriptor {
    /// Returns whether the descriptor counts for this account.
    pub fn is_of(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.0, account)
    }
}

impl Drop for TimerCharge {
    fn drop(&mut self) {
        self.kept.account.deferred.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for OpenDescriptor {
    fn drop(&mut self) {
        self.0.descriptors.fetch_sub(1, Ordering::Relaxed);
        if let Some(quota) = &self.0.quota {
            quota.close();
        }
    }
}

/// Adds to a counter, unless that exceeds the limit. Returns whether it was added.
pub fn add_within(count: &AtomicU64, amount: u64, limit: u64) -> bool {
    let next = |used: u64| used.checked_add(amount).filter(|used| *used <= limit);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_charge_outlives_its_process_in_the_quota_and_the_total() {
        let quota = Quota::new(2, None).unwrap();
        let total = FixedTotal::new(1000);
        let account =
            || Account::new(100, 10, Some(quota.clone()), Some(total.clone() as Arc<dyn MemoryTotal>));
        let left_behind = [account().keep(90).unwrap(), account().keep(90).unwrap()];
        assert_eq!(
            account().keep(90).unwrap_err(),
            Full::Quota(200),
            "two processes may have 100 bytes each"
        );
        assert_eq!(total.used(), 180);
        drop(left_behind);
        assert_eq!(total.used(), 0);
        assert!(account().keep(90).is_ok());
    }

    #[test]
    fn a_refusal_charges_nothing_at_any_level() {
        let quota = Quota::new(10, None).unwrap();
        let total = FixedTotal::new(120);
        let (one, other) = (
            Account::new(100, 1, Some(quota.clone()), Some(total.clone() as Arc<dyn MemoryTotal>)),
            Account::new(100, 1, Some(quota.clone()), Some(total.clone() as Arc<dyn MemoryTotal>)),
        );
        let kept = one.keep(80).unwrap();
        assert_eq!(one.keep(21).unwrap_err(), Full::Process(100));
        assert_eq!(other.keep(41).unwrap_err(), Full::Total);
        assert_eq!((one.bytes(), other.bytes(), quota.kept(), total.used()), (80, 0, 80, 80));
        let received = other.keep_beyond_limits(500);
        assert!(one.keep(1).is_err(), "what could not be refused counts all the same");
        drop((kept, received));
        assert_eq!((one.bytes(), other.bytes(), quota.kept(), total.used()), (0, 0, 0, 0));
    }

    #[test]
    fn messages_in_timers_have_a_limit_of_their_own() {
        let account = Account::new(1000, 0, None, None);
        let deferred = account.defer(60, 100).unwrap();
        assert_eq!(account.defer(41, 100).unwrap_err(), Full::Timers(100));
        assert_eq!(account.bytes(), 60 + 128, "a refusal charges nothing");
        drop(deferred);
        assert!(account.defer(100, 100).is_ok());
        assert_eq!(account.defer(1001, u64::MAX).unwrap_err(), Full::Process(1000));
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn descriptors_are_counted_until_they_are_closed() {
        let account = Account::new(0, 2, None, None);
        let opened = [account.open().unwrap(), account.open().unwrap()];
        assert_eq!(account.open().unwrap_err(), Full::Descriptors(2));
        drop(opened);
        assert!(account.open().is_ok());
        let quota = Quota::new(2, None).unwrap();
        let account = || Account::new(0, 2, Some(quota.clone()), None);
        let left_behind =
            [account(), account()].map(|account| [account.open().unwrap(), account.open().unwrap()]);
        assert_eq!(account().open().unwrap_err(), Full::DescriptorsOfQuota(4));
        drop(left_behind);
        assert!(account().open().is_ok());
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "hundreds of cases take an hour")]
        fn charges_are_the_sum_of_the_kept_sizes(sizes in prop::collection::vec((0usize..8, 0u64..60), 0..100)) {
            let account = Account::new(200, 0, None, None);
            let mut kept: Vec<Charge> = (0..8).map(|_| account.keep(0).unwrap()).collect();
            for (index, size) in sizes {
                let before = kept[index].bytes();
                match kept[index].resize(size) {
                    Ok(()) => prop_assert_eq!(kept[index].bytes(), size),
                    Err(_) => prop_assert_eq!(kept[index].bytes(), before),
                }
                let sum: u64 = kept.iter().map(Charge::bytes).sum();
                prop_assert!(sum <= 200);
                prop_assert_eq!(account.bytes(), sum);
            }
        }
    }
}
