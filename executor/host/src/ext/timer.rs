//! `lunatic::ext::timer`: cancels timers and returns the time that was left.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::lunatic::process::MILLISECOND;
use crate::lunatic::timer;

/// The result of [`cancel`] for a timer that is over.
const OVER: u64 = u64::MAX;

pub(super) fn register(host: &mut Host) {
    func!(host, "lunatic::ext::timer", "cancel", CALL, cancel);
}

/// Cancels a timer that the caller has set with `lunatic::timer::send_after`. Returns the milliseconds that were
/// left, rounded up, or `u64::MAX` if the timer has fired, was cancelled, never existed, or belongs to another
/// process.
fn cancel(guest: &mut Guest<'_>, id: u64) -> u64 {
    let data = guest.data();
    let deadline = timer::cancel(data, id);
    deadline.map_or(OVER, |deadline| deadline.saturating_sub(data.node().clock.now()).div_ceil(MILLISECOND))
}
