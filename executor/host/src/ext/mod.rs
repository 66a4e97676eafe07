//! `lunatic::ext::*`: what this runtime offers beyond Lunatic's functions.
//!
//! Lunatic's functions keep their types and meaning; what they cannot say is here, a file for each namespace. The
//! namespaces only grow: a function that was once in a release keeps its name, type and meaning, and
//! `lunatic::ext::version` says how far they have grown. `executor/ABI.md` has the version that introduced each.

mod alias;
mod config;
mod death;
mod exit;
mod mailbox;
mod monitor;
mod network;
mod process;
mod redirect;
mod timer;

use crate::declare::{Host, LOOK, func};

use crate::Guest;

/// Grows with every release that adds a function.
pub(super) const VERSION: u32 = 5;

pub(super) fn register(host: &mut Host) {
    func!(host, "lunatic::ext", "version", LOOK, |_: &mut Guest<'_>| VERSION);
    alias::register(host);
    config::register(host);
    death::register(host);
    exit::register(host);
    mailbox::register(host);
    monitor::register(host);
    network::register(host);
    process::register(host);
    redirect::register(host);
    timer::register(host);
}
