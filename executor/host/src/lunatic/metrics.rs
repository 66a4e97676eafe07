//! `lunatic::metrics`: figures that guests count and measure. All functions trap on bad pointers and names that are
//! not UTF-8. Values beyond the limits of [`lunatic_metrics`] are dropped and counted.

use crate::declare::{CALL, Host, func, limits};
use lunatic_core::Fault;
use lunatic_metrics::{Introducer, Update};

use crate::Guest;
use crate::memory::parts;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::metrics";
    // As in Lunatic, and unlike what its name says, this adds.
    func!(
        host,
        MODULE,
        "counter",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32, by: u64| { update(guest, (name, len), Update::Add(by)) }
    );
    func!(
        host,
        MODULE,
        "increment_counter",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32| { update(guest, (name, len), Update::Add(1)) }
    );
    func!(
        host,
        MODULE,
        "gauge",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32, to: f64| { update(guest, (name, len), Update::Set(to)) }
    );
    func!(
        host,
        MODULE,
        "increment_gauge",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32, by: f64| {
            update(guest, (name, len), Update::Change(by))
        }
    );
    func!(
        host,
        MODULE,
        "decrement_gauge",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32, by: f64| {
            update(guest, (name, len), Update::Change(-by))
        }
    );
    func!(
        host,
        MODULE,
        "histogram",
        CALL.range(0, limits::METRIC, "a name"),
        |guest: &mut Guest<'_>, name: u32, len: u32, value: f64| {
            update(guest, (name, len), Update::Observe(value))
        }
    );
}

fn update(guest: &mut Guest<'_>, (name, len): (u32, u32), update: Update) -> Result<(), Fault> {
    let (memory, data) = parts(guest)?;
    let name = memory.str(name, len)?;
    let mut introduced = data.metrics_introduced;
    let by = Introducer { names: &mut introduced, quota: data.process.config().quota.as_deref() };
    data.node().metrics.update(name, update, by);
    data.metrics_introduced = introduced;
    Ok(())
}
