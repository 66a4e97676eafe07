//! Wakers of futures that wait for the same event.
//!
//! Each future has a slot, so that polling it again replaces its waker, and dropping it removes the waker. Otherwise
//! futures that are polled and dropped, as in a `select` with a timeout, would leave their wakers until the event.

use std::collections::BTreeMap;
use std::task::Waker;

/// The wakers of one event.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// The slot of a future. It has none before it is polled.
#[derive(Debug, Default)]
pub(super) struct WakerSlot(Option<u64>);

impl Wakers {
    /// Sets the waker of a future. Returns the one that it replaces, which the caller drops without a lock: dropping a
    /// waker can run any code.
    #[must_use]
    pub(super) fn set(&mut self, slot: &mut WakerSlot, waker: &Waker) -> Option<Waker> {
        let number = *slot.0.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.wakers.get(&number) {
            Some(known) if known.will_wake(waker) => None,
            _ => self.wakers.insert(number, waker.clone()),
        }
    }

    /// Removes the waker of a future and returns it, to be dropped without a lock.
    #[must_use]
    pub(super) fn remove(&mut self, slot: &WakerSlot) -> Option<Waker> {
        self.wakers.remove(&slot.0?)
    }

    /// Takes all wakers, to be woken without a lock.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.wakers).into_values()
    }
}
