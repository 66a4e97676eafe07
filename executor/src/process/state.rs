//! Where a process is between runnable and gone: one atomic word.
//!
//! ```text
//!             wake                begin                  rest
//!   IDLE ───────────▶ QUEUED ───────────▶ RUNNING ───────────────▶ IDLE
//!                        ▲                  │  ▲ rest (fails)
//!                        │ again       wake │  │
//!                        │                  ▼  │
//!                        └───────────── NOTIFIED
//!                                           any ──── end ────▶ EXITED
//! ```
//!
//! - `IDLE`: waits; in no queue, no worker has it.
//! - `QUEUED`: in exactly one queue. Whoever made this transition put it there.
//! - `RUNNING`: a worker has it, and has seen every signal that was there when it looked.
//! - `NOTIFIED`: a worker has it, and a signal arrived since it looked: it must look again before it rests.
//! - `EXITED`: over. Nothing leaves this state.
//!
//! Orderings: a signal is pushed under the inbox's lock before `wake`, and drained under the same lock after
//! `begin` or a failed `rest`; AcqRel on the transitions makes that order visible, so no signal is missed. The
//! body is passed from worker to worker by the same edges.

use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const NOTIFIED: u8 = 3;
const EXITED: u8 = 4;

/// See the module.
pub(crate) struct State(AtomicU8);

impl State {
    /// A process that waits for its first turn.
    pub(crate) fn new() -> State {
        State(AtomicU8::new(IDLE))
    }

    /// Something arrived. Returns whether the caller has to put the process into a queue.
    pub(crate) fn wake(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(NOTIFIED),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// A worker took the process out of a queue.
    pub(crate) fn begin(&self) {
        let before = self.0.swap(RUNNING, Ordering::AcqRel);
        debug_assert_eq!(before, QUEUED, "only a queued process is run");
    }

    /// The process wants to wait. Returns false when something arrived meanwhile: look, and try again.
    pub(crate) fn rest(&self) -> bool {
        if self.0.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.0.store(RUNNING, Ordering::Release);
        false
    }

    /// The worker looks at the signals now; what arrives from here on notifies again.
    pub(crate) fn look(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// The slice is over and the process goes back to a queue.
    pub(crate) fn again(&self) {
        self.0.store(QUEUED, Ordering::Release);
    }

    /// The process is over.
    pub(crate) fn end(&self) {
        self.0.store(EXITED, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_while_running_keeps_it_from_resting() {
        let state = State::new();
        assert!(state.wake());
        assert!(!state.wake(), "it is queued once");
        state.begin();
        assert!(!state.wake(), "the worker that has it will see the signal");
        assert!(!state.rest());
        assert!(state.rest());
        assert!(state.wake());
    }

    #[test]
    fn nothing_wakes_what_has_exited() {
        let state = State::new();
        state.wake();
        state.begin();
        state.end();
        assert!(!state.wake());
    }
}
