//! For whom a thread is in SQLite at the moment.
//!
//! SQLite asks for memory, files and the time without saying for which connection. So whoever calls it says so
//! beforehand ([`Owner::enter`]), and what SQLite calls looks here. Where nobody is named there are no files: what is
//! forgotten is refused.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use lunatic_resources::MemoryTotal;

use lunatic_resources::GuestDir;

use super::account::Account;

/// What SQLite does between two looks at whether it has to go on: so many steps of its virtual machine.
pub(super) const STEPS_PER_LOOK: u32 = 1000;

/// Reductions for one step of SQLite's virtual machine. A step takes some ten nanoseconds, and is charged like as many
/// instructions.
const REDUCTIONS_PER_STEP: u64 = 16;

/// Where time and randomness come from.
pub trait Environment: Send + Sync {
    /// Nanoseconds since the Unix epoch.
    fn wall(&self) -> u64;
    /// Fills bytes with what nobody foresees, or with what a simulation's seed says. Returns whether it could.
    fn fill(&self, bytes: &mut [u8]) -> bool;
}

/// What SQLite may use for one process.
#[derive(Clone, Debug, Default)]
pub struct OwnerLimits {
    /// Bytes of memory.
    pub max_memory: u64,
    /// The directories in which databases may be.
    pub dirs: Vec<GuestDir>,
}

/// A process, as SQLite's work for it needs to know it. Work that is under way keeps it when the process is gone.
pub struct Owner {
    limits: OwnerLimits,
    environment: Arc<dyn Environment>,
    account: Arc<Account>,
    is_gone: AtomicBool,
    /// Steps that are not charged yet.
    steps: AtomicU64,
    /// Steps that the call at hand may take.
    budget: AtomicU64,
}

/// How many are gone and have connections that are not closed yet. Their locks are about to be free.
static LEAVING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Owner>>> = const { RefCell::new(None) };
}

/// Until this is dropped, the thread is in SQLite for an owner.
pub(super) struct Entered {
    before: Option<Arc<Owner>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        // Dropped outside of the cell: the last reference to an owner may be this one.
        let _last = CURRENT.try_with(|current| current.replace(before));
    }
}

impl Drop for Owner {
    /// Its connections are closed: each of them keeps it.
    fn drop(&mut self) {
        if self.is_gone() {
            LEAVING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Owner {
    /// A process that begins to use SQLite.
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

    /// The process is gone: whatever is under way for it ends.
    pub fn leave(&self) {
        // Relaxed, here and below: nothing else is told by these.
        if !self.is_gone.swap(true, Ordering::Relaxed) {
            LEAVING.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there are others that are gone and whose connections are not closed yet.
    pub(super) fn waits_for_others() -> bool {
        LEAVING.load(Ordering::Relaxed) != 0
    }

    /// Whether it is.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Says what the next call may take: as many reductions as its process has left. Returns what is owed for calls
    /// before.
    pub fn settle(&self, left: u64) -> u64 {
        self.budget.store(left / REDUCTIONS_PER_STEP, Ordering::Relaxed);
        self.steps.swap(0, Ordering::Relaxed) * REDUCTIONS_PER_STEP
    }

    /// Counts what has been done since the last look. Returns whether it may go on.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on_after(STEPS_PER_LOOK.into())
    }

    /// Counts steps. Returns whether the statement may go on.
    pub(super) fn goes_on_after(&self, steps: u64) -> bool {
        let taken = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
        !self.is_gone() && taken <= self.budget.load(Ordering::Relaxed)
    }

    /// What it may take.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The directories in which databases may be.
    pub(super) fn dirs(&self) -> &[GuestDir] {
        &self.limits.dirs
    }

    /// Its time and randomness.
    pub(super) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    /// Has what SQLite does on this thread be for this one.
    pub(super) fn enter(self: &Arc<Owner>) -> Entered {
        Entered { before: CURRENT.with(|current| current.replace(Some(self.clone()))) }
    }

    /// For whom this thread is in SQLite.
    pub(super) fn current() -> Option<Arc<Owner>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Whose memory it is that this thread asks for.
    pub(super) fn current_account() -> Option<Arc<Account>> {
        let account = |current: &RefCell<Option<Arc<Owner>>>| {
            current.borrow().as_ref().map(|owner| owner.account.clone())
        };
        CURRENT.try_with(account).ok().flatten()
    }
}
