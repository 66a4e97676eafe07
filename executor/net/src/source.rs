//! One descriptor's readiness, and the processes that wait for it.
//!
//! The reactor tells of changes only (it is edge-triggered), so what it has told is kept: a direction is *ready* until an
//! attempt finds it is not. Between an attempt and what it found being noted, the reactor may tell of a change; each
//! change is counted, and what an attempt found is forgotten if the count has moved since it began.
//!
//! Whoever waits is told once, and tries again. All that wait for a direction are told of each change: a stream may have
//! been cloned into several processes, and who reads first is theirs to settle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The moment that an attempt began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Began(u64);

/// See the module.
#[derive(Default)]
pub struct Source {
    state: Mutex<State>,
    /// The descriptor, as it is counted for the process that has it.
    counted: Mutex<Option<OpenDescriptor>>,
}

#[derive(Default)]
struct State {
    read: Side,
    write: Side,
}

struct Side {
    is_ready: bool,
    /// There is an end to be seen, behind whatever there is.
    is_closed: bool,
    changes: u64,
    // One for each living process that shares the descriptor, at most, and as many that were killed.
    waiters: SmallVec<[Waiter; 1]>,
}

impl Default for Side {
    /// The first attempt costs less than to wait for being told.
    fn default() -> Side {
        Side { is_ready: true, is_closed: false, changes: 0, waiters: SmallVec::new() }
    }
}

impl Source {
    /// Counts the descriptor for this account from now on, and no longer for the one that had it before.
    ///
    /// # Errors
    /// When the account has as many as it may; then nothing changes.
    pub fn count(&self, account: &Arc<Account>) -> Result<(), Full> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.as_ref().is_some_and(|opened| opened.is_of(account)) {
            *counted = Some(account.open()?);
        }
        Ok(())
    }

    /// Whether it is worth an attempt; and when it began.
    pub(super) fn begin(&self, direction: Direction) -> Option<Began> {
        let mut state = self.lock();
        let side = state.side(direction);
        side.is_ready.then_some(Began(side.changes))
    }

    /// An attempt would have blocked.
    pub(super) fn exhausted(&self, direction: Direction, began: Began) {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.changes == began.0 {
            side.is_ready = false;
        }
    }

    /// An attempt found less than it wanted: there is no more for now. An end that was told of earlier is still to be seen,
    /// and will not be told of again.
    pub(super) fn drained(&self, direction: Direction, began: Began) {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.changes == began.0 && !side.is_closed {
            side.is_ready = false;
        }
    }

    /// Has a process told when it is worth another attempt, unless it is now. Whether it has to wait.
    pub fn wait(&self, direction: Direction, waiter: Waiter) -> bool {
        let mut state = self.lock();
        let side = state.side(direction);
        if side.is_ready {
            return false;
        }
        // As mostly: a connection is one process's, and that waits for one thing.
        if side.waiters.is_empty() {
            side.waiters.push(waiter);
            return true;
        }
        // What the same process waited for before, it no longer waits for; nor do those that were killed, who are looked for
        // when there is no room for one more.
        let is_full = side.waiters.len() == side.waiters.capacity();
        let is_past =
            |other: &Waiter| is_same(&other.waker, &waiter.waker) || is_full && other.waker.is_gone();
        let waiters = std::mem::take(&mut side.waiters);
        let (past, mut waiting): (SmallVec<_>, SmallVec<_>) = waiters.into_iter().partition(is_past);
        waiting.push(waiter);
        side.waiters = waiting;
        // The last of what a process had may go with it, other sources too: not under the lock.
        drop(state);
        drop::<SmallVec<[Waiter; 1]>>(past);
        true
    }

    /// It may be ready: who is to be told.
    pub(super) fn change(&self, readiness: Readiness, told: &mut impl Extend<Waiter>) {
        let mut state = self.lock();
        if readiness.readable {
            told.extend(state.read.change(readiness.read_closed));
        }
        if readiness.writable {
            told.extend(state.write.change(readiness.write_closed));
        }
    }

    /// It may be ready, for another reason than the reactor's events.
    #[cfg(any(test, feature = "tls"))] // What is buffered by TLS is ready though the descriptor is not.
    pub(super) fn ready(&self, readiness: Readiness) {
        let mut told: SmallVec<[Waiter; 2]> = SmallVec::new();
        self.change(readiness, &mut told);
        told.into_iter().for_each(Waiter::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it, and every state of it is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two wakers are one. Their addresses say so: a vtable may exist several times.
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
    /// It is ready; who is to be told.
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
    fn what_is_told_during_an_attempt_is_not_forgotten() {
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
    fn an_end_is_seen_behind_what_came_before_it() {
        let source = Source::default();
        source.ready(Readiness { read_closed: true, ..READABLE });
        let began = source.begin(Direction::Read).expect("it is ready");
        source.drained(Direction::Read, began);
        let began = source.begin(Direction::Read).expect("the end is still to be seen");
        // Whatever was told: who would have blocked has to wait.
        source.exhausted(Direction::Read, began);
        assert!(source.begin(Direction::Read).is_none());
    }
}
