//! The process that a thread currently runs SQLite for.
//!
//! SQLite requests memory, files and the time without naming a connection. Callers of SQLite therefore set the
//! current owner first ([`Owner::enter`]), and SQLite's callbacks read it. Without an owner there are no files: a
//! missing [`Owner::enter`] leads to a refusal.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use lunatic_resources::MemoryTotal;

use lunatic_resources::GuestDir;

use super::account::Account;

/// Steps of SQLite's virtual machine between two checks whether to continue.
pub(super) const STEPS_PER_LOOK: u32 = 1000;

/// Reductions per step of SQLite's virtual machine. A step takes some ten nanoseconds and is charged like as many
/// instructions.
const REDUCTIONS_PER_STEP: u64 = 16;

/// Source of time and randomness.
pub trait Environment: Send + Sync {
    /// Returns the nanoseconds since the Unix epoch.
    fn wall(&self) -> u64;
    /// Fills `bytes` with unpredictable bytes, or from a simulation's seed. Returns whether this succeeded.
    fn fill(&self, bytes: &mut [u8]) -> bool;
}

/// What SQLite may use on behalf of one process.
#[derive(Clone, Debug, Default)]
pub struct OwnerLimits {
    /// Maximum bytes of memory.
    pub max_memory: u64,
    /// Directories in which databases may be.
    pub dirs: Vec<GuestDir>,
}

/// SQLite's view of a process. Work in progress keeps the owner alive after the process has ended.
pub struct Owner {
    limits: OwnerLimits,
    environment: Arc<dyn Environment>,
    account: Arc<Account>,
    is_gone: AtomicBool,
    /// Steps not charged yet.
    steps: AtomicU64,
    /// Steps that the current call may take.
    budget: AtomicU64,
}

/// Number of ended processes with open connections, whose locks will soon be free.
static LEAVING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Owner>>> = const { RefCell::new(None) };
}

/// Guard that makes an owner current on this thread until it is dropped.
pub(super) struct Entered {
    before: Option<Arc<Owner>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        // Dropped outside of the cell: this may be the owner's last reference.
        let _last = CURRENT.try_with(|current| current.replace(before));
    }
}

impl Drop for Owner {
    /// All connections are closed by now, since each holds a reference to its owner.
    fn drop(&mut self) {
        if self.is_gone() {
            LEAVING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Owner {
    /// Creates the owner of a process that begins to use SQLite.
    pub fn new(
        limits: OwnerLimits,
        total: Option<Arc<dyn MemoryTotal>>,
        environment: Arc<dyn Environment>,
    ) -> Arc<Owner> {
        let account = Account::new(limits.max_memory, total);
        Arc::new(Owner {
            limits,
            environment,
            account,
            is_gone: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
        })
    }

    /// Marks the process as ended and stops its work in progress.
    pub fn leave(&self) {
        // Relaxed, here and below: these values order no other memory accesses.
        if !self.is_gone.swap(true, Ordering::Relaxed) {
            LEAVING.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns whether connections of ended processes are still open.
    pub(super) fn waits_for_others() -> bool {
        LEAVING.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the process has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Sets the budget of the next call to the process's remaining reductions. Returns the reductions that earlier
    /// calls owe.
    pub fn settle(&self, left: u64) -> u64 {
        self.budget.store(left / REDUCTIONS_PER_STEP, Ordering::Relaxed);
        self.steps.swap(0, Ordering::Relaxed) * REDUCTIONS_PER_STEP
    }

    /// Counts the steps since the last check. Returns whether the statement may continue.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on_after(STEPS_PER_LOOK.into())
    }

    /// Counts steps. Returns whether the statement may continue.
    pub(super) fn goes_on_after(&self, steps: u64) -> bool {
        let taken = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
        !self.is_gone() && taken <= self.budget.load(Ordering::Relaxed)
    }

    /// Returns the memory account.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Returns the directories in which databases may be.
    pub(super) fn dirs(&self) -> &[GuestDir] {
        &self.limits.dirs
    }

    /// Returns the source of time and randomness.
    pub(super) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    /// Makes this the current owner of the thread until the guard is dropped.
    pub(super) fn enter(self: &Arc<Owner>) -> Entered {
        Entered { before: CURRENT.with(|current| current.replace(Some(self.clone()))) }
    }

    /// Returns the current owner of this thread.
    pub(super) fn current() -> Option<Arc<Owner>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Returns the account charged for this thread's allocations.
    pub(super) fn current_account() -> Option<Arc<Account>> {
        let account = |current: &RefCell<Option<Arc<Owner>>>| {
            current.borrow().as_ref().map(|owner| owner.account.clone())
        };
        CURRENT.try_with(account).ok().flatten()
    }
}
