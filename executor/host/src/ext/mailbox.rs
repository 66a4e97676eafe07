//! `lunatic::ext::mailbox`: what happens to messages beyond the caller's limits, and how many wait.

use crate::Guest;
use crate::declare::{CALL, Host, LOOK, func};
use lunatic_core::Fault;

/// Values of [`set_policy`].
const END: u32 = 0;
const DROP_NEWEST: u32 = 1;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::mailbox";
    func!(host, MODULE, "set_policy", CALL, set_policy);
    func!(host, MODULE, "dropped", LOOK, |guest: &mut Guest<'_>| guest.data().process.inbox().held().1);
    func!(host, MODULE, "length", LOOK, |guest: &mut Guest<'_>| guest.data().mailbox.len() as u64);
}

/// Sets what happens to messages beyond the caller's limits. 0, the default: they end the caller. 1: they are dropped
/// and counted. Other signals always arrive. Traps on other numbers.
fn set_policy(guest: &mut Guest<'_>, policy: u32) -> Result<(), Fault> {
    let drops = match policy {
        END => false,
        DROP_NEWEST => true,
        _ => return Err(Fault::Unknown { kind: "mailbox policy", id: policy.into() }),
    };
    guest.data().process.inbox().set_drops(drops);
    Ok(())
}
