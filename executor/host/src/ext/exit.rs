//! `lunatic::ext::exit`: ends with a reason.
//!
//! A reason is a number that the processes of a program give a meaning to; 0 is a normal end.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::lunatic::process::send;
use lunatic_core::Fault;
use lunatic_core::process::{ProcessId, Signal};

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::exit";
    func!(host, MODULE, "exit", CALL, exit);
    func!(host, MODULE, "signal", CALL, signal);
}

/// Ends the caller with a reason. Does not return, and `lunatic::trap::catch` does not catch it.
fn exit(_: &mut Guest<'_>, reason: i64) -> Result<(), Fault> {
    Err(Fault::Reason(reason))
}

/// Sends an exit signal. A process that has deaths as messages (`die_when_link_dies(0)`) gets a message, with no tag,
/// of the kind "with a reason" and from the caller; another one ends with the reason, or if that is 0 ignores it.
/// Unlike a kill, it can be outlived. To a process that is gone it is nothing. To the caller itself it does not
/// return if it ends it.
fn signal(guest: &mut Guest<'_>, process: u64, reason: i64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    if target == me && data.die_when_link_dies && reason != 0 {
        return Err(Fault::Reason(reason));
    }
    send(guest, target, Signal::Exit { from: me, reason });
    Ok(())
}
