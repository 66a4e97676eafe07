//! `lunatic::metrics`: accepted, checked, and not kept: nothing reads metrics yet.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::process::ProcessData;

use super::Guest;
use super::memory::parts;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::metrics";
    linker.func(MODULE, "counter", |guest: &mut Guest<'_>, name: u32, len: u32, _: u64| {
        check(guest, name, len)
    });
    linker.func(MODULE, "increment_counter", |guest: &mut Guest<'_>, name: u32, len: u32| {
        check(guest, name, len)
    });
    for name in ["gauge", "increment_gauge", "decrement_gauge", "histogram"] {
        linker
            .func(MODULE, name, |guest: &mut Guest<'_>, name: u32, len: u32, _: f64| check(guest, name, len));
    }
}

/// Traps when the metric's name is no string, as it will when metrics are kept.
fn check(guest: &mut Guest<'_>, name: u32, len: u32) -> Result<(), Fault> {
    parts(guest)?.0.str(name, len).map(drop)
}
