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

use lunatic_jit::Linker;

use crate::process::ProcessData;

use super::Guest;

/// Grows with every release that adds a function.
pub(super) const VERSION: u32 = 4;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func("lunatic::ext", "version", |_: &mut Guest<'_>| VERSION);
    alias::register(linker);
    config::register(linker);
    death::register(linker);
    exit::register(linker);
    mailbox::register(linker);
    monitor::register(linker);
    network::register(linker);
    process::register(linker);
    redirect::register(linker);
    timer::register(linker);
}
