//! `lunatic::ext::alias`: addresses that a process can drop.
//!
//! An alias is a process and a number; a sender needs both. A process that stops waiting for a reply drops the alias
//! that it gave for the reply, and never sees a late one.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use lunatic_core::Fault;
use lunatic_core::process::{AliasUse, ProcessId, Signal};

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::alias";
    func!(host, MODULE, "create", CALL, create);
    func!(host, MODULE, "drop", CALL, drop_alias);
    func!(host, MODULE, "send", CALL, send);
}

/// Creates an alias of the caller. It is never 0 and lasts until it is dropped or, with `once` other than 0, until
/// the first message. Traps if the caller has 65,536 already.
fn create(guest: &mut Guest<'_>, once: u32) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let alias = data.next_reference();
    let lasts = if once == 0 { AliasUse::Many } else { AliasUse::Once };
    if !data.aliases.get_or_insert_default().add(alias, lasts) {
        return Err(Fault::TooMany("aliases"));
    }
    Ok(alias)
}

/// Drops an alias of the caller. Messages to it that have not been handled are not delivered. Returns 1, or 0 if the
/// alias did not exist any more, so that a message has arrived or never will.
fn drop_alias(guest: &mut Guest<'_>, alias: u64) -> u32 {
    guest.data_mut().aliases.as_deref_mut().is_some_and(|aliases| aliases.remove(alias)).into()
}

/// Sends the current message to an alias of a process. Sending to an alias that does not exist is no error. Traps if
/// there is no message.
fn send(guest: &mut Guest<'_>, process: u64, alias: u64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let envelope = data.take_message()?;
    let to = ProcessId::from_guest(process);
    let sent = data.node().send(to, Signal::MessageByAlias { alias, envelope });
    // Like `lunatic::message::send`.
    if sent.is_ok_and(|sent| sent.is_congested) && to != data.id() {
        guest.end_slice();
    }
    Ok(())
}
