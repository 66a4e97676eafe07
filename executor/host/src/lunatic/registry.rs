//! `lunatic::registry`: names of processes. All functions trap on bad pointers and names that are not UTF-8.

use std::sync::Arc;

use crate::declare::{CALL, Host, func, limits};
use lunatic_core::Fault;
use lunatic_core::node::{NODE_ID, Node};
use lunatic_core::process::{Process, ProcessId};
use lunatic_core::registry::{Registration, bytes_of_name};
use lunatic_resources::Charge;

use crate::Guest;
use crate::memory::parts;

/// Results of [`get`].
const FOUND: u32 = 0;
const NOT_FOUND: u32 = 1;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::registry";
    func!(host, MODULE, "put", CALL.range(0, limits::NAME, "a name"), put);
    func!(host, MODULE, "get", CALL.range(0, limits::NAME, "a name").place(2, 8).place(3, 8), get);
    func!(host, MODULE, "remove", CALL.range(0, limits::NAME, "a name"), remove);
}

/// Gives a name to a process, and takes it from the previous owner. A process that has ended gets no name, and
/// neither does a process of another node, because there are no other nodes. The caller is charged for the name as
/// long as it is in use, and traps if its account does not permit it.
fn put(guest: &mut Guest<'_>, name: u32, name_len: u32, node: u64, process: u64) -> Result<(), Fault> {
    let (memory, data) = parts(guest)?;
    let name = memory.str(name, name_len)?;
    let owner = Registration { node, process: ProcessId::from_guest(process) };
    let target = (node == NODE_ID).then(|| data.node().table.get(owner.process)).flatten();
    let Some(target) = target else { return Ok(()) };
    let kept = data.keep(bytes_of_name(name.len()))?;
    give(data.node(), name.into(), owner, &target, kept);
    Ok(())
}

/// Gives a name to a process, and frees it again if the process ends meanwhile.
fn give(node: &Node, name: Arc<str>, owner: Registration, target: &Process, kept: Charge) {
    let mut names = node.registry.lock();
    names.put(name.clone(), owner, Some(kept));
    target.set_named();
    if target.is_over() && names.get(&name) == Some(owner) {
        names.remove(&name);
    }
}

/// Looks a name up. Returns 0 and writes the node and the process, or returns 1 if the name is free.
fn get(guest: &mut Guest<'_>, name: u32, name_len: u32, node_id: u32, process_id: u32) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(node_id, 8)?;
    memory.check(process_id, 8)?;
    let name = memory.str(name, name_len)?;
    let owner = data.node().registry.lock().get(name);
    let Some(owner) = owner else { return Ok(NOT_FOUND) };
    memory.write_u64(node_id, owner.node)?;
    memory.write_u64(process_id, owner.process.to_guest())?;
    Ok(FOUND)
}

/// Frees a name, if it is in use.
fn remove(guest: &mut Guest<'_>, name: u32, name_len: u32) -> Result<(), Fault> {
    let (memory, data) = parts(guest)?;
    let name = memory.str(name, name_len)?;
    data.node().registry.lock().remove(name);
    Ok(())
}
