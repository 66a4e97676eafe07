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
mod sqlite;
mod timer;
mod trap;
mod version;
pub(crate) mod wasi;

pub(crate) use module::Compiling;
pub(crate) use networking::Sockets;
pub(crate) use spawn::Spawned;
pub(crate) use sqlite::Databases;

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
    sqlite::register(&mut linker);
    timer::register(&mut linker);
    trap::register(&mut linker);
    version::register(&mut linker);
    wasi::register(&mut linker);
    linker
}

/// Charges the guest for a call that handles so many bytes.
fn charge(guest: &mut Guest<'_>, bytes: u64) {
    let unpaid = std::mem::take(&mut guest.data_mut().unpaid);
    guest.charge(CALL + bytes / BYTES_PER_REDUCTION + unpaid);
}

#[cfg(test)]
#[path = "../../tests/common/abi.rs"]
mod abi;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::abi::Row;
    use super::*;

    /// `module::name(i32, i64) -> i64` of all functions but WASI's.
    fn registered() -> BTreeSet<String> {
        let linker = linker();
        let ours = linker.functions().filter(|(module, ..)| module.starts_with("lunatic::"));
        ours.map(|(module, name, ty)| {
            let params: Vec<_> = ty.params.iter().map(ToString::to_string).collect();
            let result: String = ty.results.iter().map(|ty| format!(" -> {ty}")).collect();
            format!("{module}::{name}({}){result}", params.join(", "))
        })
        .collect()
    }

    #[test]
    fn what_is_registered_is_what_the_table_says() {
        let rows = Row::all();
        let documented: BTreeSet<_> = rows.iter().map(Row::signature).collect();
        let registered = registered();
        let differ: Vec<_> = registered.symmetric_difference(&documented).collect();
        assert!(differ.is_empty(), "in one of the two only: {differ:#?}");
        assert_eq!(documented.len(), rows.len(), "nothing is there twice");
        for row in rows {
            let is_ours = row.module.starts_with("lunatic::ext");
            let known = match row.since.parse::<u32>() {
                Ok(version) => is_ours && (1..=ext::VERSION).contains(&version),
                Err(_) => !is_ours && ["0.12", "0.13"].contains(&row.since.as_str()),
            };
            assert!(known, "{} is since {}", row.signature(), row.since);
        }
    }
}
