//! `lunatic::ext::*`: what this runtime offers beyond Lunatic's functions.
//!
//! Lunatic's functions keep their types and meaning; what they cannot say is here, a file for each namespace. The
//! namespaces only grow: a function that was once in a release keeps its name, type and meaning, and
//! `lunatic::ext::version` says how far they have grown. ARCHITECTURE.md has the table of all functions with the
//! version that introduced each; a test compares it with what is registered.

mod death;
mod exit;
mod monitor;

use lunatic_jit::Linker;

use crate::process::ProcessData;

use super::Guest;

/// Grows with every release that adds a function.
const VERSION: u32 = 1;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func("lunatic::ext", "version", |_: &mut Guest<'_>| VERSION);
    death::register(linker);
    exit::register(linker);
    monitor::register(linker);
}
