//! Waking what waits for readiness, whatever it is.

use std::sync::Arc;

/// Something that waits until a descriptor or a stream may be ready. Processes implement it; the parts of the runtime that
/// know about readiness know nothing else about them.
pub trait Wake: Send + Sync {
    /// Says that waiting number `token` may be over. A waker that waits for something else by now, or that is gone,
    /// ignores it.
    fn wake(self: Arc<Self>, token: u64);

    /// Whether nothing can wake it any more.
    fn is_gone(&self) -> bool;

    /// Has the processor fetch what [`Wake::wake`] will touch, and what is at `hints`. A hint only: nothing is read.
    fn prefetch(&self, hints: &[usize]) {
        let _ = hints;
    }
}

/// A waker and the number of what it waits for.
#[derive(Clone)]
pub struct Waiter {
    /// Who waits.
    pub waker: Arc<dyn Wake>,
    /// The number that [`Wake::wake`] is given.
    pub token: u64,
    /// Addresses that the waker will look at first once it runs. They are only ever prefetched.
    pub hints: [usize; 3],
}

impl Waiter {
    /// Wakes the waker.
    pub fn wake(self) {
        self.waker.wake(self.token);
    }
}
