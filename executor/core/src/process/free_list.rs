//! Envelopes that nobody wants any more, kept for the next that is written.
//!
//! A thread keeps its own. Where the envelopes of one worker's processes are all received on another, the one would always
//! allocate and the other always free, each from the other's part of the heap: so what a thread has too many of goes to
//! a shelf, in batches, from which a thread that has none takes them.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::message::Envelope;

/// Envelopes that are handed on together: about as many as a mailbox has when its senders are held up.
const BATCH: usize = 512;

/// Envelopes that a thread keeps.
const MAX_SPARE: usize = 2 * BATCH;

/// Batches on the shelf; what is beyond is freed. With what the threads keep, no more than a few hundred KiB.
const MAX_BATCHES: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Envelope>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
static FREE: Mutex<Vec<Vec<Envelope>>> = Mutex::new(Vec::new());

/// One that was kept.
pub(super) fn take() -> Option<Envelope> {
    SPARE.with_borrow_mut(|spare| spare.pop().or_else(|| fetch(spare)))
}

/// Keeps one, which is empty.
pub(super) fn keep(envelope: Envelope) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() == MAX_SPARE {
            hand_on(spare);
        }
        spare.push(envelope);
    });
}

/// Takes a batch from the shelf, and the first of it.
#[cold]
fn fetch(spare: &mut Vec<Envelope>) -> Option<Envelope> {
    let batch = lock_shelf().pop()?;
    *spare = batch;
    spare.pop()
}

/// Puts a batch on the shelf: those that were used last stay.
#[cold]
fn hand_on(spare: &mut Vec<Envelope>) {
    let used_last = spare.split_off(BATCH);
    let batch = std::mem::replace(spare, used_last);
    let mut shelf = lock_shelf();
    if shelf.len() < MAX_BATCHES {
        shelf.push(batch);
    } else {
        // Freed when the lock is not held.
        drop(shelf);
        drop(batch);
    }
}

fn lock_shelf() -> MutexGuard<'static, Vec<Vec<Envelope>>> {
    // Whole batches come and go: there is nothing half done.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::message::{DataMessage, Message};
    use super::*;

    fn envelopes(count: usize) -> impl Iterator<Item = Envelope> {
        (0..count).map(|_| Envelope::new(Message::Data(DataMessage::new(0, 0))))
    }

    #[test]
    fn what_one_thread_has_too_many_of_another_one_takes() {
        let keep_and_count = || {
            envelopes((MAX_BATCHES + 4) * BATCH).for_each(keep);
            (lock_shelf().len(), SPARE.with_borrow(Vec::len))
        };
        let (batches, kept) = std::thread::spawn(keep_and_count).join().expect("it does not panic");
        assert!((1..=MAX_BATCHES).contains(&batches) && kept <= MAX_SPARE, "{batches} batches, {kept} kept");
        let take_two = || (take().is_some(), take().is_some(), SPARE.with_borrow(Vec::len));
        let taken = std::thread::spawn(take_two).join().expect("it does not panic");
        assert_eq!(taken, (true, true, BATCH - 2));
    }
}
