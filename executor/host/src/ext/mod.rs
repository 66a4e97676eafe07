//! `lunatic::ext::*`: functions beyond Lunatic's.
//!
//! Lunatic's functions keep their types and meaning. What they cannot express is here, one file for each namespace.
//! The namespaces only grow: a function that was released keeps its name, type and meaning. `lunatic::ext::version`
//! returns the version of the extensions, and `executor/ABI.md` lists the version that introduced each function.

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

/// The version of the extensions. It grows with every release that adds a function.
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
