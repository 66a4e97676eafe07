//! Wakers of whatever waits for readiness.

use std::sync::Arc;

/// Something that waits until a descriptor or a stream may be ready. Processes implement it, and the parts of the
/// runtime that know about readiness know nothing else about processes.
pub trait Wake: Send + Sync {
    /// Reports that wait number `token` may be over. A waker that waits for something else by now, or that has ended,
    /// ignores it.
    fn wake(self: Arc<Self>, token: u64);

    /// Returns whether nothing can wake it any more.
    fn is_gone(&self) -> bool;

    /// Prefetches what [`Wake::wake`] will touch, and the memory at `hints`. This is a hint only: nothing is read.
    fn prefetch(&self, hints: &[usize]) {
        let _ = hints;
    }
}

/// A waker, with the number of its wait.
#[derive(Clone)]
pub struct Waiter {
    /// The waker.
    pub waker: Arc<dyn Wake>,
    /// The number that [`Wake::wake`] gets.
    pub token: u64,
    /// Addresses that the waker touches first once it runs. They are only ever prefetched.
    pub hints: [usize; 3],
}

impl Waiter {
    /// Wakes the waker.
    pub fn wake(self) {
        self.waker.wake(self.token);
    }
}
