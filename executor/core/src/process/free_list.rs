//! The free list of envelopes.
//!
//! Each thread has its own. If the messages that one worker's processes send were all received on another worker, the
//! first would always allocate and the second always free, each in the other's part of the heap. So a thread with too
//! many free envelopes puts a batch into a shared list, from which a thread without any takes it.

use std::cell::RefCell;

use lunatic_resources::sync::{Mutex, MutexGuard};

use super::message::Envelope;

/// Envelopes in a batch: about as many as a mailbox has when its senders yield.
const BATCH: usize = 512;

/// Envelopes that a thread keeps.
const MAX_SPARE: usize = 2 * BATCH;

/// Batches in the shared list. Further ones are freed. With the lists of the threads, this is no more than a few
/// hundred KiB.
const MAX_BATCHES: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Envelope>> = const { RefCell::new(Vec::new()) };
}

/// The free list of this thread. See the module documentation.
static FREE: Mutex<Vec<Vec<Envelope>>> = Mutex::new(Vec::new());

/// Takes an envelope, if there is one.
pub(super) fn take() -> Option<Envelope> {
    SPARE.with_borrow_mut(|spare| spare.pop().or_else(|| fetch(spare)))
}

/// Puts an empty envelope into the list.
pub(super) fn keep(envelope: Envelope) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() == MAX_SPARE {
            hand_on(spare);
        }
        spare.push(envelope);
    });
}

/// Takes a batch from the shared list, and returns its first envelope.
#[cold]
fn fetch(spare: &mut Vec<Envelope>) -> Option<Envelope> {
    let batch = lock_shelf().pop()?;
    *spare = batch;
    spare.pop()
}

/// Puts a batch into the shared list. The envelopes that were used last stay with the thread.
#[cold]
fn hand_on(spare: &mut Vec<Envelope>) {
    let used_last = spare.split_off(BATCH);
    let batch = std::mem::replace(spare, used_last);
    let mut shelf = lock_shelf();
    if shelf.len() < MAX_BATCHES {
        shelf.push(batch);
    } else {
        // The batch is freed after the lock is released.
        drop(shelf);
        drop(batch);
    }
}

fn lock_shelf() -> MutexGuard<'static, Vec<Vec<Envelope>>> {
    // Only whole batches are added and removed, so a panic leaves the list valid.
    FREE.lock()
}

#[cfg(test)]
mod tests {
    use super::super::message::{DataMessage, Message};
    use super::*;

    fn envelopes(count: usize) -> impl Iterator<Item = Envelope> {
        (0..count).map(|_| Envelope::new(Message::Data(DataMessage::new(0, 0))))
    }

    #[test]
    fn surplus_entries_of_one_thread_are_used_by_another() {
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
