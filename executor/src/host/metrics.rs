//! `lunatic::metrics`: what guests count and measure. All trap on bad pointers and names that are not UTF-8; what does not
//! fit (see [`metrics`](crate::metrics)) is dropped, and counted.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::metrics::Update;
use crate::process::ProcessData;

use super::memory::parts;
use super::{Guest, charge};

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::metrics";
    // As in Lunatic, and unlike what it says, this adds.
    linker.func(MODULE, "counter", |guest: &mut Guest<'_>, name: u32, len: u32, by: u64| {
        update(guest, (name, len), Update::Add(by))
    });
    linker.func(MODULE, "increment_counter", |guest: &mut Guest<'_>, name: u32, len: u32| {
        update(guest, (name, len), Update::Add(1))
    });
    linker.func(MODULE, "gauge", |guest: &mut Guest<'_>, name: u32, len: u32, to: f64| {
        update(guest, (name, len), Update::Set(to))
    });
    linker.func(MODULE, "increment_gauge", |guest: &mut Guest<'_>, name: u32, len: u32, by: f64| {
        update(guest, (name, len), Update::Change(by))
    });
    linker.func(MODULE, "decrement_gauge", |guest: &mut Guest<'_>, name: u32, len: u32, by: f64| {
        update(guest, (name, len), Update::Change(-by))
    });
    linker.func(MODULE, "histogram", |guest: &mut Guest<'_>, name: u32, len: u32, value: f64| {
        update(guest, (name, len), Update::Observe(value))
    });
}

fn update(guest: &mut Guest<'_>, (name, len): (u32, u32), update: Update) -> Result<(), Fault> {
    charge(guest, len.into());
    let (memory, data) = parts(guest)?;
    let name = memory.str(name, len)?;
    let mut introduced = data.metrics_introduced;
    data.node().metrics.update(name, update, &mut introduced);
    data.metrics_introduced = introduced;
    Ok(())
}
