//! `lunatic::ext::timer`: how much time was left.

use lunatic_jit::Linker;

use crate::host::process::MILLISECOND;
use crate::host::{Guest, charge};
use crate::node::Due;
use crate::process::ProcessData;
use crate::scheduler::TimerId;

/// What [`cancel`] returns for a timer that is over.
const OVER: u64 = u64::MAX;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func("lunatic::ext::timer", "cancel", cancel);
}

/// Cancels a timer of `lunatic::timer::send_after`. Returns the milliseconds that were left, rounded up, or `u64::MAX`
/// when it has fired, was cancelled, or never was.
fn cancel(guest: &mut Guest<'_>, timer: u64) -> u64 {
    charge(guest, 0);
    let node = guest.data().node();
    let is_ours = |due: &Due| matches!(due, Due::Send { .. });
    let deadline = node.timers.cancel_if(TimerId(timer), is_ours);
    deadline.map_or(OVER, |deadline| deadline.saturating_sub(node.clock.now()).div_ceil(MILLISECOND))
}
