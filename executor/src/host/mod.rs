//! What guests can call.
//!
//! One file for each namespace, each with a `register` that declares its functions. A host function answers
//! now, or leaves a note of what it waits for and suspends; it never blocks a worker and never returns to the
//! guest with a lock held. What is the guest's own fault is a [`Fault`](crate::error::Fault) and ends it.
//!
//! # What a call costs
//!
//! The engine charges guest code; work done here for the guest is charged by [`charge`]: a fixed amount per
//! call that does more than look something up, and one reduction for every [`BYTES_PER_REDUCTION`] copied.

mod config;
mod distributed;
mod error;
mod ext;
pub(crate) mod memory;
mod message;
mod metrics;
mod module;
mod networking;
mod process;
mod registry;
mod spawn;
mod timer;
mod trap;
mod version;
pub(crate) mod wasi;

pub(crate) use module::Compiling;
pub(crate) use networking::Sockets;
pub(crate) use spawn::Spawned;

use lunatic_jit::{Caller, Linker};

use crate::process::ProcessData;

/// A guest during a host call.
pub(crate) type Guest<'a> = Caller<'a, ProcessData>;

/// Bytes copied for one reduction.
const BYTES_PER_REDUCTION: u64 = 32;

/// Reductions for a call that copies nothing.
const CALL: u64 = 20;

/// Reductions for making a process.
const SPAWN: u64 = 1000;

/// All host functions.
pub(crate) fn linker() -> Linker<ProcessData> {
    let mut linker = Linker::new();
    config::register(&mut linker);
    distributed::register(&mut linker);
    error::register(&mut linker);
    ext::register(&mut linker);
    message::register(&mut linker);
    metrics::register(&mut linker);
    module::register(&mut linker);
    networking::register(&mut linker);
    process::register(&mut linker);
    registry::register(&mut linker);
    spawn::register(&mut linker);
    timer::register(&mut linker);
    trap::register(&mut linker);
    version::register(&mut linker);
    wasi::register(&mut linker);
    linker
}

/// Charges the guest for a call that handles so many bytes.
fn charge(guest: &mut Guest<'_>, bytes: u64) {
    guest.charge(CALL + bytes / BYTES_PER_REDUCTION);
}
