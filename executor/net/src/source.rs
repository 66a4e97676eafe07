//! The readiness of one descriptor, and what waits for it.
//!
//! The reactor reports changes only (it is edge-triggered), so the state is kept here: a direction is *ready* until
//! an attempt finds that it is not. The reactor may report a change between an attempt and the moment that its result
//! is stored. So changes are counted, and the result is ignored if the count has changed since the attempt began.
//!
//! A waiter is woken once, and tries again. A change wakes all waiters of a direction: a stream may have been cloned
//! into several processes, and they settle who reads first.

use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

use smallvec::SmallVec;

use lunatic_resources::{Account, Full, OpenDescriptor};
use lunatic_scheduler::{Readiness, Waiter, Wake};

/// Reading, which includes accepting; or writing, which includes being connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reading or accepting.
    Read,
    /// Writing, or being connected.
    Write,
}

/// The count of changes at the beginning of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Began(u64);

/// The readiness of a descriptor. See the module documentation.
#[derive(Default)]
pub struct Source {
    state: Mutex<State>,
    /// The count of the descriptor, for the process that has it.
    counted: Mutex<Option<OpenDescriptor>>,
}

#[derive(Default)]
struct State {
    read: Side,
    write: Side,
}

struct Side {
    is_ready: bool,
    /// The peer has closed its side, which is visible behind the bytes that are there.
    is_closed: bool,
    changes: u64,
    // At most one for each live process that shares the descriptor, and as many of processes that were killed.
    waiters: SmallVec<[Waiter; 1]>,
}

impl Default for Side {
    /// Ready: a first attempt costs less than waiting for an event.
    fn default() -> Side {
        Side { is_ready: true, is_closed: false, changes: 0, waiters: SmallVec::new() }
    }
}

impl Source {
    /// Counts the descriptor for this account from now on, and no longer for the previous one.
    ///
    /// # Errors
    /// Returns an error if the account has as many as it may. Then nothing changes.
    pub fn count(&self, account: &Arc<Account>) -> Result<(), Full> {
        let mut counted = self.counted.lock();
        if !counted.as_ref().is_some_and(|opened| opened.is_of(account)) {
            *counted = Some(account.open()?);
        }
        Ok(())
    }

    /// Returns the count of changes, if an attempt may succeed.
    pub(super) fn begin(&self, direction: Direction) -> Option<Began> {
        let mut state = self.lock();
        let side = state.side(direction);
        side.is_ready.then_some(Began(side.changes))
    }

    /// Notes that an attempt would have blocked.
    pub(super) fn exhausted(&self, direction: Direction, began: Began) {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.changes == began.0 {
            side.is_ready = false;
        }
    }

    /// Notes that an attempt transferred fewer bytes than it wanted: there are no more for now. If the peer has
    /// closed its side, the direction stays ready, because the end is not reported again.
    pub(super) fn drained(&self, direction: Direction, began: Began) {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.changes == began.0 && !side.is_closed {
            side.is_ready = false;
        }
    }

    /// Registers a waiter, unless the direction is ready now. Returns whether it has to wait.
    pub fn wait(&self, direction: Direction, waiter: Waiter) -> bool {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.is_ready {
            return false;
        }
        // The common case: a connection has one process, which waits for one thing.
        if side.waiters.is_empty() {
            side.waiters.push(waiter);
            return true;
        }
        // A process no longer waits for what it waited for before. Waiters of processes that have ended are removed
        // when the list is full.
        let is_full = side.waiters.len() == side.waiters.capacity();
        let is_past =
            |other: &Waiter| is_same(&other.waker, &waiter.waker) || is_full && other.waker.is_gone();
        let waiters = std::mem::take(&mut side.waiters);
        let (past, mut waiting): (SmallVec<_>, SmallVec<_>) = waiters.into_iter().partition(is_past);
        waiting.push(waiter);
        side.waiters = waiting;
        // A waiter may hold the last reference to its process, and dropping that may drop other sources: not under
        // the lock.
        drop(state);
        drop::<SmallVec<[Waiter; 1]>>(past);
        true
    }

    /// Notes that the descriptor may be ready, and collects the waiters to wake.
    pub(super) fn change(&self, readiness: Readiness, told: &mut impl Extend<Waiter>) {
        let mut state = self.lock();
        if readiness.readable {
            told.extend(state.read.change(readiness.read_closed));
        }
        if readiness.writable {
            told.extend(state.write.change(readiness.write_closed));
        }
    }

    /// Notes that the descriptor may be ready, for another reason than an event of the reactor.
    #[cfg(any(test, feature = "tls"))] // What is buffered by TLS is ready though the descriptor is not.
    pub(super) fn ready(&self, readiness: Readiness) {
        let mut told: SmallVec<[Waiter; 2]> = SmallVec::new();
        self.change(readiness, &mut told);
        told.into_iter().for_each(Waiter::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics under the lock, and every state is valid.
        self.state.lock()
    }
}

/// Returns whether two wakers are the same. Their addresses are compared, because a vtable may exist several times.
fn is_same(one: &Arc<dyn Wake>, other: &Arc<dyn Wake>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl State {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Side {
    /// Marks the side as ready. Returns the waiters to wake.
    fn change(&mut self, is_closed: bool) -> SmallVec<[Waiter; 1]> {
        self.is_ready = true;
        self.is_closed |= is_closed;
        self.changes += 1;
        std::mem::take(&mut self.waiters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: Readiness =
        Readiness { readable: true, writable: false, read_closed: false, write_closed: false };

    #[test]
    fn an_event_during_an_attempt_is_not_lost() {
        let source = Source::default();
        let began = source.begin(Direction::Read).expect("the first attempt is always worth it");
        source.ready(READABLE);
        source.exhausted(Direction::Read, began);
        let began = source.begin(Direction::Read).expect("it became ready meanwhile");
        source.exhausted(Direction::Read, began);
        assert_eq!(source.begin(Direction::Read), None);
        assert!(source.begin(Direction::Write).is_some(), "the directions are apart");
        source.ready(READABLE);
        assert!(source.begin(Direction::Read).is_some());
    }

    #[test]
    fn the_end_of_a_stream_is_read_after_its_data() {
        let source = Source::default();
        source.ready(Readiness { read_closed: true, ..READABLE });
        let began = source.begin(Direction::Read).expect("it is ready");
        source.drained(Direction::Read, began);
        let began = source.begin(Direction::Read).expect("the end is still to be seen");
        // An attempt that would have blocked has to wait, whatever was reported.
        source.exhausted(Direction::Read, began);
        assert!(source.begin(Direction::Read).is_none());
    }
}
