//! `lunatic::ext::death`: which process ended and how, as reported by the current message.
//!
//! The current message must be one for which `receive` has returned 1 (a linked process ended, or a process sent an
//! exit signal) or 2 (a monitored process ended). Otherwise all functions trap.
//!
//! | kind | how it ended | code |
//! |---|---|---|
//! | 0 | normally | 0 |
//! | 1 | by `proc_exit` | the status, not 0 |
//! | 2 | by a trap | its number: 0 unreachable, 1 memory, 2 table, 3 undefined element, 4 uninitialised element, 5 wrong type of an indirect call, 6 division by zero, 7 integer overflow, 8 conversion to an integer, 9 stack, 10 a host function |
//! | 3 | killed | 0 |
//! | 4 | with a linked process | that process |
//! | 5 | by a limit | its number: 0 memory, 1 bytes in the mailbox, 2 reductions, 3 messages in the mailbox, 4 the memory of all processes |
//! | 6 | long ago, or it never was | 0 |
//! | 7 | with a reason | the reason, not 0 but for exit signals |
//! | 8 | asked to stop from outside | 0 |
//! | 9 | by a bug of the runtime | 0 |
//!
//! An end by a link has a cause: how the first process in the chain of links ended. The cause is a kind and a code of
//! this table, and its kind is never 4. Any other end is its own cause.

use crate::Guest;
use crate::declare::{Host, LOOK, func};
use lunatic_core::Fault;
use lunatic_core::process::{Death, Envelope, Message};

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::death";
    func!(host, MODULE, "kind", LOOK, |guest: &mut Guest<'_>| death(guest)
        .map(|death| death.termination.to_guest().0));
    func!(host, MODULE, "code", LOOK, |guest: &mut Guest<'_>| death(guest)
        .map(|death| death.termination.to_guest().1));
    func!(host, MODULE, "cause_kind", LOOK, |guest: &mut Guest<'_>| {
        death(guest).map(|death| death.termination.cause().to_guest().0)
    });
    func!(host, MODULE, "cause_code", LOOK, |guest: &mut Guest<'_>| {
        death(guest).map(|death| death.termination.cause().to_guest().1)
    });
    // Returns the process that ended or sent the exit signal; 0 for the world outside.
    func!(host, MODULE, "process", LOOK, |guest: &mut Guest<'_>| death(guest)
        .map(|death| death.process.to_guest()));
    // Returns the reference of the monitor; 0 for links and exit signals.
    func!(host, MODULE, "reference", LOOK, |guest: &mut Guest<'_>| death(guest).map(|death| death.reference));
}

fn death(guest: &mut Guest<'_>) -> Result<Death, Fault> {
    match guest.data().current.as_ref().map(Envelope::message) {
        Some(Message::LinkDied { death, .. } | Message::ProcessDied(death)) => Ok(*death),
        Some(Message::Data(_)) => Err(Fault::NotADeath),
        None => Err(Fault::NoMessage),
    }
}
