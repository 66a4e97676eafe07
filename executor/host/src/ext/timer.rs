//! `lunatic::ext::timer`: how much time was left.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::lunatic::process::MILLISECOND;
use crate::lunatic::timer;

/// What [`cancel`] returns for a timer that is over.
const OVER: u64 = u64::MAX;

pub(super) fn register(host: &mut Host) {
    func!(host, "lunatic::ext::timer", "cancel", CALL, cancel);
}

/// Cancels a timer that the caller has set by `lunatic::timer::send_after`. Returns the milliseconds that were left, rounded
/// up, or `u64::MAX` when it has fired, was cancelled, never was, or is another process's.
fn cancel(guest: &mut Guest<'_>, id: u64) -> u64 {
    let data = guest.data();
    let deadline = timer::cancel(data, id);
    deadline.map_or(OVER, |deadline| deadline.saturating_sub(data.node().clock.now()).div_ceil(MILLISECOND))
}
