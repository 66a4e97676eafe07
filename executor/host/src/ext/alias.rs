//! `lunatic::ext::alias`: being sent to, until one no longer wants to be.
//!
//! An alias is a process and a number, both of which whoever is to send needs. Whoever gives up waiting for a reply
//! drops the alias that the reply was to be sent to, and never sees it.

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

/// A new alias of the caller, never 0: until it is dropped, or with `once` other than 0 until the first message. Traps
/// when there are 65,536 already.
fn create(guest: &mut Guest<'_>, once: u32) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let alias = data.next_reference();
    let lasts = if once == 0 { AliasUse::Many } else { AliasUse::Once };
    if !data.aliases.get_or_insert_default().add(alias, lasts) {
        return Err(Fault::TooMany("aliases"));
    }
    Ok(alias)
}

/// Drops an alias of the caller: what is sent to it, or was and has not been received or looked for yet, is not
/// delivered. Returns 1, or 0 if it was none any more, so that a message has arrived or never will.
fn drop_alias(guest: &mut Guest<'_>, alias: u64) -> u32 {
    guest.data_mut().aliases.as_deref_mut().is_some_and(|aliases| aliases.remove(alias)).into()
}

/// Sends the current message to an alias of a process; to one that is none (any more) it is no error. Traps when
/// there is no message.
fn send(guest: &mut Guest<'_>, process: u64, alias: u64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let envelope = data.take_message()?;
    let to = ProcessId::from_guest(process);
    let sent = data.node().send(to, Signal::MessageByAlias { alias, envelope });
    // As `lunatic::message::send` does.
    if sent.is_ok_and(|sent| sent.is_congested) && to != data.id() {
        guest.end_slice();
    }
    Ok(())
}
